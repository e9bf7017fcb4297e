import { cloudEventType, logSubject, streamEntity } from '@plumbline/domain';
import type { LogMessage } from '@plumbline/bus';
import type { RecordedEvent } from '@plumbline/event-log';

/**
 * A recorded event as it travels: a CloudEvent in binary mode, its data as the body and its attributes as lower-case `ce-*` headers, on
 * the subject `log.<category>.<event>.<id>`. The headers carry the position, the epoch and the trace, so that a reader needs nothing else.
 */
export function logMessage(epoch: string, event: RecordedEvent): LogMessage {
  const { id } = streamEntity(event.streamId);
  const traceparent = event.meta['traceparent'];
  return {
    epoch,
    pos: event.pos,
    subject: logSubject(event.type, id),
    body: new TextEncoder().encode(JSON.stringify(event.data)),
    headers: {
      'content-type': 'application/json',
      'ce-specversion': '1.0',
      'ce-id': event.eventId,
      'ce-source': 'plumbline',
      'ce-type': cloudEventType(event.type, event.schemaVersion),
      'ce-subject': event.streamId,
      'ce-time': event.recordedAt,
      'ce-sequence': String(event.pos),
      'ce-streamversion': String(event.version),
      'ce-logepoch': epoch,
      ...(typeof traceparent === 'string' ? { traceparent } : {}),
    },
  };
}
