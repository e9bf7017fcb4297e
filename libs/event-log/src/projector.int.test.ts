import { setTimeout as delay } from 'node:timers/promises';
import type { PoolClient } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { EventLog } from './event-log.js';
import { startPostgres, type PostgresFixture, type TestDatabase } from './postgres.fixture.js';
import type { ParkedEvent, ProjectedEvent, Projection } from './projection.js';
import { Projector } from './projector.js';
import { tableHash } from './table-hash.js';
import { batch, recorded, sequenceAll, untilWaiting } from './test-events.fixture.js';

let postgres: PostgresFixture;
let db: TestDatabase;
let log: EventLog;
const projectors: Projector[] = [];
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());
beforeEach(async () => {
  db = await postgres.createDatabase();
  log = new EventLog({ pool: db.ledger });
});
afterEach(async () => {
  await Promise.all(projectors.splice(0).map((projector) => projector.stop()));
  await db.drop();
});

type Hook = (event: ProjectedEvent, client: PoolClient) => Promise<void> | void;

/** Keeps each stream's last version (which must grow by one) and a row per event. */
function projection(hook: Hook = () => {}, version = 1): Projection {
  return {
    name: 'things',
    version,
    ddl: (schema) => `CREATE TABLE ${schema}.thing (stream_id text PRIMARY KEY, version int NOT NULL);
      CREATE TABLE ${schema}.seen (pos bigint PRIMARY KEY, stream_id text NOT NULL)`,
    async apply(client, schema, event) {
      await client.query(`INSERT INTO ${schema}.seen VALUES ($1, $2)`, [event.pos, event.streamId]);
      const result = await client.query(
        `INSERT INTO ${schema}.thing AS t VALUES ($1, $2) ON CONFLICT (stream_id) DO UPDATE SET version = excluded.version
          WHERE t.version = excluded.version - 1`,
        [event.streamId, event.version],
      );
      if (result.rowCount !== 1) throw new Error(`version ${event.version} of ${event.streamId} out of order`);
      await hook(event, client);
    },
  };
}

function projector(p: Projection, options: ConstructorParameters<typeof Projector>[2] = {}): Projector {
  const made = new Projector(log, p, { pollMs: 5, batchSize: 10, ...options });
  projectors.push(made);
  return made;
}

async function fill(count: number, streams = 4): Promise<void> {
  for (let i = 0; i < count; i++) recorded(await log.append(batch(`s-${i % streams}`)));
  await sequenceAll(log);
}

async function seen(): Promise<number[]> {
  const rows = await db.ledger.query<{ pos: string }>('SELECT pos FROM rm_things.seen ORDER BY pos');
  return rows.rows.map((row) => Number(row.pos));
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await delay(5);
}

