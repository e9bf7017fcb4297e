import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AuditFinding } from './audit.js';
import { ChainWatch, type ChainWatchOptions } from './chain-watch.js';
import { EventLog } from './event-log.js';
import { startPostgres, type PostgresFixture, type TestDatabase } from './postgres.fixture.js';
import { batch, recorded, sequenceAll } from './test-events.fixture.js';

let postgres: PostgresFixture;
let db: TestDatabase;
let log: EventLog;
let found: AuditFinding[];
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());
beforeEach(async () => {
  db = await postgres.createDatabase();
  log = new EventLog({ pool: db.ledger });
  found = [];
  await grow(10);
});
afterEach(() => db.drop());

async function grow(events: number): Promise<void> {
  recorded(await log.append(batch('s', events)));
  await sequenceAll(log);
}

/** What only a superuser can do: switch the triggers off and rewrite history. */
async function tamper(sql: string): Promise<void> {
  await db.admin.query(`ALTER TABLE es.event DISABLE TRIGGER ALL; ALTER TABLE es.log DISABLE TRIGGER ALL; ${sql};
    ALTER TABLE es.event ENABLE ALWAYS TRIGGER append_only; ALTER TABLE es.log ENABLE ALWAYS TRIGGER append_only`);
}

const spoil = (pos: number): string =>
  `UPDATE es.event SET data = replace(data::text, 'event', 'evemt')::json WHERE ingest_id = (SELECT ingest_id FROM es.log WHERE pos = ${pos})`;
const mend = (pos: number): string => spoil(pos).replace(`'event', 'evemt'`, `'evemt', 'event'`);

const watchOf = (options: ChainWatchOptions = {}): ChainWatch =>
  new ChainWatch(db.ledger, { pageSize: 4, passEveryMs: 0, onBroken: (finding) => found.push(finding), ...options });

describe('the watch over the chain', () => {
  it('takes new events as they come, and goes through the past a page a look', async () => {
    const watch = watchOf({ passEveryMs: 3_600_000 });
    expect(await watch.look()).toEqual({ ok: true, verifiedPosition: 10, passPosition: 4 });
    await grow(3);
    expect(await watch.look()).toEqual({ ok: true, verifiedPosition: 13, passPosition: 8 });
    await watch.look();
    const state = await watch.look();
    expect(state).toMatchObject({ ok: true, verifiedPosition: 13, passPosition: 13 });
    expect(state.passedAt?.getTime()).toBeGreaterThan(Date.now() - 10_000);
    // The next pass is not due.
    await grow(1);
    expect(await watch.look()).toMatchObject({ verifiedPosition: 14, passPosition: 13 });
    expect(found).toEqual([]);
  });

  it('finds an empty log good', async () => {
    const empty = await postgres.createDatabase();
    const state = await new ChainWatch(empty.ledger).look();
    expect(state).toMatchObject({ ok: true, verifiedPosition: 0, passPosition: 0 });
    expect(state.passedAt).toBeDefined();
    await empty.drop();
  });

  it('finds a new event that was changed before it was looked at, at once', async () => {
    const watch = watchOf();
    await watch.look();
    await grow(3);
    await tamper(spoil(12));
    expect(await watch.look()).toMatchObject({ ok: false, verifiedPosition: 10 });
    expect(found).toEqual([{ position: 12, what: 'the event does not match its hash' }]);
  });

  it('finds an old event that was changed after it was verified, in the pass that comes through it, and says so once', async () => {
    const watch = watchOf();
    for (let look = 0; look < 3; look++) await watch.look();
    expect(watch.state.passedAt).toBeDefined();
    await tamper(spoil(6));
    await watch.look();
    expect(watch.state.ok).toBe(true);
    await watch.look();
    expect(watch.state.ok).toBe(false);
    for (let look = 0; look < 6; look++) expect((await watch.look()).ok).toBe(false);
    expect(found).toEqual([{ position: 6, what: 'the event does not match its hash' }]);
  });

  it('is content again only when a pass came through the broken place', async () => {
    const watch = watchOf();
    await tamper(spoil(6));
    for (let look = 0; look < 2; look++) await watch.look();
    expect(watch.state.ok).toBe(false);
    await tamper(mend(6));
    const states = [];
    for (let look = 0; look < 3; look++) states.push((await watch.look()).ok);
    expect(states).toEqual([false, false, true]);
  });

  it.each([
    ['a log row that was deleted', `DELETE FROM es.log WHERE pos = 3`, 3, /no event has this position/],
    [
      'an event that was deleted',
      `DELETE FROM es.event WHERE ingest_id = (SELECT ingest_id FROM es.log WHERE pos = 3)`,
      3,
      /is gone/,
    ],
    ['a head that was set back', `UPDATE es.log_head SET pos = 7`, 8, /went back from 10 to 7/],
    [
      'a log that was cut off with its head',
      `DELETE FROM es.log WHERE pos > 7; UPDATE es.log_head SET pos = 7, chain_hash = (SELECT chain_hash FROM es.log WHERE pos = 7)`,
      8,
      /went back from 10 to 7/,
    ],
    ['a last row that was deleted', `DELETE FROM es.log WHERE pos = 10`, 10, /ends before its head at 10/],
    ['a head that is not the end', `UPDATE es.log_head SET chain_hash = sha256('x')`, 10, /does not end in the head/],
    ['a head that is gone', `DELETE FROM es.log_head`, 1, /head of the log is missing/],
  ])('finds %s', async (_, sql, position, what) => {
    const watch = watchOf({ pageSize: 100 });
    await watch.look();
    await tamper(sql);
    await watch.look();
    expect(watch.state.ok).toBe(false);
    expect(found.some((finding) => finding.position === position && what.test(finding.what))).toBe(true);
  });

  it('begins anew in another epoch', async () => {
    const watch = watchOf();
    await tamper(spoil(2));
    await watch.look();
    expect(watch.state.ok).toBe(false);
    await tamper(`${mend(2)}; DELETE FROM es.log WHERE pos > 7;
      UPDATE es.log_head SET epoch = gen_random_uuid(), pos = 7, chain_hash = (SELECT chain_hash FROM es.log WHERE pos = 7)`);
    expect(await watch.look()).toEqual({ ok: true, verifiedPosition: 7, passPosition: 4 });
  });

  it('reads no more a look than it was allowed, however much came', async () => {
    const watch = watchOf();
    await watch.look();
    await grow(100);
    expect(await watch.look()).toMatchObject({ ok: true, verifiedPosition: 10 + 8 * 4 });
  });

  it('runs by itself, tells what it knows, and survives a database that is away', async () => {
    const states: number[] = [];
    const errors: unknown[] = [];
    const { promise: seen, resolve } = Promise.withResolvers<void>();
    const { promise: failed, resolve: onFailed } = Promise.withResolvers<void>();
    const watch = watchOf({
      everyMs: 1,
      onLook: ({ verifiedPosition }) => {
        states.push(verifiedPosition);
        if (verifiedPosition === 12) resolve();
      },
      onError: (error) => {
        errors.push(error);
        onFailed();
      },
    });
    await db.admin.query('ALTER TABLE es.log_head RENAME TO away');
    watch.start();
    watch.start();
    await failed;
    await db.admin.query('ALTER TABLE es.away RENAME TO log_head');
    while (states.length === 0) await new Promise((done) => setTimeout(done, 5));
    await grow(2);
    await seen;
    await watch.stop();
    expect(states[0]).toBe(10);
    expect(errors.length).toBeGreaterThan(0);
  });
});
