import { eventTypes, problemsOf, readRequestSchema, type StreamPage, type WireEvent } from '@plumbline/domain';
import type { EventLog, StreamEvent } from '@plumbline/event-log';
import { OpenTasks } from './open-tasks.js';

export type ReadAnswer =
  { ok: true; value: unknown } | { ok: false; refusal: { code: string; message: string; details?: unknown } };

/** Bytes of a page of events: well below the smallest message a NATS server takes by default (1 MiB). */
const pageBytesMax = 600_000;
const pageEventsMax = 500;
const idleStepsPerRead = 200;
const redispatchMsMax = 600_000;

const requestTypes = eventTypes
  .filter((type) => /^task\.(snapshot|coding|gating|review|publishing)-requested$/.test(type))
  .map((type) => `'${type}'`)
  .join(', ');

/** What services read: histories, and what is open. All of it from the log's own tables, so that no projection can be behind. */
export class ReadDoor {
  private readonly openTasks: OpenTasks;

  constructor(private readonly log: EventLog) {
    this.openTasks = new OpenTasks(log);
  }

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
        return { ok: true, value: await this.openTasks.page(request.after) };
      case 'idle-steps':
        return { ok: true, value: { steps: await this.idleSteps(request.olderThanMs) } };
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

  /**
   * Steps nobody holds whose request is to be repeated: last requested `olderThanMs` ago, twice that after each further request. Reckoned
   * from the log on the clock of Postgres, so that it is the same for every scheduler, started now or long ago.
   */
  private async idleSteps(olderThanMs: number): Promise<{ taskId: string; step: string }[]> {
    const { rows } = await this.log.pool.query<{ task_id: string; step: string }>(
      `SELECT l.task_id, l.step FROM es.step_lease l
         CROSS JOIN LATERAL (
           SELECT count(*) AS times, max(e.recorded_at) AS last_at FROM es.event e
            WHERE e.stream_id = l.stream_id AND e.type IN (${requestTypes}) AND e.data->>'step' = l.step
         ) asked
        WHERE l.state = 'open' AND l.changed_at <= clock_timestamp() - make_interval(secs => $1 / 1000.0)
          AND asked.last_at <= clock_timestamp()
              - make_interval(secs => least($1 * power(2, least(greatest(asked.times, 1) - 1, 20)), greatest($1, ${redispatchMsMax})) / 1000.0)
        ORDER BY asked.last_at, l.task_id, l.step LIMIT ${idleStepsPerRead}`,
      [olderThanMs],
    );
    return rows.map((row) => ({ taskId: row.task_id, step: row.step }));
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
