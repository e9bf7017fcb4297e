import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EventLog } from './event-log.js';
import { startPostgres, type PostgresFixture, type TestDatabase } from './postgres.fixture.js';
import { batch, recorded, sequenceAll } from './test-events.fixture.js';

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
  for (let i = 0; i < 10; i++) recorded(await log.append(batch(`s-${i % 3}`, 3)));
  await sequenceAll(log);
});
afterEach(() => db.drop());

/** What only a superuser can do: switch the triggers off and rewrite history. */
async function tamper(sql: string): Promise<void> {
  await db.admin.query(`ALTER TABLE es.event DISABLE TRIGGER ALL; ALTER TABLE es.log DISABLE TRIGGER ALL; ${sql};
    ALTER TABLE es.event ENABLE ALWAYS TRIGGER append_only; ALTER TABLE es.log ENABLE ALWAYS TRIGGER append_only`);
}

const at = (pos: number): string => `(SELECT ingest_id FROM es.log WHERE pos = ${pos})`;

describe('audit', () => {
  it('finds an untouched log good, and counts what waits to be numbered', async () => {
    recorded(await log.append(batch('s-1', 4)));
    const head = await log.head();
    expect(await log.audit()).toEqual({
      ok: true,
      events: 30,
      pending: 4,
      headPosition: 30,
      headHash: head.chainHash,
      epochs: [],
    });
  });

  it('finds an empty log good', async () => {
    const empty = await postgres.createDatabase();
    const report = await new EventLog({ pool: empty.ledger }).audit();
    expect(report).toEqual({ ok: true, events: 0, pending: 0, headPosition: 0, headHash: '0'.repeat(64), epochs: [] });
    await empty.drop();
  });

  it.each([
    ['event_id', `event_id = gen_random_uuid()`],
    ['stream_id', `stream_id = stream_id || 'x'`],
    ['category', `category = 'thinh'`],
    ['version', `version = version + 100`],
    ['type', `type = 'thing.happenee'`],
    ['schema_version', `schema_version = 2`],
    ['data', `data = replace(data::text, 'event', 'evemt')::json`],
    ['data, white space only', `data = (data::text || ' ')::json`],
    ['meta', `meta = replace(meta::text, 'test', 'tesu')::json`],
    ['occurred_at', `occurred_at = occurred_at + interval '1 microsecond'`],
    ['recorded_at', `recorded_at = recorded_at - interval '1 microsecond'`],
  ])('names the position at which %s of one event was changed', async (_, change) => {
    await tamper(`UPDATE es.event SET ${change} WHERE ingest_id = ${at(17)}`);
    const report = await log.audit();
    expect(report).toMatchObject({ ok: false, firstBad: { position: 17, what: 'the event does not match its hash' } });
  });

  it.each([
    ['an event was deleted', `DELETE FROM es.event WHERE ingest_id = ${at(9)}`, 9, /event of this position is gone/],
    [
      'the last event was deleted',
      `DELETE FROM es.event WHERE ingest_id = ${at(30)}`,
      30,
      /event of this position is gone/,
    ],
    [
      'a log row was deleted',
      `DELETE FROM es.log WHERE pos = 12`,
      12,
      /no event has this position, the next one is 13/,
    ],
    ['the last log row was deleted', `DELETE FROM es.log WHERE pos = 30`, 30, /the log ends before its head at 30/],
    [
      'an event and its log row were deleted and the rest moved up',
      `DELETE FROM es.event WHERE ingest_id = ${at(5)}; DELETE FROM es.log WHERE pos = 5;
       UPDATE es.log SET pos = -pos WHERE false; ALTER TABLE es.log DROP CONSTRAINT log_pos_check;
       UPDATE es.log SET pos = -pos WHERE pos > 5; UPDATE es.log SET pos = -pos - 1 WHERE pos < 0; UPDATE es.log_head SET pos = 29`,
      5,
      /does not match its hash/,
    ],
    [
      'two events were swapped',
      `CREATE TEMP TABLE swap AS SELECT pos, ingest_id FROM es.log WHERE pos IN (7, 8); DELETE FROM es.log WHERE pos = 8;
       UPDATE es.log SET ingest_id = (SELECT ingest_id FROM swap WHERE pos = 8) WHERE pos = 7;
       INSERT INTO es.log SELECT 8, ingest_id, (SELECT chain_hash FROM es.log WHERE pos = 6), now() FROM swap WHERE pos = 7`,
      7,
      /does not match its hash/,
    ],
    [
      'a chain hash was changed',
      `UPDATE es.log SET chain_hash = sha256('x') WHERE pos = 20`,
      20,
      /does not match its hash/,
    ],
    ['the head was rolled back', `UPDATE es.log_head SET pos = 25`, 26, /the log goes on after its head at 25/],
    [
      'the head hash was changed',
      `UPDATE es.log_head SET chain_hash = sha256('x')`,
      30,
      /the chain does not end in the head/,
    ],
    [
      'the head and the log were rolled back together',
      `DELETE FROM es.log WHERE pos > 25; UPDATE es.log_head SET pos = 25, chain_hash = (SELECT chain_hash FROM es.log WHERE pos = 25)`,
      26,
      /neither numbered nor queued/,
    ],
    [
      'a stream row was changed',
      `UPDATE es.stream SET version = version + 1 WHERE stream_id = 's-0'`,
      31,
      /its row says 13/,
    ],
    [
      'a stream row was set back',
      `UPDATE es.stream SET version = version - 1 WHERE stream_id = 's-0'`,
      30,
      /its row says 11/,
    ],
    ['a stream row was deleted', `DELETE FROM es.stream WHERE stream_id = 's-0'`, 30, /its row says nothing/],
    [
      'a category was changed',
      `UPDATE es.stream SET category = 'x' WHERE stream_id = 's-1'`,
      4,
      /category of stream s-1/,
    ],
    ['a stream was invented', `INSERT INTO es.stream VALUES ('s-9', 'x', 1)`, 31, /has a version and no events/],
    [
      'an event was queued twice',
      `INSERT INTO es.pending SELECT ingest_id FROM es.log WHERE pos = 3`,
      3,
      /numbered and still queued/,
    ],
    [
      'the epoch was changed behind the back of the log',
      `ALTER TABLE es.log_head DISABLE TRIGGER ALL; UPDATE es.log_head SET epoch = gen_random_uuid(), epoch_number = 2`,
      31,
      /the head is in epoch 2, .*; the last that the log tells of is none but the first/,
    ],
    ['the head row was deleted', `DELETE FROM es.log_head`, 1, /./],
  ])('names the position when %s', async (_, sql, position, what) => {
    await tamper(sql);
    const report = await log.audit();
    expect(report.ok).toBe(false);
    expect(report.firstBad?.position).toBe(position);
    expect(report.firstBad?.what).toMatch(what);
  });

  it('sees versions out of order even under a chain that was recomputed', async () => {
    await db.admin.query(`CREATE TEMP TABLE x AS SELECT 1`);
    await tamper(`UPDATE es.event SET version = version + 1000 WHERE ingest_id = ${at(10)};
      INSERT INTO es.pending SELECT ingest_id FROM es.log ORDER BY pos; DELETE FROM es.log;
      UPDATE es.log_head SET pos = 0, chain_hash = decode(repeat('00', 32), 'hex')`);
    await sequenceAll(log);
    const report = await log.audit();
    expect(report.events).toBe(30);
    expect(report.ok).toBe(false);
    expect(report.firstBad?.what).toMatch(/goes from version/);
  });

  it('walks more than one page of log and streams', async () => {
    const many = Array.from({ length: 300 }, (_, i) => log.append(batch(`m-${i % 40}`, 9)));
    await Promise.all(many);
    await sequenceAll(log);
    expect(await log.audit()).toMatchObject({ ok: true, events: 2_730 });
    await tamper(`UPDATE es.event SET type = 'x' WHERE ingest_id = ${at(2_001)}`);
    expect((await log.audit()).firstBad?.position).toBe(2_001);
  });
});
