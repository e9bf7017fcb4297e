import { randomUUID } from 'node:crypto';
import type { Pool } from 'pg';
import type { AppendBatch, AppendResult, NewEvent } from './append-batch.js';
import type { EventLog } from './event-log.js';

/** An event with a small payload. */
export function event(n: number, type = 'thing.happened'): NewEvent {
  return { type, schemaVersion: 1, data: { n, text: `event ${n}` }, meta: { actor: 'test' } };
}

/** A batch of `count` events for one stream. */
export function batch(streamId: string, count = 1, expectedVersion?: number): AppendBatch {
  const events = Array.from({ length: count }, (_, n) => event(n));
  const version = expectedVersion === undefined ? {} : { expectedVersion };
  return { commandId: randomUUID(), streams: [{ streamId, category: 'thing', events, ...version }] };
}

/** Numbers everything that is committed. */
export async function sequenceAll(log: EventLog): Promise<number> {
  for (;;) {
    const { count, pos } = await log.sequence();
    if (count === 0) return pos;
  }
}

/** Fails unless the batch was recorded. */
export function recorded(result: AppendResult): Extract<AppendResult, { outcome: 'appended' }> {
  if (result.outcome !== 'appended') throw new Error(`not appended: ${JSON.stringify(result)}`);
  return result;
}

/** Numbers from 0 up to 1 that are the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Resolves once `count` sessions of the ledger role in this database wait as told: `Lock` for a row, `Timeout` in a sleep. */
export async function untilWaiting(admin: Pool, kind: 'Lock' | 'Timeout', count = 1): Promise<void> {
  for (;;) {
    const result = await admin.query(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND usename = 'test_ledger' AND wait_event_type = $1`,
      [kind],
    );
    if ((result.rowCount ?? 0) >= count) return;
  }
}
