import { problemsOf, readRequestSchema, type StreamPage, type WireEvent } from '@plumbline/domain';
import type { EventLog, StreamEvent } from '@plumbline/event-log';

export type ReadAnswer =
  { ok: true; value: unknown } | { ok: false; refusal: { code: string; message: string; details?: unknown } };

/** Bytes of a page of events: well below the smallest message a NATS server takes by default (1 MiB). */
const pageBytesMax = 600_000;
const pageEventsMax = 500;
const tasksPerPage = 1_000;

/** What services read: histories, and what is open. All of it from the log's own tables, so that no projection can be behind. */
export class ReadDoor {
  constructor(private readonly log: EventLog) {}

  async handle(body: unknown): Promise<ReadAnswer> {
    const parsed = readRequestSchema.safeParse(body);
    if (!parsed.success) {
      const problems = problemsOf(parsed.error, body);
      return {
        ok: false,
        refusal: {
          code: 'invalid-request',
          message: `read refused: ${problems[0]?.field}: expected ${problems[0]?.expected}`,
          details: problems,
        },
      };
    }
    const request = parsed.data;
    switch (request.op) {
      case 'stream':
        return { ok: true, value: await this.page(request.streamId, request.fromVersion) };
      case 'open-tasks':
        return { ok: true, value: await this.openTasks(request.after) };
      case 'idle-steps': {
        const steps = await this.log.leases.openStepsWithoutLease({
          olderThanMs: request.olderThanMs,
          limit: tasksPerPage,
        });
        return { ok: true, value: { steps: steps.map(({ taskId, step }) => ({ taskId, step })) } };
      }
      case 'streams': {
        const { rows } = await this.log.pool.query<{ stream_id: string }>(
          'SELECT stream_id FROM es.stream WHERE category = $1 ORDER BY stream_id',
          [request.category],
        );
        return { ok: true, value: { streams: rows.map((row) => row.stream_id) } };
      }
    }
  }

  /** Events from a version on, as many as fit into one message; at least one, so that every page gets further. */
  private async page(streamId: string, fromVersion: number): Promise<StreamPage> {
    const found = await this.log.readStream(streamId, { fromVersion, limit: pageEventsMax });
    const events: WireEvent[] = [];
    let bytes = 0;
    for (const event of found) {
      const wire = wireOf(event);
      bytes += Buffer.byteLength(JSON.stringify(wire));
      if (events.length > 0 && bytes > pageBytesMax) break;
      events.push(wire);
    }
    const last = events.at(-1)?.version ?? fromVersion - 1;
    const more = events.length < found.length || found.length === pageEventsMax;
    return { streamVersion: last, events, ...(more ? { next: last + 1 } : {}) };
  }

  private async openTasks(after: string | undefined): Promise<{ tasks: string[]; more: boolean }> {
    const { rows } = await this.log.pool.query<{ stream_id: string }>(
      `SELECT s.stream_id FROM es.stream s
         JOIN es.event first ON first.stream_id = s.stream_id AND first.version = 1
        WHERE s.category = 'task'
          AND NOT EXISTS (SELECT 1 FROM es.event e WHERE e.stream_id = s.stream_id AND e.type = 'task.closed')
          AND ($1::text IS NULL OR first.ingest_id > (SELECT ingest_id FROM es.event WHERE stream_id = 'task-' || $1 AND version = 1))
        ORDER BY first.ingest_id LIMIT ${tasksPerPage + 1}`,
      [after ?? null],
    );
    const tasks = rows.slice(0, tasksPerPage).map((row) => row.stream_id.slice('task-'.length));
    return { tasks, more: rows.length > tasksPerPage };
  }
}

export function wireOf(event: StreamEvent): WireEvent {
  const traceparent = event.meta['traceparent'];
  const { eventId, streamId, version, type, schemaVersion, data } = event;
  return {
    eventId,
    streamId,
    version,
    type,
    schemaVersion,
    data,
    at: event.recordedAt,
    ...(typeof traceparent === 'string' ? { traceparent } : {}),
  };
}
