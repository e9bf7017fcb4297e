import { randomBytes } from 'node:crypto';
import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, startPostgres, stopPostgres } from '@plumbline/embedded';
import { createLedgerPool, migrate } from '@plumbline/event-log';
import { Pool } from 'pg';
import { dockerAnswers } from './docker-engine.js';

/** One fresh database with the schema in place. */
export interface TestDatabase {
  readonly name: string;
  /** As the ledger's own role, and as the superuser. */
  readonly ledgerUrl: string;
  readonly adminUrl: string;
  readonly ledger: Pool;
  readonly admin: Pool;
  drop(): Promise<void>;
}

/** A real Postgres server for the tests of one file. */
export interface TestPostgres {
  /** A copy of a migrated template: as good as fresh, in a fraction of a second. */
  createDatabase(): Promise<TestDatabase>;
  /** Kills the server as a crash would and starts it again at the same address; whoever was connected is not any more. */
  crash(): Promise<void>;
  /** Shuts the server down in order and starts it again at the same address. */
  restart(): Promise<void>;
  /** Shuts the server down, copies its folder to `folder` (which must not exist) and starts it again. */
  backUp(folder: string): Promise<void>;
  /** Kills the server and starts another one at the same address on a copy of what `backUp` left in `folder`. */
  restore(folder: string): Promise<void>;
  stop(): Promise<void>;
}

const ledgerRole = 'plumb_ledger';
const settings = { max_connections: '200', shared_buffers: '128MB', synchronous_commit: 'on' };

/** Starts Postgres: in a container where a Docker engine answers, else the embedded server. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const server = (await dockerAnswers()) ? await startContainer() : await startEmbedded();
  const root = new Pool({ connectionString: server.url, max: 2 });
  root.on('error', () => undefined);
  const ledgerPassword = randomBytes(12).toString('hex');
  const suffix = randomBytes(4).toString('hex');
  const template = `template_${suffix}`;
  try {
    await root.query(`CREATE DATABASE ${template} ENCODING 'UTF8' TEMPLATE template0`);
    await migrate({ adminUrl: within(server.url, template), ledgerRole, ledgerPassword });
  } catch (error) {
    await root.end();
    await server.stop();
    throw error;
  }
  let count = 0;
  return {
    async createDatabase() {
      const name = `test_${suffix}_${++count}`;
      await root.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
      // Rights on a database are not part of what a template hands on.
      await root.query(`GRANT CREATE ON DATABASE ${name} TO plumbline_ledger`);
      const adminUrl = within(server.url, name);
      const ledgerUrl = within(server.url, name, { user: ledgerRole, password: ledgerPassword });
      const ledger = createLedgerPool({ url: ledgerUrl, maxConnections: 8 });
      const admin = new Pool({ connectionString: adminUrl, max: 2 });
      admin.on('error', () => undefined);
      return {
        name,
        ledgerUrl,
        adminUrl,
        ledger,
        admin,
        async drop() {
          await Promise.all([ledger.end(), admin.end()]);
          await root.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
        },
      };
    },
    crash: () => server.crash(),
    restart: () => server.restart(),
    backUp: (folder) => server.backUp(folder),
    restore: (folder) => server.restore(folder),
    async stop() {
      await root.end();
      await server.stop();
    },
  };
}

function within(url: string, database: string, as?: { user: string; password: string }): string {
  const parsed = new URL(url);
  parsed.pathname = `/${database}`;
  if (as !== undefined) {
    parsed.username = as.user;
    parsed.password = as.password;
  }
  return parsed.toString();
}

interface Server {
  readonly url: string;
  crash(): Promise<void>;
  restart(): Promise<void>;
  backUp(folder: string): Promise<void>;
  restore(folder: string): Promise<void>;
  stop(): Promise<void>;
}

async function startEmbedded(): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 'plumb-test-pg-'));
  let restored = 0;
  const options = {
    dataDir: join(folder, 'data'),
    superuserPassword: randomBytes(12).toString('hex'),
    ephemeral: true,
    settings,
  };
  let server = await startPostgres(options);
  /** Down, whatever `meanwhile` does to the folder, and up again at the same port. */
  const again = async (signal: 'SIGINT' | 'SIGKILL', meanwhile: () => void = () => undefined): Promise<void> => {
    const { port } = server;
    if (signal === 'SIGKILL') await server.kill();
    else await stopPostgres({ dataDir: options.dataDir });
    meanwhile();
    server = await startPostgres({ ...options, port });
  };
  const copy = (from: string, to: string): void => {
    cpSync(from, to, { recursive: true, errorOnExist: true, force: false });
    // Postgres takes no folder that others may read, and a copy of a folder has the usual permissions.
    chmodSync(to, 0o700);
  };
  return {
    url: server.url,
    crash: () => again('SIGKILL'),
    restart: () => again('SIGINT'),
    backUp: (backup) => again('SIGINT', () => copy(options.dataDir, backup)),
    restore: (backup) => {
      const before = options.dataDir;
      return again('SIGKILL', () => {
        // The new server has a folder of its own: nothing of the old one is left over in it.
        options.dataDir = join(folder, `data-${++restored}`);
        copy(backup, options.dataDir);
        rmSync(before, { recursive: true, force: true });
      });
    },
    stop: async () => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A container's folder is not ours to copy. */
const embeddedOnly = (): Promise<void> =>
  Promise.reject(new Error('only the embedded Postgres can be backed up by copying; run it without a Docker engine'));

async function startContainer(): Promise<Server> {
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
  const flags = Object.entries({ ...settings, fsync: 'off' }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const container = await new PostgreSqlContainer('postgres:18-alpine')
    .withDatabase('postgres')
    .withUsername('postgres')
    .withCommand(['postgres', ...flags])
    // A port of our choice, so that a container that is started again has it again.
    .withExposedPorts({ container: 5432, host: await freePort() })
    .start();
  return {
    url: container.getConnectionUri(),
    crash: () => container.restart({ timeout: 0 }),
    restart: () => container.restart({ timeout: 10 }),
    backUp: embeddedOnly,
    restore: embeddedOnly,
    stop: () => container.stop().then(() => undefined),
  };
}
