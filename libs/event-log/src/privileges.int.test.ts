import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EventLog } from './event-log.js';
import { startPostgres, type PostgresFixture, type TestDatabase } from './postgres.fixture.js';
import { batch, recorded, sequenceAll } from './test-events.fixture.js';

let postgres: PostgresFixture;
let db: TestDatabase;
beforeAll(async () => {
  postgres = await startPostgres();
  db = await postgres.createDatabase();
  const log = new EventLog({ pool: db.ledger });
  recorded(await log.append(batch('s', 2)));
  await sequenceAll(log);
});
afterAll(async () => {
  await db?.drop();
  await postgres?.stop();
});

/** SQLSTATE and message of what happens when the role tries; 'allowed' when it may. Nothing stays. */
async function attempt(pool: Pool, role: string | undefined, sql: string): Promise<string> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    if (role !== undefined) await client.query(`SET LOCAL ROLE ${role}`);
    await client.query(sql);
    return 'allowed';
  } catch (error) {
    return `${(error as { code?: string }).code}: ${(error as Error).message}`;
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

const insertEvent = `INSERT INTO es.event (event_id, stream_id, category, version, type, schema_version, data, meta, occurred_at, recorded_at)
  VALUES (gen_random_uuid(), 's', 'thing', 3, 't', 1, '{}', '{}', now(), now())`;
const rewrites = [
  `UPDATE es.event SET type = 'x'`,
  `UPDATE es.event SET type = 'x' WHERE false`,
  `DELETE FROM es.event`,
  `TRUNCATE es.event`,
  `UPDATE es.log SET pos = pos`,
  `DELETE FROM es.log`,
  `TRUNCATE es.log`,
  insertEvent,
  `INSERT INTO es.log VALUES (3, 99, sha256('x'), now())`,
];

describe('the ledger role', () => {
  it.each([
    ...rewrites,
    `UPDATE es.stream SET version = 9`,
    `INSERT INTO es.pending VALUES (1)`,
    `DELETE FROM es.pending`,
    `UPDATE es.log_head SET pos = 0`,
    `DELETE FROM es.command_result`,
    `UPDATE es.step_lease SET epoch = 9`,
    `DELETE FROM es.timer`,
    `UPDATE es.artifact SET media_type = 'x'`,
    `DELETE FROM es.artifact_chunk`,
    `ALTER TABLE es.event DISABLE TRIGGER ALL`,
    `DROP TABLE es.event`,
    `CREATE TABLE es.mine (a int)`,
    `SET ROLE plumbline_writer`,
    `SET ROLE plumbline_owner`,
    `CREATE OR REPLACE FUNCTION es.sequence(p_limit int, OUT o_count int, OUT o_pos bigint) LANGUAGE sql AS 'SELECT 1, 1::bigint'`,
  ])('may not: %s', async (sql) => {
    expect(await attempt(db.ledger, undefined, sql)).toMatch(/^42501: (permission denied|must be owner)/);
  });

  it.each([
    [`SELECT es.record('s', 'thing', 'forged', '{}', '{}')`, 'record'],
    [`SELECT es.append_effects('{}', '{}', now())`, 'append_effects'],
    [`SELECT es.append_fences('{}', '{}')`, 'append_fences'],
    [`SELECT es.origin()`, 'origin'],
  ])('may not call what lies behind the doors: %s', async (sql, name) => {
    expect(await attempt(db.ledger, undefined, sql)).toBe(`42501: permission denied for function ${name}`);
  });

  it('may read, and keep read models of its own', async () => {
    expect(await attempt(db.ledger, undefined, 'SELECT * FROM es.event, es.log, es.pending, es.command_result')).toBe(
      'allowed',
    );
    expect(await attempt(db.ledger, undefined, 'CREATE SCHEMA rm_x; CREATE TABLE rm_x.t (a int)')).toBe('allowed');
  });

  it('cannot smuggle its own functions into a door by way of its search path', async () => {
    const hijack = `CREATE SCHEMA evil; CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$; SET LOCAL search_path = evil, pg_catalog;
      CREATE TEMP TABLE event (a int); SELECT es.sequence(10); SELECT * FROM es.fire_timers(10, 'x')`;
    expect(await attempt(db.ledger, undefined, hijack)).toBe('allowed');
  });
});

describe('the owner of the tables', () => {
  it.each(rewrites)('may not: %s', async (sql) => {
    expect(await attempt(db.admin, 'plumbline_owner', sql)).toMatch(/^42501: permission denied/);
  });
});

describe('the role behind the functions', () => {
  it.each(rewrites.filter((sql) => !sql.startsWith('INSERT')))('may not: %s', async (sql) => {
    expect(await attempt(db.admin, 'plumbline_writer', sql)).toMatch(/^42501: permission denied/);
  });
});

describe('a superuser', () => {
  it.each(rewrites.filter((sql) => !sql.startsWith('INSERT')))('is refused by a trigger: %s', async (sql) => {
    expect(await attempt(db.admin, undefined, sql)).toMatch(/^42501: es\.(event|log) is append-only/);
    const replica = `SET LOCAL session_replication_role = replica; ${sql}`;
    expect(await attempt(db.admin, undefined, replica)).toMatch(/^42501: es\.(event|log) is append-only/);
  });
});
