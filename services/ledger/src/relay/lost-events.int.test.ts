import { verifyLog, type Bus } from '@plumbline/bus';
import { seededRandom } from '@plumbline/domain';
import { EventLog } from '@plumbline/event-log';
import {
  startTestNats,
  startTestPostgres,
  type TestDatabase,
  type TestNats,
  type TestPostgres,
} from '@plumbline/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Relay } from './relay.js';

let postgres: TestPostgres;
let nats: TestNats;
let db: TestDatabase;
let log: EventLog;
const relays: Relay[] = [];

beforeAll(async () => {
  [postgres, nats] = await Promise.all([startTestPostgres(), startTestNats()]);
});
afterAll(async () => {
  await nats?.stop();
  await postgres?.stop();
});
beforeEach(async () => {
  db = await postgres.createDatabase();
  log = new EventLog({ pool: db.ledger });
  await log.keepEpoch();
});
afterEach(async () => {
  await stopRelays();
  const bus = await nats.connect('ledger');
  await bus.jsm.streams.delete('LOG').catch(() => undefined);
  await db.drop();
});

interface Seen {
  rebuilds: string[];
  epochs: string[];
  errors: unknown[];
}

async function relay(): Promise<{ relay: Relay; seen: Seen; bus: Bus }> {
  const bus = await nats.connect('ledger');
  const seen: Seen = { rebuilds: [], epochs: [], errors: [] };
  const made = new Relay(new EventLog({ pool: db.ledger }), bus, {
    verifyEveryMs: 100,
    batchSize: 20,
    onPublished: () => undefined,
    onRebuild: (why) => seen.rebuilds.push(why),
    onEpoch: (why) => seen.epochs.push(why),
    onError: (error) => seen.errors.push(error),
  });
  relays.push(made);
  made.start();
  return { relay: made, seen, bus };
}
const stopRelays = () => Promise.all(relays.splice(0).map((one) => one.stop()));

let made = 0;
/** Records and numbers `count` events of tasks. */
async function grow(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    made += 1;
    await log.append({
      commandId: crypto.randomUUID(),
      streams: [
        {
          streamId: `task-t-${made}`,
          category: 'task',
          events: [{ type: 'task.submitted', schemaVersion: 1, data: { n: made }, meta: {} }],
        },
      ],
    });
  }
  while ((await log.sequence()).count > 0);
}

/** LOG is the log: as long, each message the event of its position. */
async function untilCopied(bus: Bus): Promise<void> {
  await expect
    .poll(
      async () => {
        await log.sequence();
        const { epoch, pos } = await log.head();
        const found = await verifyLog(bus.jsm, epoch, async () => pos, 1_000);
        return [found.outcome, 'lastSeq' in found ? found.lastSeq - pos : undefined];
      },
      { timeout: 20_000 },
    )
    .toEqual(['intact', 0]);
  const events = await log.readLog({ afterPos: 0, limit: 10_000 });
  for (const event of events) {
    const stored = await bus.jsm.streams.getMessage('LOG', { seq: event.pos });
    expect([event.pos, stored?.header.get('ce-id'), stored?.header.get('ce-time')]).toEqual([
      event.pos,
      event.eventId,
      event.recordedAt,
    ]);
  }
}

/** What putting back a snapshot of the files does, seen from outside: the last events are gone and nothing says so. */
async function loseEventsAfter(pos: number): Promise<void> {
  const client = await db.admin.connect();
  try {
    await client.query(`BEGIN; LOCK TABLE es.event, es.log, es.log_head;
      ALTER TABLE es.event DISABLE TRIGGER ALL; ALTER TABLE es.log DISABLE TRIGGER ALL; ALTER TABLE es.log_head DISABLE TRIGGER ALL;
      CREATE TEMP TABLE gone AS SELECT l.ingest_id, e.stream_id FROM es.log l JOIN es.event e ON e.ingest_id = l.ingest_id WHERE l.pos > ${pos};
      DELETE FROM es.log WHERE pos > ${pos}; DELETE FROM es.event WHERE ingest_id IN (SELECT ingest_id FROM gone);
      DELETE FROM es.stream s WHERE NOT EXISTS (SELECT FROM es.event e WHERE e.stream_id = s.stream_id);
      UPDATE es.log_head SET pos = ${pos}, chain_hash = (SELECT chain_hash FROM es.log WHERE pos = ${pos});
      ALTER TABLE es.event ENABLE ALWAYS TRIGGER append_only; ALTER TABLE es.log ENABLE ALWAYS TRIGGER append_only;
      ALTER TABLE es.log_head ENABLE ALWAYS TRIGGER guard_epoch; DROP TABLE gone; COMMIT`);
  } finally {
    client.release();
  }
}

