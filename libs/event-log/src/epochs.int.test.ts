import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AppendBatch } from './append-batch.js';
import { EventLog } from './event-log.js';
import { Pool } from 'pg';
import { createLedgerPool } from './ledger-pool.js';
import { startPostgres, type PostgresFixture, type TestDatabase } from './postgres.fixture.js';
import { batch, event, recorded, sequenceAll } from './test-events.fixture.js';

let postgres: PostgresFixture;
let db: TestDatabase;
let log: EventLog;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());
beforeEach(async () => {
  db = await postgres.createDatabase();
  log = new EventLog({ pool: db.ledger });
  // As every ledger does at its start.
  await log.keepEpoch();
});
const copies: Copy[] = [];
afterEach(async () => {
  await Promise.all(copies.splice(0).map((copy) => copy.pool.end()));
  await db.drop();
});

interface Copy {
  pool: Pool;
  log: EventLog;
}

/** The database as it is now, under another name: what a restored backup is to the log. */
async function restored(): Promise<Copy> {
  const admin = new Pool({ connectionString: postgres.adminUrl(), max: 1 });
  const name = `${db.name}_copy_${copies.length + 1}`;
  try {
    await admin.query(`ALTER DATABASE ${db.name} WITH ALLOW_CONNECTIONS false`);
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [db.name]);
    await admin.query(`CREATE DATABASE ${name} TEMPLATE ${db.name}`);
    await admin.query(`GRANT CREATE ON DATABASE ${name} TO plumbline_ledger`);
    await admin.query(`ALTER DATABASE ${db.name} WITH ALLOW_CONNECTIONS true`);
    await admin.query(`ALTER DATABASE ${name} WITH ALLOW_CONNECTIONS true`);
  } finally {
    await admin.end();
  }
  const url = new URL(db.ledgerUrl);
  url.pathname = `/${name}`;
  const pool = createLedgerPool({ url: url.toString() });
  const copy = { pool, log: new EventLog({ pool }) };
  copies.push(copy);
  return copy;
}

const request = (step: string): AppendBatch => ({
  ...batch('task-t'),
  streams: [{ streamId: 'task-t', category: 'task', events: [event(1)] }],
  steps: { open: [{ taskId: 't', step }] },
});
const claim = (of: EventLog, holder = 'w', step = 's') =>
  of.leases.claim({ taskId: 't', step, holder, ttlMs: 60_000, meta: {} });
const result = (epoch: number, step = 's'): AppendBatch => ({
  ...batch('task-t'),
  streams: [{ streamId: 'task-t', category: 'task', events: [event(9, 'thing.done')] }],
  fence: { taskId: 't', step, epoch, release: true },
});
const epochEvents = async (of: EventLog) =>
  (await of.readStream('log')).map(({ type, data }) => ({ type, ...(data as Record<string, unknown>) }));

describe('an epoch', () => {
  it('lasts as long as the log stays where it is', async () => {
    const before = await log.head();
    expect(await log.keepEpoch()).toBe(false);
    for (let i = 0; i < 3; i++) {
      recorded(await log.append(batch('s')));
      await sequenceAll(log);
      expect(await log.keepEpoch()).toBe(false);
    }
    expect(await log.head()).toMatchObject({ epoch: before.epoch, epochNumber: 1, pos: 3 });
    expect(await epochEvents(log)).toEqual([]);
  });

  it('ends with a restore; one of all who look begins the next, and the chain goes on', async () => {
    recorded(await log.append(batch('s', 5)));
    await sequenceAll(log);
    const old = await log.head();
    const copy = await restored();
    const looks = await Promise.all(Array.from({ length: 8 }, () => copy.log.keepEpoch()));
    expect(looks.filter(Boolean)).toHaveLength(1);
    await sequenceAll(copy.log);
    const head = await copy.log.head();
    expect(head).toMatchObject({ epochNumber: 2, pos: 6 });
    expect(head.epoch).not.toBe(old.epoch);
    expect(await epochEvents(copy.log)).toEqual([
      {
        type: 'log.epoch-started',
        epoch: head.epoch,
        number: 2,
        previousEpoch: old.epoch,
        afterPosition: 5,
        chainHash: old.chainHash,
        why: expect.stringMatching(
          /^the log was written at cluster \d+, timeline 1, database \d+, table \d+ and is now at cluster \d+, timeline 1/,
        ) as string,
      },
    ]);
    expect(await copy.log.audit()).toMatchObject({
      ok: true,
      events: 6,
      epochs: [{ number: 2, epoch: head.epoch, afterPosition: 5 }],
    });
    expect(await copy.log.keepEpoch()).toBe(false);
    expect(await log.keepEpoch()).toBe(false);
  });

  it('begins in the very transaction that numbers, if nobody looked before', async () => {
    recorded(await log.append(batch('s', 5)));
    await sequenceAll(log);
    recorded(await log.append(batch('s', 2)));
    const old = await log.head();
    const copy = await restored();
    recorded(await copy.log.append(batch('s', 1)));
    expect(await copy.log.sequence()).toEqual({ count: 3, pos: 8 });
    const head = await copy.log.head();
    expect([head.epoch === old.epoch, head.epochNumber, head.pos]).toEqual([false, 2, 8]);
    await sequenceAll(copy.log);
    // What the batch numbered belongs to the new epoch: its positions were perhaps others' before.
    expect(await epochEvents(copy.log)).toMatchObject([{ afterPosition: 5, chainHash: old.chainHash }]);
    expect(await copy.log.audit()).toMatchObject({ ok: true, events: 9 });
  });

  it('is started by one of those who know that events were lost', async () => {
    const { epoch } = await log.head();
    const asked = await Promise.all(['a', 'b', 'c'].map((why) => log.startEpoch(epoch, why)));
    expect(asked.filter(Boolean)).toHaveLength(1);
    expect(await log.startEpoch(epoch, 'late')).toBe(false);
    expect(await epochEvents(log)).toHaveLength(1);
    expect((await log.head()).epochNumber).toBe(2);
  });

  it('may change while appends are in flight: none is lost, the log is sound', async () => {
    let appending = true;
    const numbering = (async () => {
      while (appending) await log.sequence(7);
    })();
    const appends = Promise.all(Array.from({ length: 200 }, (_, i) => log.append(batch(`s-${i % 5}`))));
    for (let i = 0; i < 5; i++) {
      const { epoch } = await log.head();
      expect(await log.startEpoch(epoch, `round ${i}`)).toBe(true);
    }
    await appends;
    appending = false;
    await numbering;
    await sequenceAll(log);
    const report = await log.audit();
    expect([report.ok, report.events, report.epochs.map(({ number }) => number)]).toEqual([true, 205, [2, 3, 4, 5, 6]]);
  });
});

