import type { PoolClient } from 'pg';
import { isTransientFailure } from './errors.js';
import type { Generation, ParkedEvent, ProjectedEvent, Projection } from './projection.js';

/** The tables one batch works on. */
export interface ProjectionTarget {
  projection: Projection;
  generation: Generation;
  schema: string;
}

/** Thrown inside a batch when an event failed for good: the batch is rolled back and run again event by event. */
export class PoisonedBatch extends Error {
  constructor(cause: unknown) {
    super('an event of the batch cannot be applied', { cause });
  }
}

/** Where a projection stands. */
export interface Checkpoint {
  version: number;
  pos: number;
  logEpoch: string;
}

/** The checkpoint of a generation, or undefined; `lock` holds it until the transaction ends. */
export async function readCheckpoint(
  client: PoolClient,
  name: string,
  generation: Generation,
  lock = false,
): Promise<Checkpoint | undefined> {
  const result = await client.query<{ version: number; pos: string; log_epoch: string }>(
    `SELECT version, pos, log_epoch FROM es.checkpoint WHERE projector = $1 AND generation = $2 ${lock ? 'FOR UPDATE' : ''}`,
    [name, generation],
  );
  const row = result.rows[0];
  return row === undefined ? undefined : { version: row.version, pos: Number(row.pos), logEpoch: row.log_epoch };
}

/**
 * Moves the checkpoint from `from` to `to` if it still stands there and the log is still of the same epoch. False when another
 * replica was faster, the tables were swapped, or the log was replaced: the caller must roll back and look again.
 */
export async function moveCheckpoint(
  client: PoolClient,
  target: ProjectionTarget,
  from: number,
  to: number,
): Promise<boolean> {
  const result = await client.query(
    `UPDATE es.checkpoint SET pos = $5, updated_at = clock_timestamp()
      WHERE projector = $1 AND generation = $2 AND version = $3 AND pos = $4 AND log_epoch = (SELECT epoch FROM es.log_head)`,
    [target.projection.name, target.generation, target.projection.version, from, to],
  );
  return result.rowCount === 1;
}

/**
 * Applies events in order. Events of parked streams join their parked predecessors. Without `careful`, the first failure throws
 * PoisonedBatch. With it, what fails together is undone and applied one by one, and an event that fails alone is parked. Returns the
 * events it parked with an error.
 */
export async function applyEvents(
  client: PoolClient,
  target: ProjectionTarget,
  events: readonly ProjectedEvent[],
  careful: boolean,
): Promise<ParkedEvent[]> {
  if (events.length === 0) return [];
  const parkedStreams = await parkedAmong(client, target, events);
  const free = events.filter((event) => !parkedStreams.has(event.streamId));
  if (!careful) await applyOrThrow(client, target, free);
  else if ((await underSavepoint(client, () => applyAll(client, target, free))) !== undefined)
    return applyOneByOne(client, target, events, parkedStreams);
  for (const event of events) if (parkedStreams.has(event.streamId)) await park(client, target, event, null);
  return [];
}

async function applyOneByOne(
  client: PoolClient,
  target: ProjectionTarget,
  events: readonly ProjectedEvent[],
  parkedStreams: Set<string>,
): Promise<ParkedEvent[]> {
  const poisoned: ParkedEvent[] = [];
  for (const event of events) {
    if (parkedStreams.has(event.streamId)) {
      await park(client, target, event, null);
      continue;
    }
    const failure = await tryApply(client, target, event);
    if (failure === undefined) continue;
    poisoned.push(await park(client, target, event, failure));
    parkedStreams.add(event.streamId);
  }
  return poisoned;
}

async function applyAll(
  client: PoolClient,
  { projection, schema }: ProjectionTarget,
  events: readonly ProjectedEvent[],
): Promise<void> {
  if (events.length === 0) return;
  if (projection.applyBatch !== undefined) return projection.applyBatch(client, schema, events);
  for (const event of events) await projection.apply(client, schema, event);
}

async function applyOrThrow(
  client: PoolClient,
  target: ProjectionTarget,
  events: readonly ProjectedEvent[],
): Promise<void> {
  try {
    await applyAll(client, target, events);
  } catch (error) {
    if (isTransientFailure(error)) throw error;
    throw new PoisonedBatch(error);
  }
}

/** Applies one event under a savepoint; returns what is wrong with it, or undefined. Throws transient failures. */
export async function tryApply(
  client: PoolClient,
  target: ProjectionTarget,
  event: ProjectedEvent,
): Promise<string | undefined> {
  return underSavepoint(client, () => target.projection.apply(client, target.schema, event));
}

/** Undoes work that fails for good and returns what was wrong, or undefined. Throws transient failures. */
async function underSavepoint(client: PoolClient, work: () => Promise<void>): Promise<string | undefined> {
  await client.query('SAVEPOINT attempt');
  try {
    await work();
  } catch (error) {
    if (isTransientFailure(error)) throw error;
    await client.query('ROLLBACK TO SAVEPOINT attempt');
    await client.query('RELEASE SAVEPOINT attempt');
    // Postgres text holds no NUL, and an error message may quote anything.
    return (error instanceof Error ? (error.stack ?? error.message) : String(error))
      .replaceAll('\0', '\uFFFD')
      .slice(0, 4_000);
  }
  await client.query('RELEASE SAVEPOINT attempt');
  return undefined;
}

async function parkedAmong(
  client: PoolClient,
  target: ProjectionTarget,
  events: readonly ProjectedEvent[],
): Promise<Set<string>> {
  const result = await client.query<{ stream_id: string }>(
    'SELECT DISTINCT stream_id FROM es.parked WHERE projector = $1 AND generation = $2 AND stream_id = ANY ($3)',
    [target.projection.name, target.generation, [...new Set(events.map((event) => event.streamId))]],
  );
  return new Set(result.rows.map((row) => row.stream_id));
}

async function park(
  client: PoolClient,
  target: ProjectionTarget,
  event: ProjectedEvent,
  error: string | null,
): Promise<ParkedEvent> {
  const result = await client.query<{ parked_at: Date }>(
    `INSERT INTO es.parked (projector, generation, pos, stream_id, error, attempts) VALUES ($1, $2, $3, $4, $5, $6)
     RETURNING parked_at`,
    [target.projection.name, target.generation, event.pos, event.streamId, error, error === null ? 0 : 1],
  );
  const parkedAt = (result.rows[0]?.parked_at ?? new Date(0)).toISOString();
  return { pos: event.pos, streamId: event.streamId, error, attempts: error === null ? 0 : 1, parkedAt };
}
