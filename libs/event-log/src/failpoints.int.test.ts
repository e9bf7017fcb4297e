import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { FailpointName } from '@plumbline/failpoint';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditLog } from './audit.js';
import { startPostgres, type PostgresFixture } from './postgres.fixture.js';

let postgres: PostgresFixture;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());

/** What is committed once the killed process's connections are gone. */
interface Left {
  commands: number;
  numbered: number;
  projected: number | null;
  lease: string | null;
  artifacts: number;
}

const empty: Left = { commands: 0, numbered: 0, projected: null, lease: null, artifacts: 0 };
const appended: Left = { ...empty, commands: 1, lease: 'open' };
const numbered: Left = { ...appended, numbered: 1 };
const projected: Left = { ...numbered, projected: 1 };
const whole: Left = { ...projected, numbered: 3, projected: 3, artifacts: 1 };

describe('a ledger that is killed', () => {
  it.each<[FailpointName, Left]>([
    ['append.received', empty],
    // Sent and not answered: the statement reached Postgres, so it was carried out although nobody heard of it.
    ['append.sent', appended],
    ['append.committed', appended],
    ['sequence.sent', numbered],
    ['sequence.committed', numbered],
    ['projection.swapped', numbered],
    ['projection.written', { ...projected, lease: 'open', numbered: 3 }],
    ['lease.granted', { ...projected, lease: 'held' }],
    ['sweeper.swept', projected],
    ['artifact.chunk-stored', { ...whole, artifacts: 0 }],
  ])('at %s leaves all of it or nothing', async (name, expected) => {
    const db = await postgres.createDatabase();
    try {
      const { signal, said } = await run(db.ledgerUrl, `${name}=kill`);
      expect(said).toBe(`{"failpoint":"${name}","action":"kill","hit":1}\n`);
      expect(signal).toBe('SIGKILL');
      await untilGone(db.admin);
      expect(await leftIn(db.admin)).toEqual(expected);
      expect(await auditLog(db.ledger)).toMatchObject({ ok: true });
    } finally {
      await db.drop();
    }
  });

  it('nowhere does all of it', async () => {
    const db = await postgres.createDatabase();
    try {
      expect(await run(db.ledgerUrl, '')).toEqual({ signal: null, said: '' });
      expect(await leftIn(db.admin)).toEqual(whole);
    } finally {
      await db.drop();
    }
  });
});

async function run(url: string, failpoints: string): Promise<{ signal: NodeJS.Signals | null; said: string }> {
  const hooks = new URL('../../host/src/typescript-hooks.fixture.mjs', import.meta.url).href;
  const main = fileURLToPath(new URL('killed-ledger.fixture.ts', import.meta.url));
  const flags = ['--no-warnings', '--conditions=@plumbline/source', '--import', hooks];
  const child = spawn(process.execPath, [...flags, main, url, failpoints], { stdio: ['ignore', 'inherit', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const [, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { signal, said };
}

type Admin = Awaited<ReturnType<PostgresFixture['createDatabase']>>['admin'];

/** A statement that was sent is carried out to its end, also when nobody waits for the answer. */
async function untilGone(admin: Admin): Promise<void> {
  for (;;) {
    const { rows } = await admin.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'plumbline-ledger'`,
    );
    if (rows.length === 0) return;
  }
}

async function leftIn(admin: Admin): Promise<Left | undefined> {
  const { rows } = await admin.query<Left>(
    `SELECT (SELECT count(*)::int FROM es.command_result) AS commands, (SELECT pos::int FROM es.log_head) AS numbered,
       (SELECT pos::int FROM es.checkpoint WHERE generation = 'live') AS projected,
       (SELECT state FROM es.step_lease) AS lease, (SELECT count(*)::int FROM es.artifact) AS artifacts`,
  );
  return rows[0];
}
