import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AppendBatch } from './append-batch.js';
import { OperationalError } from './errors.js';
import { EventLog } from './event-log.js';
import { startPostgres, type PostgresFixture, type TestDatabase } from './postgres.fixture.js';
import { batch, event, recorded, sequenceAll, untilWaiting } from './test-events.fixture.js';

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
});
afterEach(() => db.drop());

async function counts(): Promise<Record<string, number>> {
  const result = await db.admin.query<Record<string, number>>(
    `SELECT (SELECT count(*)::int FROM es.event) AS events, (SELECT count(*)::int FROM es.pending) AS pending,
       (SELECT count(*)::int FROM es.stream) AS streams, (SELECT count(*)::int FROM es.command_result) AS commands`,
  );
  return result.rows[0] ?? {};
}

describe('append', () => {
  it('records every column and reads it back', async () => {
    const data = { text: 'ü"\\ \u2028 😀', nested: [1, 2.5, null, { a: true }], big: 1e300 };
    const result = await log.append({
      commandId: randomUUID(),
      streams: [
        {
          streamId: 's-1',
          category: 'thing',
          expectedVersion: 0,
          events: [
            {
              type: 'thing.made',
              schemaVersion: 3,
              data,
              meta: { actor: 'a' },
              occurredAt: '2026-01-31T12:00:00.123456+02:00',
            },
            { type: 'thing.named', schemaVersion: 1, data: null, meta: {} },
          ],
        },
        { streamId: 's-2', category: 'other', events: [event(7)] },
      ],
    });
    expect(result).toEqual({
      outcome: 'appended',
      duplicate: false,
      streams: [
        { streamId: 's-1', firstVersion: 1, lastVersion: 2 },
        { streamId: 's-2', firstVersion: 1, lastVersion: 1 },
      ],
    });
    const [first, second] = await log.readStream('s-1');
    expect(first).toMatchObject({
      pos: null,
      version: 1,
      type: 'thing.made',
      schemaVersion: 3,
      data,
      meta: { actor: 'a' },
    });
    expect(first?.occurredAt).toBe('2026-01-31T10:00:00.123456Z');
    expect(second).toMatchObject({ version: 2, data: null, category: 'thing' });
    expect(second?.occurredAt).toBe(second?.recordedAt);
    expect(await log.readStream('s-1', { fromVersion: 2 })).toHaveLength(1);
    expect(await sequenceAll(log)).toBe(3);
    expect((await log.readLog({ afterPos: 1 })).map((e) => [e.pos, e.streamId, e.version])).toEqual([
      [2, 's-1', 2],
      [3, 's-2', 1],
    ]);
  });

  it('lets one of two racing appenders win an expected version and changes nothing for the other', async () => {
    const other = new EventLog({ pool: db.ledger });
    for (let version = 0; version < 20; version++) {
      const results = await Promise.all([log.append(batch('s', 1, version)), other.append(batch('s', 1, version))]);
      expect(results.map((r) => r.outcome).sort()).toEqual(['appended', 'wrong-expected-version']);
      const refused = results.find((r) => r.outcome === 'wrong-expected-version');
      expect(refused).toEqual({
        outcome: 'wrong-expected-version',
        streamId: 's',
        expected: version,
        actual: version + 1,
      });
    }
    expect(await counts()).toEqual({ events: 20, pending: 20, streams: 1, commands: 20 });
  });

  it('undoes every part of a refused batch and none of its neighbours', async () => {
    recorded(await log.append(batch('old', 3)));
    const mixed: AppendBatch = {
      commandId: randomUUID(),
      streams: [
        { streamId: 'new', category: 'thing', expectedVersion: 0, events: [event(1)] },
        { streamId: 'old', category: 'thing', expectedVersion: 7, events: [event(1)] },
      ],
      steps: { open: [{ taskId: 't', step: 'x' }] },
      timers: { set: [{ timerId: 't', streamId: 'new', category: 'thing', kind: 'k', dueInMs: 0, data: 1 }] },
    };
    const [a, b, c] = await Promise.all([log.append(batch('a')), log.append(mixed), log.append(batch('c'))]);
    expect([a.outcome, b.outcome, c.outcome]).toEqual(['appended', 'wrong-expected-version', 'appended']);
    expect(await counts()).toEqual({ events: 5, pending: 5, streams: 3, commands: 3 });
    expect((await db.admin.query('SELECT 1 FROM es.timer')).rowCount).toBe(0);
    expect((await db.admin.query('SELECT 1 FROM es.step_lease')).rowCount).toBe(0);
    expect(recorded(await log.append(batch('old', 1, 3))).streams[0]?.firstVersion).toBe(4);
  });

  it('gives a neighbour its result when another batch makes the database fail', async () => {
    const deep = batch('deep');
    let nest: unknown = 1;
    for (let depth = 0; depth < 2_500; depth++) nest = [nest];
    (deep.streams[0]?.events[0] as { data: unknown }).data = nest;
    await db.admin.query(`ALTER DATABASE ${db.name} SET max_stack_depth = '100kB'`);
    const fresh = new EventLog({ pool: db.ledger });
    const settled = await Promise.allSettled([fresh.append(batch('a')), fresh.append(deep), fresh.append(batch('c'))]);
    expect(settled.map((s) => s.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((settled[1] as PromiseRejectedResult).reason).toMatchObject({ name: 'OperationalError', retry: 'never' });
    expect(await counts()).toEqual({ events: 2, pending: 2, streams: 2, commands: 2 });
  });

  it('refuses what cannot be stored before it reaches the database', async () => {
    const bad = (change: (b: AppendBatch) => void): Promise<unknown> => {
      const one = batch('s');
      change(one);
      return log.append(one).then(
        () => 'appended',
        (error: unknown) => (error as { path?: string }).path,
      );
    };
    const stream = (b: AppendBatch) => b.streams[0] as AppendBatch['streams'][number];
    expect(await bad((b) => (b.commandId = 'x'))).toBe('commandId');
    expect(await bad((b) => (stream(b).streamId = 'a\0'))).toBe('streams[0].streamId');
    expect(await bad((b) => (stream(b).events = []))).toBe('streams[0].events');
    expect(await bad((b) => b.streams.push(stream(b)))).toBe('streams');
    expect(await bad((b) => (b.streams = []))).toBe('streams');
    expect(await bad((b) => ((stream(b).events[0] as { data: unknown }).data = { a: '\0' }))).toBe(
      'streams[0].events[0].data',
    );
    expect(await bad((b) => ((stream(b).events[0] as { meta: unknown }).meta = { '\ud800': 1 }))).toBe(
      'streams[0].events[0].meta',
    );
    expect(await bad((b) => ((stream(b).events[0] as { meta: unknown }).meta = []))).toBe('streams[0].events[0].meta');
    expect(await bad((b) => (stream(b).expectedVersion = -1))).toBe('streams[0].expectedVersion');
    expect(await counts()).toEqual({ events: 0, pending: 0, streams: 0, commands: 0 });
  });

  it('keeps the category of a stream', async () => {
    recorded(await log.append(batch('s')));
    const other = batch('s');
    (other.streams[0] as { category: string }).category = 'other';
    await expect(log.append(other)).rejects.toThrow(/has category thing, the batch says other/);
    expect(await counts()).toEqual({ events: 1, pending: 1, streams: 1, commands: 1 });
  });

  it('calls onAppended for new facts only', async () => {
    let calls = 0;
    const told = new EventLog({ pool: db.ledger, onAppended: () => calls++ });
    const one = batch('s', 1, 0);
    await told.append(one);
    await told.append(one);
    await told.append(batch('s', 1, 0));
    expect(calls).toBe(1);
  });

  it('commits calls on one stream in the order they were made', async () => {
    const batches = Array.from({ length: 300 }, () => batch('s'));
    const results = await Promise.all(batches.map((b) => log.append(b)));
    expect(results.map((r) => recorded(r).streams[0]?.firstVersion)).toEqual(batches.map((_, i) => i + 1));
  });

  it('settles what it took before it closes, and takes nothing after', async () => {
    const running = Array.from({ length: 120 }, (_, i) => log.append(batch(`s-${i}`)));
    await log.close();
    expect((await counts())['events']).toBe(120);
    await Promise.all(running);
    await expect(log.append(batch('late'))).rejects.toMatchObject({ retry: 'later' });
  });
});

describe('a command', () => {
  it('is recorded once, however often and wherever it is sent at the same time', async () => {
    const others = Array.from({ length: 4 }, () => new EventLog({ pool: db.ledger }));
    for (let round = 0; round < 10; round++) {
      const one = batch(`s-${round}`, 3, 0);
      const results = await Promise.all([...others, ...others].map((l) => l.append(structuredClone(one))));
      const duplicates = results.map((r) => recorded(r).duplicate);
      expect(duplicates.filter((d) => !d)).toHaveLength(1);
      for (const result of results) {
        expect(recorded(result).streams).toEqual([{ streamId: `s-${round}`, firstVersion: 1, lastVersion: 3 }]);
      }
    }
    expect((await counts())['events']).toBe(30);
  });

  it('with other content is refused, even when both arrive together for different streams', async () => {
    const other = new EventLog({ pool: db.ledger });
    for (let round = 0; round < 10; round++) {
      const one = batch(`a-${round}`);
      const two = { ...batch(`b-${round}`), commandId: one.commandId };
      const results = await Promise.all([log.append(one), other.append(two)]);
      expect(results.map((r) => r.outcome).sort()).toEqual(['appended', 'command-reused']);
    }
    const first = batch('c', 2);
    recorded(await log.append(first));
    const event = first.streams[0]?.events[1] as { data: unknown };
    event.data = { n: 'changed' };
    expect(await log.append(first)).toEqual({ outcome: 'command-reused', commandId: first.commandId });
  });

  it('that another transaction records between its look-up and its insert is refused', async () => {
    recorded(await log.append({ ...batch('s'), steps: { open: [{ taskId: 't', step: 'x' }] } }));
    const blocker = await db.admin.connect();
    await blocker.query('BEGIN');
    await blocker.query('SELECT 1 FROM es.step_lease FOR UPDATE');
    const one = batch('a');
    const slow = log.append({ ...one, steps: { close: [{ taskId: 't', step: 'x' }] } });
    await untilWaiting(db.admin, 'Lock');
    const elsewhere = new EventLog({ pool: db.ledger });
    recorded(await elsewhere.append({ ...batch('b'), commandId: one.commandId }));
    await blocker.query('COMMIT');
    blocker.release();
    expect((await slow).outcome).toBe('command-reused');
    expect(await log.readStream('a')).toEqual([]);
  });

  it('is answered from the record after the world has moved on, and may carry another trace', async () => {
    const one = batch('s', 2, 0);
    recorded(await log.append(one));
    recorded(await log.append(batch('s', 1, 2)));
    const again = structuredClone(one);
    for (const e of again.streams[0]?.events ?? []) e.meta = { traceparent: 'another' };
    expect(await log.append(again)).toEqual({
      outcome: 'appended',
      duplicate: true,
      streams: [{ streamId: 's', firstVersion: 1, lastVersion: 2 }],
    });
  });

  it('killed in mid-append reports an unknown outcome, and one record remains after the retry', async () => {
    recorded(await log.append(batch('s', 1, 0)));
    const one = batch('s', 2, 1);
    const blocker = await db.admin.connect();
    await blocker.query('BEGIN');
    await blocker.query(`SELECT 1 FROM es.stream WHERE stream_id = 's' FOR UPDATE`);
    const lost = expect(log.append(one)).rejects.toMatchObject({ name: 'OperationalError', retry: 'later' });
    let killed = 0;
    while (killed === 0) {
      const result = await blocker.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock'`,
        [db.name],
      );
      killed = result.rowCount ?? 0;
    }
    await lost;
    await blocker.query('ROLLBACK');
    blocker.release();
    expect(recorded(await log.append(one)).duplicate).toBe(false);
    expect(recorded(await log.append(one)).duplicate).toBe(true);
    expect((await counts())['events']).toBe(3);
  });

  it('leaves exactly one record when its connection is killed and it is sent again until it is answered', async () => {
    let lost = 0;
    let killing = true;
    const killer = (async () => {
      while (killing) {
        await db.admin.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = $1 AND usename = 'test_ledger' AND state = 'active' ORDER BY random() LIMIT 1`,
          [db.name],
        );
      }
    })();
    const send = async (one: AppendBatch): Promise<void> => {
      for (;;) {
        try {
          recorded(await log.append(one));
          return;
        } catch (error) {
          if (!(error instanceof OperationalError) || error.retry !== 'later') throw error;
          lost++;
          if (lost > 40) killing = false;
        }
      }
    };
    const writers = Array.from({ length: 8 }, async (_, w) => {
      for (let version = 0; version < 15; version++) await send(batch(`w-${w}`, 2, version * 2));
    });
    await Promise.all(writers);
    killing = false;
    await killer;
    expect(lost).toBeGreaterThan(0);
    expect(await counts()).toEqual({ events: 240, pending: 240, streams: 8, commands: 120 });
    await sequenceAll(log);
    expect(await log.audit()).toMatchObject({ ok: true, events: 240 });
  });
});
