import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EventLog } from './event-log.js';
import { startPostgres, type PostgresFixture, type TestDatabase } from './postgres.fixture.js';
import type { RecordedEvent } from './recorded-event.js';
import { Sequencer } from './sequencer.js';
import { batch, recorded, seededRandom, sequenceAll } from './test-events.fixture.js';

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

/** One append through the SQL door in a transaction of its own that dawdles before it commits or rolls back. */
/** Appends in a transaction of its own that stays open while `hold` runs. */
async function heldAppend(streams: string[], hold: () => Promise<void>, commit: boolean): Promise<void> {
  const client = await db.ledger.connect();
  try {
    await client.query('BEGIN');
    const n = streams.length;
    const events = streams.map((_, i) => i + 1);
    await client.query(
      'SELECT es.append($1::uuid[],$2,$3,$4,$5,$6,$7,$8,$9,$10::uuid[],$11,$12,$13,$14,$15::timestamptz[],null)',
      [
        [randomUUID()],
        ['00'],
        Array(n).fill(1),
        streams,
        Array(n).fill('thing'),
        Array(n).fill(null),
        Array(n).fill(1),
        events,
        Array(n).fill(1),
        streams.map(() => randomUUID()),
        Array(n).fill('t'),
        Array(n).fill(1),
        Array(n).fill('{"a": 1}'),
        Array(n).fill('{}'),
        Array(n).fill(null),
      ],
    );
    await hold();
    await client.query(commit ? 'COMMIT' : 'ROLLBACK');
  } finally {
    client.release();
  }
}

async function wholeLog(): Promise<RecordedEvent[]> {
  const all: RecordedEvent[] = [];
  for (;;) {
    const page = await log.readLog({ afterPos: all.length, limit: 1_000 });
    if (page.length === 0) return all;
    all.push(...page);
  }
}

describe('the sequencer', () => {
  it.each([1, 2, 3])(
    'numbers densely, in stream order and without loss: 16 writers, sleeps, rollbacks, two sequencers (seed %i)',
    async (seed) => {
      const sequencers = [0, 1].map(
        () => new Sequencer(new EventLog({ pool: db.ledger }), { pollMs: 2, batchSize: 37 }),
      );
      for (const sequencer of sequencers) sequencer.start();
      let committed = 0;
      let rolledBack = 0;
      const writer = async (w: number): Promise<void> => {
        const random = seededRandom(seed * 1_000 + w);
        for (let i = 0; i < 40; i++) {
          const streams = [
            ...new Set(Array.from({ length: 1 + Math.floor(random() * 3) }, () => `s-${Math.floor(random() * 12)}`)),
          ];
          const commit = random() >= 0.2;
          if (random() < 0.5) {
            const sleepMs = random() * 6;
            await heldAppend(streams, () => delay(sleepMs), commit);
            if (commit) committed += streams.length;
            else rolledBack += streams.length;
          } else {
            recorded(await log.append(batch(streams[0] as string, 2)));
            committed += 2;
          }
        }
      };
      await Promise.all(Array.from({ length: 16 }, (_, w) => writer(w)));
      await sequenceAll(log);
      await Promise.all(sequencers.map((sequencer) => sequencer.stop()));
      const events = await wholeLog();
      expect(rolledBack).toBeGreaterThan(50);
      expect(events.map((e) => e.pos)).toEqual(Array.from({ length: committed }, (_, i) => i + 1));
      const versions = new Map<string, number>();
      for (const e of events) {
        expect(e.version).toBe((versions.get(e.streamId) ?? 0) + 1);
        versions.set(e.streamId, e.version);
      }
      expect(await log.audit()).toMatchObject({ ok: true, events: committed, pending: 0, headPosition: committed });
    },
  );

  it('gives a late commit a later position instead of skipping it', async () => {
    const appended = Promise.withResolvers<void>();
    const mayCommit = Promise.withResolvers<void>();
    const hold = (): Promise<void> => {
      appended.resolve();
      return mayCommit.promise;
    };
    const late = heldAppend(['late'], hold, true);
    await appended.promise;
    recorded(await log.append(batch('early')));
    expect(await sequenceAll(log)).toBe(1);
    mayCommit.resolve();
    await late;
    expect(await sequenceAll(log)).toBe(2);
    expect((await wholeLog()).map((e) => e.streamId)).toEqual(['early', 'late']);
  });

  it('tells waiting readers, and stops cleanly', async () => {
    const seen: number[] = [];
    const sequencer = new Sequencer(log, { pollMs: 10_000, onSequenced: (pos) => seen.push(pos) });
    const writer = new EventLog({ pool: db.ledger, onAppended: () => sequencer.wake() });
    sequencer.start();
    recorded(await writer.append(batch('s', 3)));
    expect(await log.waitFor('s', 3)).toBe(3);
    await expect(log.waitFor('s', 4, { timeoutMs: 60 })).rejects.toMatchObject({ retry: 'later' });
    const stop = new AbortController();
    const followed: number[] = [];
    const following = (async () => {
      for await (const e of log.follow(1, stop.signal)) {
        followed.push(e.pos);
        if (followed.length === 4) stop.abort();
      }
    })();
    recorded(await writer.append(batch('s', 2)));
    await following;
    expect(followed).toEqual([2, 3, 4, 5]);
    expect(seen.at(-1)).toBe(5);
    await sequencer.stop();
    recorded(await writer.append(batch('s', 1)));
    expect((await log.head()).pos).toBe(5);
  });

  it('goes on after its connections were killed', async () => {
    const errors: unknown[] = [];
    const sequencer = new Sequencer(log, { pollMs: 2, onError: (error) => errors.push(error) });
    sequencer.start();
    for (let i = 0; i < 20 && errors.length === 0; i++) {
      await db.admin.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'test_ledger'`,
      );
      await delay(5);
    }
    let done = false;
    while (!done)
      done = await log.append(batch('s', 1)).then(
        () => true,
        () => false,
      );
    await log.waitFor('s', 1);
    await sequencer.stop();
    expect(await log.audit()).toMatchObject({ ok: true });
  });
});
