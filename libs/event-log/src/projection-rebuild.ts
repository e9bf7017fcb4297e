import { setTimeout as delay } from 'node:timers/promises';
import { failpoint } from '@plumbline/failpoint';
import type { Pool, PoolClient } from 'pg';
import { errorCode } from './errors.js';
import {
  applyEvents,
  moveCheckpoint,
  PoisonedBatch,
  readCheckpoint,
  type ProjectionTarget,
} from './projection-batch.js';
import { readPage } from './projection-read.js';
import type { ParkedEvent, Projection } from './projection.js';
import { inTransaction, underLock } from './session.js';

const swapLockTimeoutMs = 200;
const swapPauseMs = 50;
const maxSwapAttempts = 100;
/** Commits are flushed to disk; a page is not worth one while nobody can see its rows. */
const pagesPerCommit = 20;

/**
 * Fills `<schema>_next` from the first event, catches up, and renames it to `schema` in one transaction, with the checkpoint. Readers
 * see either all of the old tables or all of the new. Concurrent rebuilds of one projection wait for each other.
 * Returns the position of the new tables and the events that could not be applied.
 */
export async function rebuildProjection(
  pool: Pool,
  projection: Projection,
  schema: string,
  batchSize: number,
): Promise<{ pos: number; parked: ParkedEvent[] }> {
  return underLock(pool, `rebuild ${projection.name}`, async () => {
    const target: ProjectionTarget = { projection, generation: 'next', schema: `${schema}_next` };
    const epoch = await createNext(pool, target);
    const parked = await fillNext(pool, target, batchSize);
    const swapped = await swapWhenFree(pool, target, schema, epoch);
    return { pos: swapped.pos, parked: [...parked, ...swapped.parked] };
  });
}

async function createNext(pool: Pool, target: ProjectionTarget): Promise<string> {
  const { name, version } = target.projection;
  return inTransaction(pool, async (client) => {
    await client.query(`DROP SCHEMA IF EXISTS ${target.schema} CASCADE`);
    await client.query(`CREATE SCHEMA ${target.schema}`);
    await client.query(target.projection.ddl(target.schema));
    await client.query(`DELETE FROM es.checkpoint WHERE projector = $1 AND generation = 'next'`, [name]);
    await client.query(`DELETE FROM es.parked WHERE projector = $1 AND generation = 'next'`, [name]);
    const result = await client.query<{ log_epoch: string }>(
      `INSERT INTO es.checkpoint (projector, generation, version, pos, log_epoch)
       SELECT $1, 'next', $2, 0, epoch FROM es.log_head RETURNING log_epoch`,
      [name, version],
    );
    return result.rows[0]?.log_epoch ?? '';
  });
}

async function fillNext(pool: Pool, target: ProjectionTarget, batchSize: number): Promise<ParkedEvent[]> {
  const parked: ParkedEvent[] = [];
  let pos = 0;
  for (;;) {
    const attempt = (careful: boolean): Promise<Advance> =>
      inTransaction(pool, (client) => advance(client, target, pos, { batchSize, pages: pagesPerCommit, careful }));
    const reached = await attempt(false).catch((error: unknown) => {
      if (error instanceof PoisonedBatch) return attempt(true);
      throw error;
    });
    if (reached.pos === pos) return parked;
    pos = reached.pos;
    parked.push(...reached.parked);
  }
}

interface Advance {
  pos: number;
  parked: ParkedEvent[];
}

interface Stretch {
  batchSize: number;
  /** Most pages in this transaction. */
  pages: number;
  /** Where to stop, if not at the end of the log. */
  upTo?: number;
  careful: boolean;
}

/**
 * Applies pages of events after `from` in the caller's transaction and moves the checkpoint; returns the position reached. The next page
 * is asked for before the one in hand is applied: the database reads while this process thinks.
 */
async function advance(client: PoolClient, target: ProjectionTarget, from: number, stretch: Stretch): Promise<Advance> {
  const { batchSize, pages, upTo, careful } = stretch;
  const read = (after: number): ReturnType<typeof readPage> =>
    readPage(client, target.projection, after, batchSize, upTo);
  const parked: ParkedEvent[] = [];
  let pos = from;
  let page = await read(pos);
  for (let n = 1; page.reached > pos; n++) {
    const next = n < pages ? read(page.reached) : undefined;
    // A failure of this page ends the transaction before anybody waits for the next one.
    next?.catch(() => undefined);
    parked.push(...(await applyEvents(client, target, page.events, careful)));
    pos = page.reached;
    if (next === undefined) break;
    page = await next;
  }
  if (pos > from && !(await moveCheckpoint(client, target, from, pos))) {
    throw new Error(`the checkpoint of ${target.schema} moved during its rebuild, or the log was replaced`);
  }
  return { pos, parked };
}

/** The swap waits for nobody for long: readers that queue behind a waiting exclusive lock would wait as well. */
async function swapWhenFree(pool: Pool, target: ProjectionTarget, schema: string, epoch: string): Promise<Advance> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await inTransaction(pool, (client) => swap(client, target, schema, epoch));
    } catch (error) {
      const busy = errorCode(error) === '55P03' || errorCode(error) === '40P01';
      if (!busy || attempt >= maxSwapAttempts) throw error;
      await delay(swapPauseMs);
    }
  }
}

async function swap(client: PoolClient, target: ProjectionTarget, schema: string, epoch: string): Promise<Advance> {
  const { name } = target.projection;
  await client.query(`SET LOCAL lock_timeout = ${swapLockTimeoutMs}`);
  const live = await readCheckpoint(client, name, 'live', true);
  const next = await readCheckpoint(client, name, 'next', true);
  if (next === undefined) throw new Error(`the rebuild of ${schema} lost its checkpoint`);
  // Nobody may see the read model go back in time.
  const sameLog = live?.logEpoch === epoch;
  const behind = sameLog && live.pos > next.pos;
  const all = { batchSize: 500, pages: Number.MAX_SAFE_INTEGER, careful: true };
  const reached = behind
    ? await advance(client, target, next.pos, { ...all, upTo: live.pos })
    : { pos: next.pos, parked: [] };
  await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  await client.query(`ALTER SCHEMA ${target.schema} RENAME TO ${schema}`);
  for (const table of ['checkpoint', 'parked']) {
    await client.query(`DELETE FROM es.${table} WHERE projector = $1 AND generation = 'live'`, [name]);
    await client.query(`UPDATE es.${table} SET generation = 'live' WHERE projector = $1 AND generation = 'next'`, [
      name,
    ]);
  }
  failpoint('projection.swapped');
  return reached;
}