describe('a projector', () => {
  it('applies what is there and what comes, each event once, with two replicas side by side', async () => {
    await fill(33);
    const [one, two] = [projector(projection()), projector(projection())];
    await Promise.all([one.start(), two.start()]);
    await fill(40);
    await until(async () => (await one.position()) === 73);
    expect(await seen()).toEqual(upTo(73));
    expect(await one.parked()).toEqual([]);
  });

  it('lets one of two replicas have each batch', async () => {
    const [one, two] = [projector(projection()), projector(projection())];
    await one.catchUp();
    const blocker = await db.admin.connect();
    await blocker.query('BEGIN');
    await blocker.query('SELECT 1 FROM es.checkpoint FOR UPDATE');
    await fill(25);
    await Promise.all([one.start(), two.start()]);
    await untilWaiting(db.admin, 'Lock', 2);
    await blocker.query('COMMIT');
    blocker.release();
    await until(async () => (await one.position()) === 25);
    await Promise.all([one.stop(), two.stop()]);
    expect(await one.parked()).toEqual([]);
    expect(await seen()).toEqual(upTo(25));
  });

  it('goes on where it stood after a crash between and within batches', async () => {
    await fill(35);
    let applied = 0;
    const crashing = projector(
      projection(async (_, client) => {
        applied++;
        if (applied === 17 || applied === 40) await client.query('SELECT pg_terminate_backend(pg_backend_pid())');
      }),
      { onError: () => {} },
    );
    await crashing
      .start()
      .catch(() => crashing.start())
      .catch(() => crashing.start());
    await until(async () => (await crashing.position()) === 35);
    await crashing.stop();
    expect(await crashing.parked()).toEqual([]);
    expect(applied).toBeGreaterThan(35);
    expect(await seen()).toEqual(upTo(35));
    await fill(15);
    const after = projector(projection());
    expect(await after.catchUp()).toBe(50);
    expect(await seen()).toEqual(upTo(50));
  });

  it('rolls rows and checkpoint back together', async () => {
    await fill(5);
    const live = projector(projection());
    await live.catchUp();
    await fill(9);
    let failures = 0;
    const failing = projector(
      projection((event) => {
        if (event.pos !== 9 || failures++ >= 3) return;
        throw Object.assign(new Error('connection reset'), { code: 'ECONNRESET' });
      }),
    );
    await expect(failing.catchUp()).rejects.toThrow('connection reset');
    expect(await live.position()).toBe(5);
    expect(await seen()).toEqual(upTo(5));
    await failing.start();
    await until(async () => (await failing.position()) === 14);
    expect(await seen()).toEqual(upTo(14));
    expect(await failing.parked()).toEqual([]);
  });

  it('refuses tables of a newer version of itself', async () => {
    await projector(projection(() => {}, 2)).catchUp();
    await expect(projector(projection(() => {}, 1)).start()).rejects.toMatchObject({ retry: 'never' });
  });

  it('refuses a name that is no identifier', () => {
    expect(() => projector({ ...projection(), name: 'x; DROP SCHEMA es' })).toThrow(/no name for a projection/);
  });
});

describe('a poisoned event', () => {
  it('parks its stream and nothing else, and is replayed in order', async () => {
    let poison = true;
    const alarms: ParkedEvent[] = [];
    const p = projector(
      projection((event) => {
        if (poison && event.streamId === 's-1' && event.version === 3) throw new Error('no such \0 colour');
      }),
      { onParked: (event) => alarms.push(event) },
    );
    await p.catchUp();
    await fill(40);
    expect(await p.catchUp()).toBe(40);
    const parked = await p.parked();
    expect(parked.map((e) => e.pos)).toEqual([10, 14, 18, 22, 26, 30, 34, 38]);
    expect(parked.every((e) => e.streamId === 's-1')).toBe(true);
    expect(parked[0]).toMatchObject({ attempts: 1, error: expect.stringContaining('no such \uFFFD colour') as string });
    expect(parked[1]).toMatchObject({ attempts: 0, error: null });
    expect(alarms.map((e) => e.pos)).toEqual([10]);
    expect(await seen()).toEqual(upTo(40).filter((pos) => pos < 10 || pos % 4 !== 2));

    expect(await p.unpark('s-1')).toEqual({ replayed: 0, remaining: 8 });
    expect((await p.parked())[0]).toMatchObject({ pos: 10, attempts: 2 });
    poison = false;
    expect(await p.unpark('s-1')).toEqual({ replayed: 8, remaining: 0 });
    expect(await seen()).toEqual(upTo(40));
    await fill(4);
    await p.catchUp();
    expect(await seen()).toEqual(upTo(44));
  });

  it('that fails in SQL is parked as well, without harm to its batch', async () => {
    await projector(projection()).catchUp();
    await fill(8, 2);
    const p = projector(
      projection(async (event, client) => {
        if (event.pos === 4) await client.query('SELECT 1 / 0');
      }),
    );
    await p.catchUp();
    expect((await p.parked()).map((e) => [e.pos, e.error === null])).toEqual([
      [4, false],
      [6, true],
      [8, true],
    ]);
    expect(await seen()).toEqual([1, 2, 3, 5, 7]);
  });
});