describe('a log that lost events while nobody looked', () => {
  it.each([
    ['nothing was added since', 0, /LOG holds positions up to 30, the log ends at 20/],
    ['it grew a little since', 4, /LOG holds positions up to 30, the log ends at 24/],
    ['it grew beyond what LOG has', 25, /at position 30 event \S+ of \S+ was published, and there is event/],
  ])('is put into a new epoch when %s, and LOG is made anew', async (_, grown, why) => {
    const before = await relay();
    await grow(30);
    await untilCopied(before.bus);
    await stopRelays();
    const { epoch } = await log.head();
    await loseEventsAfter(20);
    await grow(grown);
    const after = await relay();
    await untilCopied(after.bus);
    expect(after.seen).toMatchObject({ epochs: [expect.stringMatching(why)], errors: [] });
    expect(after.seen.rebuilds).toEqual([expect.stringContaining(`found ${epoch}`)]);
    const head = await log.head();
    expect([head.epochNumber, head.epoch === epoch, head.pos]).toEqual([2, false, 20 + grown + 1]);
    expect(await log.audit()).toMatchObject({
      ok: true,
      epochs: [{ afterPosition: 20 + grown, why: expect.stringMatching(why) }],
    });
  });
});

describe('a log that loses events under a running relay', () => {
  it('is put into a new epoch though LOG lost the same events', async () => {
    const { bus, seen } = await relay();
    await grow(10);
    await untilCopied(bus);
    const stored = await bus.jsm.streams.info('LOG');
    // All at once, as where both lie on the disk whose snapshot is put back.
    await bus.jsm.streams.delete('LOG');
    await loseEventsAfter(6);
    await grow(9);
    await untilCopied(bus);
    expect(seen.epochs).toEqual([
      expect.stringMatching(/at position \d+ event \S+ of \S+ was published, and there is|LOG holds positions up to/),
    ]);
    expect((await log.head()).epochNumber).toBe(2);
    expect(stored.state.last_seq).toBe(10);
  });

  it('is put into one new epoch by two relays, in every round', async () => {
    const { bus, seen } = await relay();
    const second = await relay();
    for (let round = 1; round <= 3; round++) {
      await grow(10);
      await untilCopied(bus);
      const { pos, epochNumber } = await log.head();
      expect(epochNumber).toBe(round);
      await loseEventsAfter(pos - 5);
      await untilCopied(bus);
    }
    expect([...seen.epochs, ...second.seen.epochs]).toHaveLength(3);
    expect(await log.audit()).toMatchObject({ ok: true });
  });
});

describe('a log that lost nothing', () => {
  it('stays in its epoch when LOG is older, empty, gone, or somebody else has written into it', async () => {
    const { bus, seen } = await relay();
    await grow(12);
    await untilCopied(bus);
    await bus.js.publish('log.task.submitted.evil', '{}');
    await untilCopied(bus);
    await bus.jsm.streams.delete('LOG');
    await untilCopied(bus);
    expect(seen.rebuilds.length).toBeGreaterThanOrEqual(2);
    expect(seen.epochs).toEqual([]);
    expect((await log.head()).epochNumber).toBe(1);
  });

  it('stays in its epoch while two relays and numbering race', async () => {
    const one = await relay();
    const two = await relay();
    await grow(1);
    await untilCopied(one.bus);
    for (const { seen } of [one, two]) seen.rebuilds.length = 0;
    for (let i = 0; i < 40; i++) await grow(5);
    await untilCopied(one.bus);
    expect([one.seen.epochs, two.seen.epochs, one.seen.rebuilds, two.seen.rebuilds]).toEqual([[], [], [], []]);
    expect((await log.head()).epochNumber).toBe(1);
  });
});

describe('two relays that find LOG gone', () => {
  it.each([1, 2, 3])('make it anew once and fill it, whenever they notice (seed %i)', async (seed) => {
    const random = seededRandom(`wiped-${seed}`);
    const one = await relay();
    const two = await relay();
    await grow(40);
    await untilCopied(one.bus);
    const created = new Set<string>();
    for (let round = 0; round < 4; round++) {
      // Either gone or not theirs any more, while more is being added.
      if (random() < 0.5) await one.bus.jsm.streams.delete('LOG');
      else await one.bus.js.publish('log.task.submitted.evil', '{}');
      await grow(Math.floor(random() * 10));
      await untilCopied(one.bus);
      created.add((await one.bus.jsm.streams.info('LOG')).created);
      expect(created.size).toBe(round + 1);
    }
    const anew = [...one.seen.rebuilds, ...two.seen.rebuilds].filter((why) => why.includes('foreign'));
    // Each stranger is found by both and mended by one.
    expect(anew.length).toBeLessThanOrEqual(4);
    expect([one.seen.epochs, two.seen.epochs]).toEqual([[], []]);
  });
});
