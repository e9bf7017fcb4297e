import { setTimeout as delay } from 'node:timers/promises';
import type { Pool, PoolClient, QueryConfig } from 'pg';
import { errorCode, toOperationalError } from './errors.js';

const maxAttempts = 4;

/** A connection taken out of the pool. `release` puts it back, or closes it when it is in an unknown state. */
export interface Session {
  readonly client: PoolClient;
  release(broken?: Error): void;
}

/**
 * Takes a connection out of the pool. A connection that breaks while it is out emits `error` besides failing its query; without a
 * listener that would end the process.
 */
export async function openSession(pool: Pool): Promise<Session> {
  const client = await pool.connect();
  const onError = (): void => {};
  client.on('error', onError);
  return {
    client,
    release(broken) {
      client.removeListener('error', onError);
      client.release(broken);
    },
  };
}

/** Runs `work` in a transaction begun with `begin`; commits what it returns, rolls back what it throws. */
export async function inTransaction<T>(
  pool: Pool,
  work: (client: PoolClient) => Promise<T>,
  begin = 'BEGIN',
): Promise<T> {
  const session = await openSession(pool);
  let broken: Error | undefined;
  try {
    await session.client.query(begin);
    const result = await work(session.client);
    await session.client.query('COMMIT');
    return result;
  } catch (error) {
    await session.client.query('ROLLBACK').catch((failure: unknown) => {
      broken = failure instanceof Error ? failure : new Error(String(failure));
    });
    throw error;
  } finally {
    session.release(broken);
  }
}

/**
 * Runs `work` under an advisory lock of this name; whoever asks for the same name waits. The lock goes with its connection, so work that
 * outlives a lost connection is not alone any more and must bear that.
 */
export async function underLock<T>(pool: Pool, name: string, work: () => Promise<T>): Promise<T> {
  const session = await openSession(pool);
  let broken: Error | undefined;
  try {
    await session.client.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', [name]);
    const result = await work();
    await session.client.query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [name]);
    return result;
  } catch (error) {
    // Closing the session gives the lock back, whatever state it is in.
    broken = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    session.release(broken);
  }
}

/**
 * Rows of one statement. `onSent` is called when the statement was written to the connection and its answer is awaited; a pool's own
 * `query` writes later than it returns. Throws what the driver throws.
 */
export async function sendQuery<T extends object>(pool: Pool, query: QueryConfig, onSent: () => void): Promise<T[]> {
  const session = await openSession(pool);
  let broken: Error | undefined;
  try {
    const answer = session.client.query<T>(query);
    onSent();
    return (await answer).rows;
  } catch (error) {
    broken = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    session.release(broken);
  }
}

/** Rows of one statement; repeats it when Postgres rolled it back as the victim of a deadlock. Throws OperationalError. */
export async function queryRows<T extends object>(
  pool: Pool,
  text: string,
  values: unknown[],
  onSent: () => void = () => {},
): Promise<T[]> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await sendQuery<T>(pool, { text, values }, onSent);
    } catch (error) {
      const rolledBack = errorCode(error) === '40P01' || errorCode(error) === '40001';
      if (!rolledBack || attempt >= maxAttempts) throw toOperationalError(error, 'the event log');
      await delay(Math.random() * 5 * attempt);
    }
  }
}
