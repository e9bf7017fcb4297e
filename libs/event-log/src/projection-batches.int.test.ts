import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EventLog } from './event-log.js';
import { startPostgres, type PostgresFixture, type TestDatabase } from './postgres.fixture.js';
import type { ProjectedEvent, Projection } from './projection.js';
import { Projector } from './projector.js';
import { tableHash } from './table-hash.js';
import { event, recorded, sequenceAll } from './test-events.fixture.js';
import { randomUUID } from 'node:crypto';

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

/** Keeps a row per event, batches in one statement; an event whose text is `poison` cannot be stored. */
function batched(batches: ProjectedEvent[][], more: Partial<Projection> = {}): Projection {
  const insert = (schema: string): string =>
    `INSERT INTO ${schema}.seen SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])`;
  const values = (events: readonly ProjectedEvent[]): unknown[] => [
    events.map(({ pos }) => pos),
    events.map(({ streamId }) => streamId),
    events.map(({ data }) => (data as { text?: string } | undefined)?.text ?? null),
  ];
  return {
    name: 'batches',
    version: 1,
    ddl: (schema) =>
      `CREATE TABLE ${schema}.seen (pos bigint PRIMARY KEY, stream_id text NOT NULL, said text CHECK (said <> 'poison'))`,
    apply: async (client, schema, one) => void (await client.query(insert(schema), values([one]))),
    applyBatch: async (client, schema, events) => {
      batches.push([...events]);
      await client.query(insert(schema), values(events));
    },
    ...more,
  };
}

/** `types[n]` on stream `s-<n % 4>`; those named in `poisoned` (from 0) cannot be applied. */
async function fill(types: readonly string[], poisoned: readonly number[] = []): Promise<void> {
  for (const [n, type] of types.entries()) {
    const data = { text: poisoned.includes(n) ? 'poison' : `event ${n}` };
    const streams = [{ streamId: `s-${n % 4}`, category: 'thing', events: [{ ...event(n, type), data }] }];
    recorded(await log.append({ commandId: randomUUID(), streams }));
  }
  await sequenceAll(log);
}

const ofOneType = (count: number): string[] => Array.from({ length: count }, () => 'thing.happened');
const positions = async (): Promise<number[]> => {
  const { rows } = await db.ledger.query<{ pos: string }>('SELECT pos FROM rm_batches.seen ORDER BY pos');
  return rows.map(({ pos }) => Number(pos));
};

describe('a projection that takes batches', () => {
  it('gets whole pages, live and in a rebuild, with identical tables', async () => {
    const batches: ProjectedEvent[][] = [];
    const projector = new Projector(log, batched(batches), { batchSize: 10 });
    await projector.catchUp();
    await fill(ofOneType(45));
    expect(await projector.catchUp()).toBe(45);
    expect(batches.map((events) => events.length)).toEqual([10, 10, 10, 10, 5]);
    const live = await tableHash(db.ledger, 'rm_batches');
    expect(await projector.rebuild()).toBe(45);
    expect(await tableHash(db.ledger, 'rm_batches')).toEqual(live);
    expect(batches).toHaveLength(10);
  });

  it('parks a poisoned event and those behind it on its stream, and nothing else, live and in a rebuild', async () => {
    const expected = [6, 10, 14, 18, 22, 26, 30];
    const projector = new Projector(log, batched([]), { batchSize: 8 });
    await projector.catchUp();
    await fill(ofOneType(32), [5]);
    await projector.catchUp();
    for (let build = 0; build < 2; build++) {
      const parked = await projector.parked();
      expect(parked.map(({ pos, error }) => [pos, error === null])).toEqual(expected.map((pos) => [pos, pos !== 6]));
      expect(await positions()).toEqual(
        ofOneType(32)
          .map((_, n) => n + 1)
          .filter((pos) => !expected.includes(pos)),
      );
      await projector.rebuild();
    }
  });
});

describe('a projection that takes some types', () => {
  const types = Array.from({ length: 60 }, (_, n) => (n % 20 === 7 ? 'thing.rare' : 'thing.happened'));

  it('is given no others, and its checkpoint passes over them', async () => {
    const batches: ProjectedEvent[][] = [];
    const projector = new Projector(log, batched(batches, { types: ['thing.rare'] }), { batchSize: 2 });
    await projector.catchUp();
    await fill(types);
    expect(await projector.catchUp()).toBe(60);
    expect(batches.flat().map(({ pos }) => pos)).toEqual([8, 28, 48]);
    expect(await projector.position()).toBe(60);
    await fill(ofOneType(5));
    expect(await projector.catchUp()).toBe(65);
    expect(await positions()).toEqual([8, 28, 48]);
    expect(await projector.rebuild()).toBe(65);
    expect(await positions()).toEqual([8, 28, 48]);
  });

  it('has the data of those it names, and of no others', async () => {
    const batches: ProjectedEvent[][] = [];
    const projector = new Projector(log, batched(batches, { dataOf: ['thing.rare'] }));
    await projector.catchUp();
    await fill(types);
    await projector.catchUp();
    const withData = batches.flat().filter(({ data }) => data !== undefined);
    expect(withData.map(({ pos, data }) => [pos, data])).toEqual(
      [8, 28, 48].map((pos) => [pos, { text: `event ${pos - 1}` }]),
    );
    expect(batches.flat()).toHaveLength(60);
  });
});
