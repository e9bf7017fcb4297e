import { randomBytes } from 'node:crypto';
import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { startPostgres } from '@plumbline/embedded';
import { createLedgerPool, migrate } from '@plumbline/event-log';
import { Pool } from 'pg';

/** A database of its own with the event log in it, on a server that flushes as in production. */
export interface BenchPostgres {
  readonly ledgerUrl: string;
  readonly adminUrl: string;
  readonly ledger: Pool;
  readonly admin: Pool;
  /** Writes out what earlier rounds left dirty, so that this round does not pay for it. */
  checkpoint(): Promise<void>;
  /** Drops it. */
  close(): Promise<void>;
}

export interface BenchPostgresServer {
  readonly version: string;
  createDatabase(): Promise<BenchPostgres>;
  stop(): Promise<void>;
}

const ledgerRole = 'plumb_ledger';
const tmpfsMagic = 0x01021994;
/** A checkpoint in mid-round would hit one contestant and not the other; each round begins with its own. */
const settings = {
  max_connections: '200',
  shared_buffers: '256MB',
  max_wal_size: '8GB',
  checkpoint_timeout: '1h',
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
};

/** Starts it in a new folder below `folder`. Throws when that is memory: nothing is flushed there, and every figure would lie. */
export async function startBenchPostgres(folder: string): Promise<BenchPostgresServer> {
  if (statfsSync(folder).type === tmpfsMagic)
    throw new Error(`${folder} is in memory, where flushing costs nothing: name a folder on a disk with --dir`);
  const server = await startPostgres({
    dataDir: join(folder, `postgres-${randomBytes(4).toString('hex')}`),
    superuserPassword: randomBytes(12).toString('hex'),
    ephemeral: true,
    fsync: true,
    settings,
  });
  const root = new Pool({ connectionString: server.url, max: 1 });
  root.on('error', () => undefined);
  let count = 0;
  return {
    version: server.version,
    async createDatabase() {
      const name = `bench_${++count}`;
      await root.query(`CREATE DATABASE ${name}`);
      return openDatabase(within(server.url, name), () => root.query(`DROP DATABASE ${name} WITH (FORCE)`));
    },
    async stop() {
      await root.end();
      await server.stop();
    },
  };
}

async function openDatabase(adminUrl: string, drop: () => Promise<unknown>): Promise<BenchPostgres> {
  const ledgerPassword = randomBytes(12).toString('hex');
  await migrate({ adminUrl, ledgerRole, ledgerPassword });
  const ledgerUrl = new URL(adminUrl);
  ledgerUrl.username = ledgerRole;
  ledgerUrl.password = ledgerPassword;
  const ledger = createLedgerPool({ url: ledgerUrl.toString() });
  const admin = new Pool({ connectionString: adminUrl, max: 4 });
  admin.on('error', () => undefined);
  return {
    ledgerUrl: ledgerUrl.toString(),
    adminUrl,
    ledger,
    admin,
    async checkpoint() {
      await admin.query('CHECKPOINT');
    },
    async close() {
      await Promise.all([ledger.end(), admin.end()]);
      await drop();
    },
  };
}

function within(url: string, database: string): string {
  const parsed = new URL(url);
  parsed.pathname = `/${database}`;
  return parsed.toString();
}
