import {
  decodeEvent,
  evolve,
  initialTask,
  summariseEvent,
  taskIdSchema,
  taskStream,
  streamEntity,
  type EventDocument,
  type TaskState,
} from '@plumbline/domain';
import type { EventLog, RecordedEvent, StreamEvent } from '@plumbline/event-log';
import { ApiProblem } from './problems.js';

const pageEventsMax = 500;

/** Single tasks, read from the log itself, so that no read model can be behind. */
export class TaskHistory {
  constructor(private readonly log: EventLog) {}

  /** A submitted task by its id or the beginning of it, with its history and state. */
  async task(given: string): Promise<{ taskId: string; state: TaskState; events: StreamEvent[] }> {
    const taskId = await this.resolve(given);
    const events = await this.log.readStream(taskStream(taskId));
    let state = initialTask;
    for (const event of events) {
      const decoded = decodeEvent(event);
      if (decoded.outcome === 'event') state = evolve(state, { ...decoded.event, at: event.recordedAt });
    }
    if (state.submission === undefined) throw new ApiProblem('not-found', `the task ${taskId} was never submitted`);
    return { taskId, state, events };
  }

  /** The whole id of the one task whose id is or begins so. */
  async resolve(given: string): Promise<string> {
    const prefix = given.startsWith('t-') ? given : `t-${given}`;
    const { rows } = await this.log.pool.query<{ stream_id: string }>(
      `SELECT stream_id FROM es.stream WHERE category = 'task' AND stream_id >= $1 AND stream_id < $1 || '~' ORDER BY stream_id LIMIT 2`,
      [taskStream(prefix)],
    );
    const [first, second] = rows.map((row) => row.stream_id.slice('task-'.length));
    if (first === undefined)
      throw new ApiProblem('not-found', `there is no task ${prefix}; list them with: plumb list`);
    if (second !== undefined && !taskIdSchema.safeParse(prefix).success)
      throw new ApiProblem('invalid-request', `${prefix} is the beginning of several task ids; give more of it`);
    return first;
  }

  /** A task's events between two positions, the first 500 of them. */
  async recorded(taskId: string, afterPos: number, head: number): Promise<RecordedEvent[]> {
    const streamId = taskStream(taskId);
    const { rows } = await this.log.pool.query<{ version: number; chain_hash: Buffer }>(
      `SELECT e.version, l.chain_hash FROM es.event e JOIN es.log l ON l.ingest_id = e.ingest_id
        WHERE e.stream_id = $1 AND l.pos > $2 AND l.pos <= $3 ORDER BY e.version LIMIT ${pageEventsMax}`,
      [streamId, afterPos, head],
    );
    const [first] = rows;
    if (first === undefined) return [];
    const chain = new Map(rows.map((row) => [row.version, row.chain_hash.toString('hex')]));
    const events = await this.log.readStream(streamId, { fromVersion: first.version, limit: rows.length });
    return events.flatMap((event) => {
      const chainHash = chain.get(event.version);
      return event.pos === null || chainHash === undefined ? [] : [{ ...event, pos: event.pos, chainHash }];
    });
  }
}

/** `plumbline.event/1`: one recorded event as people and scripts read it. */
export function eventDocument(event: RecordedEvent): EventDocument {
  const { category, id } = streamEntity(event.streamId);
  const { pos, recordedAt, type, schemaVersion, data, streamId, version, chainHash, eventId } = event;
  return {
    schema: 'plumbline.event/1',
    position: pos,
    at: recordedAt,
    type,
    schemaVersion,
    ...(category === 'task' ? { task: id } : {}),
    data,
    eventId,
    streamId,
    version,
    chainHash,
  };
}

/** The same with what happened in words. */
export function toldEvent(event: RecordedEvent): EventDocument {
  const decoded = decodeEvent(event);
  return {
    ...eventDocument(event),
    ...(decoded.outcome === 'event' ? { summary: summariseEvent(decoded.event) } : {}),
  };
}
