import type { PoolClient } from 'pg';
import type { RecordedEvent } from './recorded-event.js';

/**
 * An event as a projection is given it: without what no read model was ever made of, for that would be carried and read for every event
 * of a rebuild. `data` is undefined for types that `Projection.dataOf` does not name.
 */
export type ProjectedEvent = Omit<RecordedEvent, 'meta' | 'occurredAt' | 'chainHash'>;

/**
 * A read model: tables in a schema of its own, and what each event does to them. Both must use the schema name they are given,
 * because a rebuild fills a second schema, and must be deterministic: the same events give the same rows.
 */
export interface Projection {
  /** Identifies the checkpoint and names the schema `rm_<name>`: lower-case letters, digits and `_`. */
  name: string;
  /** Raise it whenever tables or rules change; the next start rebuilds. */
  version: number;
  /** SQL that creates the tables in the (existing, empty) schema; `schema` is safe to use unquoted. */
  ddl(schema: string): string;
  /** The event types it is given; others only move its checkpoint. Absent: all there are. */
  types?: readonly string[];
  /** The event types whose data it reads. Absent: all it is given. */
  dataOf?: readonly string[];
  /** Applies one event inside the batch's transaction. A throw parks the event and its stream, unless the failure is transient. */
  apply(client: PoolClient, schema: string, event: ProjectedEvent): Promise<void>;
  /**
   * Applies several at once, to the same effect as one after the other, in fewer statements. When it throws, its work is undone and the
   * events are applied one by one, to find the one to park. Absent: one by one from the start.
   */
  applyBatch?(client: PoolClient, schema: string, events: readonly ProjectedEvent[]): Promise<void>;
}

/** The tables that readers see, or those a rebuild is filling. */
export type Generation = 'live' | 'next';

/** An event that could not be applied, or that waits behind one of its stream (`error` is null). */
export interface ParkedEvent {
  pos: number;
  streamId: string;
  error: string | null;
  attempts: number;
  parkedAt: string;
}
