import { Client, Pool } from 'pg';
import { OperationalError, toOperationalError } from './errors.js';

/**
 * A connection pool for the ledger role with the session settings the log relies on: read committed isolation (the sequencer and
 * the append need a fresh snapshot per statement), durable commits, and an end to transactions that were left idle.
 * Errors of idle connections go to `onError`; the pool replaces the connection by itself.
 */
export function createLedgerPool(options: {
  url: string;
  maxConnections?: number;
  connectTimeoutMs?: number;
  onError?: (error: Error) => void;
}): Pool {
  const pool = new Pool({
    connectionString: options.url,
    max: options.maxConnections ?? 16,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 10_000,
    application_name: 'plumbline-ledger',
    idle_in_transaction_session_timeout: 60_000,
    options: '-c default_transaction_isolation=read\\ committed -c synchronous_commit=on',
    keepAlive: true,
  });
  pool.on('error', (error) => options.onError?.(error));
  return pool;
}

/**
 * Resolves when this database takes a statement of this login. Throws OperationalError: `retry: 'later'` where nothing listens, it is
 * starting, or it is a standby that was not promoted; `'never'` for a refused login or a database that does not exist.
 */
export async function probeDatabase(url: string, timeoutMs = 5_000): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: timeoutMs, query_timeout: timeoutMs });
  client.on('error', () => {
    // The query that is running rejects with the same error; without a listener the process would die instead.
  });
  try {
    await client.connect();
    const { rows } = await client.query<{ standby: boolean }>('SELECT pg_is_in_recovery() AS standby');
    if (rows[0]?.standby !== true) return;
    throw new OperationalError('it is a standby: it takes nothing until it is promoted', { retry: 'later' });
  } catch (error) {
    throw toOperationalError(error, `Postgres at ${placeOf(url)}`);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The URL without its login. */
function placeOf(url: string): string {
  const { host, pathname } = new URL(url);
  return `${host}${pathname}`;
}
