import { randomBytes } from 'node:crypto';
import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { startPostgres } from '@plumbline/embedded';
import { createLedgerPool, migrate } from '@plumbline/event-log';
import { Pool } from 'pg';

/** A Postgres server that flushes as in production, with the event log in it. */
export interface BenchPostgres {
  readonly ledgerUrl: string;
  readonly adminUrl: string;
  readonly ledger: Pool;
  readonly admin: Pool;
  readonly version: string;
  /** Writes out what earlier rounds left dirty, so that this round does not pay for it. */
  checkpoint(): Promise<void>;
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
export async function startBenchPostgres(folder: string): Promise<BenchPostgres> {
  if (statfsSync(folder).type === tmpfsMagic)
    throw new Error(`${folder} is in memory, where flushing costs nothing: name a folder on a disk with --dir`);
  const server = await startPostgres({
    dataDir: join(folder, `postgres-${randomBytes(4).toString('hex')}`),
    superuserPassword: randomBytes(12).toString('hex'),
    ephemeral: true,
    fsync: true,
    settings,
  });
  const ledgerPassword = randomBytes(12).toString('hex');
  try {
    await migrate({ adminUrl: server.url, ledgerRole, ledgerPassword });
  } catch (error) {
    await server.stop();
    throw error;
  }
  const ledgerUrl = new URL(server.url);
  ledgerUrl.username = ledgerRole;
  ledgerUrl.password = ledgerPassword;
  const ledger = createLedgerPool({ url: ledgerUrl.toString() });
  const admin = new Pool({ connectionString: server.url, max: 4 });
  admin.on('error', () => undefined);
  return {
    ledgerUrl: ledgerUrl.toString(),
    adminUrl: server.url,
    ledger,
    admin,
    version: server.version,
    async checkpoint() {
      await admin.query('CHECKPOINT');
    },
    async stop() {
      await Promise.all([ledger.end(), admin.end()]);
      await server.stop();
    },
  };
}
