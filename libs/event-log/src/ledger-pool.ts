import { Pool } from 'pg';

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
