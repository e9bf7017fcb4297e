import type { QueryResultRow } from 'pg';

/** An event as the log tells it. `pos` is null and `chainHash` empty only while the event is not yet sequenced. */
export interface StreamEvent {
  eventId: string;
  streamId: string;
  category: string;
  version: number;
  type: string;
  schemaVersion: number;
  data: unknown;
  meta: Record<string, unknown>;
  /** The producer's claim, RFC 3339 with microseconds in UTC. */
  occurredAt: string;
  /** The database's clock at the append, RFC 3339 with microseconds in UTC. */
  recordedAt: string;
  pos: number | null;
}

/** An event with its place in the log: dense positions from 1 and the hash chain up to and including this event (hex). */
export interface RecordedEvent extends StreamEvent {
  pos: number;
  chainHash: string;
}

/** Columns of es.event `e` and es.log `l` that {@link toStreamEvent} and {@link toRecordedEvent} read. */
export const eventColumns = `e.event_id, e.stream_id, e.category, e.version, e.type, e.schema_version, e.data::text AS data, e.meta::text AS meta,
  es.instant(e.occurred_at) AS occurred_at, es.instant(e.recorded_at) AS recorded_at, l.pos, l.chain_hash`;

/** A row of {@link eventColumns}. */
export interface EventRow extends QueryResultRow {
  event_id: string;
  stream_id: string;
  category: string;
  version: number;
  type: string;
  schema_version: number;
  data: string;
  meta: string;
  occurred_at: string;
  recorded_at: string;
  pos: string | null;
  chain_hash: Buffer | null;
}

/** The event of a row, sequenced or not. */
export function toStreamEvent(row: EventRow): StreamEvent {
  return {
    pos: row.pos === null ? null : Number(row.pos),
    eventId: row.event_id,
    streamId: row.stream_id,
    category: row.category,
    version: row.version,
    type: row.type,
    schemaVersion: row.schema_version,
    data: JSON.parse(row.data) as unknown,
    meta: JSON.parse(row.meta) as Record<string, unknown>,
    occurredAt: row.occurred_at,
    recordedAt: row.recorded_at,
  };
}

/** The event of a row that has a place in the log. */
export function toRecordedEvent(row: EventRow): RecordedEvent {
  if (row.pos === null || row.chain_hash === null) throw new Error('the event is not sequenced');
  return { ...toStreamEvent(row), pos: Number(row.pos), chainHash: row.chain_hash.toString('hex') };
}
