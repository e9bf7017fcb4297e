import 'reflect-metadata';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { DataSource, type MigrationInterface } from 'typeorm';
import { errorCode, OperationalError, toOperationalError } from './errors.js';
import { CreateEventLog1795219200000 } from './migrations/create-event-log.js';
import { FasterFunctions1795309260000 } from './migrations/faster-functions.js';
import { LogEpochs1795312800000 } from './migrations/log-epochs.js';
import { ledgerGroup, ownerRole, writerRole } from './migrations/roles.js';

type MigrationClass = new () => MigrationInterface & { name: string };

const migrations: readonly MigrationClass[] = [
  CreateEventLog1795219200000,
  FasterFunctions1795309260000,
  LogEpochs1795312800000,
];

/** Key of the advisory lock that makes concurrent runs wait for each other; any constant will do, it must only never change. */
const migrationLockKey = '7215884910340275';

export interface MigrateOptions {
  /** URL of a superuser or of a role with CREATEROLE that may create schemas in the database. */
  adminUrl: string;
  /** Login role of the ledger; created when missing. */
  ledgerRole: string;
  /** Set on the role when given; without it the role's password is left alone (peer, certificate or trust logins). */
  ledgerPassword?: string;
}

/**
 * Brings the database to the schema of this code and returns the names of the migrations it applied (none when up to date).
 * Concurrent runs wait for each other. Throws an OperationalError `retry: 'never'` for a database that is newer than this code or
 * not encoded in UTF-8.
 */
export async function migrate(options: MigrateOptions): Promise<{ applied: string[] }> {
  const client = new Client({ connectionString: options.adminUrl, application_name: 'plumbline-migrate' });
  client.on('error', () => {
    // The query that is running rejects with the same error; without a listener the process would die instead.
  });
  try {
    await client.connect();
    await client.query('SELECT pg_advisory_lock($1)', [migrationLockKey]);
    await refuseForeignDatabase(client);
    await prepareRoles(client, options);
    const applied = await runMigrations(options.adminUrl);
    return { applied };
  } catch (error) {
    throw toOperationalError(error, 'migrating the event log');
  } finally {
    // Ending the session also gives the advisory lock back.
    await client.end().catch(() => {});
  }
}

async function refuseForeignDatabase(client: Client): Promise<void> {
  const encoding = await client.query<{ server_encoding: string }>('SHOW server_encoding');
  if (encoding.rows[0]?.server_encoding !== 'UTF8') {
    throw new OperationalError(
      `the database is encoded in ${encoding.rows[0]?.server_encoding}, the event log needs UTF8: create it with ENCODING 'UTF8' TEMPLATE template0`,
      { retry: 'never' },
    );
  }
  const known = new Set(migrations.map((migration) => migration.name));
  const exists = await client.query<{ found: boolean }>(`SELECT to_regclass('es.migration') IS NOT NULL AS found`);
  if (exists.rows[0]?.found !== true) return;
  const recorded = await client.query<{ name: string }>('SELECT name FROM es.migration ORDER BY id');
  const unknown = recorded.rows.filter((row) => !known.has(row.name)).map((row) => row.name);
  if (unknown.length > 0) {
    throw new OperationalError(
      `the database has migrations this version does not know (${unknown.join(', ')}): it was migrated by a newer version; run that version or a later one`,
      { retry: 'never' },
    );
  }
}

async function ensureRole(client: Client, role: string, attributes: string): Promise<void> {
  const found = await client.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [role]);
  if (found.rowCount !== 0) return;
  await changeRoles(client, `CREATE ROLE ${client.escapeIdentifier(role)} ${attributes}`);
}

/**
 * Runs a statement on roles. Roles belong to the whole cluster, which no lock of one database guards: a run on another database may
 * create the same role or grant first (then there is nothing left to do), or be changing the same row (then we try again).
 */
async function changeRoles(client: Client, statement: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await client.query(statement);
      return;
    } catch (error) {
      const code = errorCode(error);
      if (code === '42710' || code === '23505') return;
      if (code !== 'XX000' || attempt >= 20) throw error;
      await delay(Math.random() * 20 * attempt);
    }
  }
}

async function ensureMember(client: Client, group: string, member: string): Promise<void> {
  const isMember = await client.query<{ member: boolean }>(
    `SELECT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
      WHERE g.rolname = $1 AND r.rolname = $2) AS member`,
    [group, member],
  );
  if (isMember.rows[0]?.member === true) return;
  await changeRoles(client, `GRANT ${client.escapeIdentifier(group)} TO ${client.escapeIdentifier(member)}`);
}

async function prepareRoles(client: Client, options: MigrateOptions): Promise<void> {
  await ensureRole(client, ownerRole, 'NOLOGIN');
  await ensureRole(client, writerRole, 'NOLOGIN');
  await ensureRole(client, ledgerGroup, 'NOLOGIN');
  await ensureRole(client, options.ledgerRole, 'LOGIN');
  if (options.ledgerPassword !== undefined) {
    const role = client.escapeIdentifier(options.ledgerRole);
    await changeRoles(client, `ALTER ROLE ${role} LOGIN PASSWORD ${client.escapeLiteral(options.ledgerPassword)}`);
  }
  await ensureMember(client, ledgerGroup, options.ledgerRole);
  const me = await client.query<{ name: string; super: boolean; database: string }>(
    'SELECT rolname AS name, rolsuper AS super, current_database() AS database FROM pg_roles WHERE rolname = current_user',
  );
  const admin = me.rows[0];
  if (admin === undefined) throw new Error('current_user is not in pg_roles');
  if (!admin.super) {
    await ensureMember(client, ownerRole, admin.name);
    await ensureMember(client, writerRole, admin.name);
  }
  const database = client.escapeIdentifier(admin.database);
  // The ledger builds its read models in schemas of its own.
  await client.query(`GRANT CREATE ON DATABASE ${database} TO ${ledgerGroup}`);
  const owner = client.escapeIdentifier(ownerRole);
  await client.query(`CREATE SCHEMA IF NOT EXISTS es AUTHORIZATION ${owner}`);
  if (!admin.super) await client.query(`GRANT ALL ON SCHEMA es TO ${client.escapeIdentifier(admin.name)}`);
}

async function runMigrations(adminUrl: string): Promise<string[]> {
  const source = new DataSource({
    type: 'postgres',
    url: adminUrl,
    applicationName: 'plumbline-migrate',
    schema: 'es',
    migrations: [...migrations],
    migrationsTableName: 'migration',
    synchronize: false,
    logging: false,
    poolSize: 2,
  });
  await source.initialize();
  try {
    const applied = await source.runMigrations({ transaction: 'each' });
    return applied.map((migration) => migration.name);
  } finally {
    await source.destroy();
  }
}
