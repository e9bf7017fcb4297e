import type { Pool } from 'pg';

/** Keeps replicas that start at once from making the same tables; any constant will do, it must only never change. */
const tablesLockKey = '4611713320990861';

const ddl = `
CREATE SCHEMA IF NOT EXISTS notify;
CREATE TABLE IF NOT EXISTS notify.notice (
  event_id   uuid PRIMARY KEY,
  pos        bigint NOT NULL,
  kind       text NOT NULL,
  task_id    text NOT NULL,
  body       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS notice_age ON notify.notice (created_at);
-- due: to be sent at next_at. delivered. failed: given up, but sent once more when its target is taken up again.
CREATE TABLE IF NOT EXISTS notify.delivery (
  event_id   uuid NOT NULL REFERENCES notify.notice ON DELETE CASCADE,
  target     text COLLATE "C" NOT NULL,
  pos        bigint NOT NULL,
  state      text NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'delivered', 'failed')),
  attempts   int  NOT NULL DEFAULT 0,
  next_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_error text,
  PRIMARY KEY (event_id, target)
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS delivery_due ON notify.delivery (target, next_at, pos) WHERE state = 'due';
CREATE TABLE IF NOT EXISTS notify.target (
  name       text COLLATE "C" PRIMARY KEY,
  parked_at  timestamptz,
  why        text,
  last_ok_at timestamptz
);`;

/** Makes the outbox's tables in a schema of their own where they are missing. Any number of replicas may call it at once. */
export async function makeOutboxTables(pool: Pool): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query('SELECT pg_advisory_xact_lock($1)', [tablesLockKey]);
    await client.query(ddl);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  } finally {
    client.release();
  }
}