describe('a lease granted in an epoch that was lost', () => {
  it('matches none that is granted afterwards, though its step is opened and granted as if for the first time', async () => {
    recorded(await log.append(request('other')));
    const copy = await restored();
    // What the backup does not have: the step is opened and given to a worker that never hears of the restore.
    recorded(await log.append(request('s')));
    expect(await claim(log, 'zombie')).toMatchObject({ outcome: 'granted', epoch: 1 });
    recorded(await copy.log.append(request('s')));
    expect(await copy.log.append(result(1))).toMatchObject({ outcome: 'fenced' });
    // Nobody numbered anything and nobody asked about the epoch: the grant itself looks.
    const granted = await claim(copy.log, 'worker');
    if (granted.outcome !== 'granted') throw new Error(JSON.stringify(granted));
    expect(granted.epoch).toBeGreaterThan(1);
    expect(await copy.log.append(result(1))).toMatchObject({ outcome: 'fenced', current: { state: 'held' } });
    recorded(await copy.log.append(result(granted.epoch)));
  });

  it('matches none of another restore of the same backup either', async () => {
    recorded(await log.append(request('s')));
    const first = await restored();
    const second = await restored();
    const grants = [await claim(first.log), await claim(second.log), await claim(log)];
    const epochs = grants.map((grant) => (grant.outcome === 'granted' ? grant.epoch : 0));
    expect(new Set(epochs).size).toBe(3);
    expect(epochs[2]).toBe(1);
    expect(Math.max(...epochs)).toBeLessThan(Number.MAX_SAFE_INTEGER / 1_000);
  });

  it('is not taken from a worker that held it in the backup: in this log nobody else was given the step', async () => {
    recorded(await log.append(request('s')));
    expect(await claim(log)).toMatchObject({ outcome: 'granted', epoch: 1 });
    const copy = await restored();
    expect(await copy.log.keepEpoch()).toBe(true);
    expect(
      await copy.log.leases.heartbeat({ taskId: 't', step: 's', epoch: 1, holder: 'w', ttlMs: 60_000 }),
    ).toMatchObject({ outcome: 'ok' });
    recorded(await copy.log.append(result(1)));
  });
});

it('a log from before there were epochs keeps its own when it is looked at for the first time', async () => {
  recorded(await log.append(batch('s', 2)));
  await sequenceAll(log);
  await db.admin.query('ALTER TABLE es.log_head DISABLE TRIGGER ALL; UPDATE es.log_head SET origin = NULL');
  await db.admin.query('ALTER TABLE es.log_head ENABLE ALWAYS TRIGGER guard_epoch');
  expect(await log.keepEpoch()).toBe(false);
  expect((await db.admin.query('SELECT origin FROM es.log_head')).rows[0]).toMatchObject({
    origin: expect.stringContaining('cluster') as string,
  });
  expect((await log.head()).epochNumber).toBe(1);
});

it('where an administrator hides the cluster, the database still tells a restore', async () => {
  await db.admin.query('REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC');
  recorded(await log.append(batch('s')));
  await sequenceAll(log);
  const copy = await restored();
  expect(await copy.log.keepEpoch()).toBe(true);
  expect((await epochEvents(copy.log)).at(-1)).toMatchObject({
    why: expect.stringMatching(/written at cluster unknown, .* and is now at cluster unknown/) as string,
  });
});
