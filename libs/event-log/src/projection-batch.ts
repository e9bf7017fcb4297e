import type { PoolClient } from 'pg';
import { isTransientFailure } from './errors.js';
import type { Generation, ParkedEvent, Projection } from './projection.js';
import { eventColumns, toRecordedEvent, type EventRow, type RecordedEvent } from './recorded-event.js';

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
 * Applies events in order. Events of parked streams join their parked predecessors. With `careful`, each event runs under a savepoint
 * and is parked when it fails; without, the first failure throws PoisonedBatch. Returns the events it parked with an error.
 */
export async function applyEvents(
  client: PoolClient,
  target: ProjectionTarget,
  events: readonly RecordedEvent[],
  careful: boolean,
): Promise<ParkedEvent[]> {
  const parkedStreams = await parkedAmong(client, target, events);
  const poisoned: ParkedEvent[] = [];
  for (const event of events) {
    if (parkedStreams.has(event.streamId)) {
      await park(client, target, event, null);
      continue;
    }
    const failure = careful ? await tryApply(client, target, event) : await applyOrThrow(client, target, event);
    if (failure === undefined) continue;
    poisoned.push(await park(client, target, event, failure));
    parkedStreams.add(event.streamId);
  }
  return poisoned;
}

async function applyOrThrow(client: PoolClient, target: ProjectionTarget, event: RecordedEvent): Promise<undefined> {
  try {
    await target.projection.apply(client, target.schema, event);
  } catch (error) {
    if (isTransientFailure(error)) throw error;
    throw new PoisonedBatch(error);
  }
}

/** Applies one event under a savepoint; returns what is wrong with it, or undefined. Throws transient failures. */
export async function tryApply(
  client: PoolClient,
  target: ProjectionTarget,
  event: RecordedEvent,
): Promise<string | undefined> {
  await client.query('SAVEPOINT one_event');
  try {
    await target.projection.apply(client, target.schema, event);
  } catch (error) {
    if (isTransientFailure(error)) throw error;
    await client.query('ROLLBACK TO SAVEPOINT one_event');
    await client.query('RELEASE SAVEPOINT one_event');
    // Postgres text holds no NUL, and an error message may quote anything.
    return (error instanceof Error ? (error.stack ?? error.message) : String(error))
      .replaceAll('\0', '\uFFFD')
      .slice(0, 4_000);
  }
  await client.query('RELEASE SAVEPOINT one_event');
  return undefined;
}

async function parkedAmong(
  client: PoolClient,
  target: ProjectionTarget,
  events: readonly RecordedEvent[],
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
  event: RecordedEvent,
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

/** Events of the log in (`after`, `upTo`], read in the batch's own transaction. */
export async function readRange(client: PoolClient, after: number, upTo: number): Promise<RecordedEvent[]> {
  const result = await client.query<EventRow>({
    name: 'es-read-range',
    text: `SELECT ${eventColumns} FROM es.log l JOIN es.event e ON e.ingest_id = l.ingest_id
      WHERE l.pos > $1 AND l.pos <= $2 ORDER BY l.pos`,
    values: [after, upTo],
  });
  return result.rows.map(toRecordedEvent);
}