describe('a rebuild', () => {
  it('gives identical tables every time, also those built live', async () => {
    const live = projector(projection());
    await live.catchUp();
    await fill(57);
    await live.catchUp();
    const first = await tableHash(db.ledger, 'rm_things');
    expect(Object.keys(first)).toEqual(['seen', 'thing']);
    expect(await live.rebuild()).toBe(57);
    expect(await tableHash(db.ledger, 'rm_things')).toEqual(first);
    await live.rebuild();
    expect(await tableHash(db.ledger, 'rm_things')).toEqual(first);
    await db.ledger.query(`UPDATE rm_things.thing SET version = 0 WHERE stream_id = 's-1'`);
    expect(await tableHash(db.ledger, 'rm_things')).not.toEqual(first);
    await fill(3);
    expect(await live.catchUp()).toBe(60);
  });

  it('never shows readers half a read model, nor an older one, while events keep coming', async () => {
    await fill(120);
    const p = projector(projection());
    await p.start();
    await until(async () => (await p.position()) === 120);
    let running = true;
    let reads = 0;
    const reader = async (): Promise<void> => {
      let highest = 0;
      while (running) {
        const result = await db.ledger.query<{ rows: string; events: string }>(
          'SELECT (SELECT count(*) FROM rm_things.seen) AS rows, (SELECT sum(version) FROM rm_things.thing) AS events',
        );
        const { rows, events } = result.rows[0] as { rows: string; events: string };
        expect(rows).toBe(events);
        expect(Number(rows)).toBeGreaterThanOrEqual(highest);
        highest = Number(rows);
        reads++;
      }
    };
    const readers = [reader(), reader()];
    const writer = fill(60);
    for (let i = 0; i < 4; i++) await p.rebuild();
    await writer;
    await until(async () => (await p.position()) === 180);
    running = false;
    await Promise.all(readers);
    expect(reads).toBeGreaterThan(20);
    expect(await seen()).toEqual(upTo(180));
  });

  it('that finished behind the live tables catches up with them before it takes their place', async () => {
    await fill(10);
    const p = projector(projection());
    await p.catchUp();
    const reader = await db.admin.connect();
    await reader.query('BEGIN');
    await reader.query('SELECT 1 FROM rm_things.seen LIMIT 1');
    const rebuild = p.rebuild();
    await untilWaiting(db.admin, 'Lock');
    await fill(15);
    const live = projector(projection());
    await until(async () => (await live.catchUp().catch(() => 0)) === 25);
    await reader.query('COMMIT');
    reader.release();
    expect(await rebuild).toBe(25);
    expect(await seen()).toEqual(upTo(25));
  });

  it('happens by itself for a new version and for a log of another epoch', async () => {
    await fill(20);
    const old = projector(projection());
    await old.catchUp();
    await db.ledger.query('DELETE FROM rm_things.seen');
    const renewed = projector(projection(() => {}, 2));
    expect(await renewed.catchUp()).toBe(20);
    expect(await seen()).toEqual(upTo(20));
    await renewed.start();
    await db.ledger.query('DELETE FROM rm_things.seen');
    await db.admin.query('UPDATE es.log_head SET epoch = gen_random_uuid()');
    await until(async () => (await seen()).length === 20);
  });

  it('parks what cannot be applied and raises the alarm', async () => {
    await fill(12, 3);
    const alarms: number[] = [];
    const p = projector(
      projection((event) => {
        if (event.pos === 5) throw new Error('poison');
      }),
      { onParked: (event) => alarms.push(event.pos) },
    );
    await p.catchUp();
    expect((await p.parked()).map((e) => e.pos)).toEqual([5, 8, 11]);
    expect(alarms).toEqual([5]);
    await p.rebuild();
    expect((await p.parked()).map((e) => e.pos)).toEqual([5, 8, 11]);
  });

  it('waits for a rebuild that runs elsewhere', async () => {
    await fill(20);
    const [one, two] = [projector(projection()), projector(projection())];
    expect(await Promise.all([one.rebuild(), two.rebuild()])).toEqual([20, 20]);
    expect(await seen()).toEqual(upTo(20));
  });
});
