import type { PoolClient } from 'pg';
import type { RecordedEvent } from './recorded-event.js';

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
  /** Applies one event inside the batch's transaction. A throw parks the event and its stream, unless the failure is transient. */
  apply(client: PoolClient, schema: string, event: RecordedEvent): Promise<void>;
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
