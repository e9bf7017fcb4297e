import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AppendBatch, AppendResult } from './append-batch.js';
import { EventLog } from './event-log.js';
import type { ClaimResult } from './leases.js';
import { startPostgres, type PostgresFixture, type TestDatabase } from './postgres.fixture.js';
import { event, recorded, seededRandom, sequenceAll, untilWaiting } from './test-events.fixture.js';

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

const taskId = 'T1';
const stream = `task-${taskId}`;

function command(extra: Omit<AppendBatch, 'commandId' | 'streams'>, type = 'task.fact'): AppendBatch {
  return {
    commandId: randomUUID(),
    streams: [{ streamId: stream, category: 'task', events: [event(1, type)] }],
    ...extra,
  };
}

async function open(...steps: string[]): Promise<void> {
  recorded(await log.append(command({ steps: { open: steps.map((step) => ({ taskId, step })) } }, 'task.opened')));
}

function claim(holder: string, step = 'code', ttlMs = 60_000): Promise<ClaimResult> {
  return log.leases.claim({ taskId, step, holder, ttlMs, meta: { by: holder } });
}

async function granted(holder: string, step = 'code', ttlMs = 60_000): Promise<number> {
  const result = await claim(holder, step, ttlMs);
  if (result.outcome !== 'granted') throw new Error(`not granted: ${JSON.stringify(result)}`);
  return result.epoch;
}

function fact(epoch: number, release = false, step = 'code'): Promise<AppendResult> {
  return log.append(command({ fence: { taskId, step, epoch, release } }, 'task.worked'));
}

/** Lets the lease of a step run out without waiting for it. */
async function runOut(step = 'code'): Promise<void> {
  await db.admin.query(`UPDATE es.step_lease SET expires_at = clock_timestamp() - interval '1 ms' WHERE step = $1`, [
    step,
  ]);
}

async function types(): Promise<string[]> {
  return (await log.readStream(stream)).map((e) => e.type);
}

describe('claim', () => {
  it('answers for every state of a step', async () => {
    expect(await claim('a')).toEqual({ outcome: 'unknown-step' });
    await open('code');
    expect(await claim('a', 'gate')).toEqual({ outcome: 'unknown-step' });
    expect(await claim('a')).toMatchObject({ outcome: 'granted', epoch: 1 });
    const held = await claim('b');
    expect(held).toMatchObject({ outcome: 'held', holder: 'a' });
    expect(held.outcome === 'held' ? held.expiresInMs : 0).toBeGreaterThan(50_000);
    expect(await claim('a')).toMatchObject({ outcome: 'held', holder: 'a' });
    recorded(await fact(1, true));
    expect(await claim('b')).toEqual({ outcome: 'done' });
    await open('gate');
    recorded(await log.append(command({ steps: { close: [{ taskId, step: '*' }] } })));
    expect(await claim('b', 'gate')).toEqual({ outcome: 'closed' });
    expect(await claim('b', 'code')).toEqual({ outcome: 'done' });
  });

  it('records the grant with its data and meta', async () => {
    await open('code');
    await granted('a', 'code', 5_000);
    const last = (await log.readStream(stream)).at(-1);
    expect(last).toMatchObject({
      type: 'lease.granted',
      schemaVersion: 1,
      category: 'task',
      data: { step: 'code', holder: 'a', epoch: 1, ttlMs: 5_000 },
      meta: { by: 'a' },
    });
  });

  it('on an expired lease records the expiry, then the grant at the next epoch, with the progress of the last holder', async () => {
    await open('code');
    const epoch = await granted('a');
    await log.leases.heartbeat({ taskId, step: 'code', epoch, holder: 'a', ttlMs: 60_000, progress: { turn: 3 } });
    await runOut();
    expect(await claim('b')).toMatchObject({ outcome: 'granted', epoch: 2, progress: { turn: 3 } });
    const events = (await log.readStream(stream)).slice(-2);
    expect(events.map((e) => [e.type, e.data, e.meta])).toEqual([
      ['lease.expired', { step: 'code', holder: 'a', epoch: 1, ttlMs: 60_000 }, { by: 'a' }],
      ['lease.granted', { step: 'code', holder: 'b', epoch: 2, ttlMs: 60_000 }, { by: 'b' }],
    ]);
  });

  it('is granted to exactly one of many', async () => {
    await open('code');
    for (let round = 1; round <= 5; round++) {
      const results = await Promise.all(Array.from({ length: 12 }, (_, i) => claim(`w-${i}`)));
      expect(results.filter((r) => r.outcome === 'granted')).toHaveLength(1);
      expect(results.filter((r) => r.outcome === 'held')).toHaveLength(11);
      await runOut();
    }
    expect((await types()).filter((t) => t === 'lease.granted')).toHaveLength(5);
    expect((await types()).filter((t) => t === 'lease.expired')).toHaveLength(4);
  });
});

describe('heartbeat and release', () => {
  it('prolongs a lease for its holder alone, and is no event', async () => {
    await open('code');
    const epoch = await granted('a', 'code', 1_000);
    const before = await types();
    const beat = { taskId, step: 'code', epoch, holder: 'a', ttlMs: 90_000 };
    const ok = await log.leases.heartbeat(beat);
    expect(ok.outcome === 'ok' ? ok.expiresInMs : 0).toBeGreaterThan(80_000);
    expect(await log.leases.heartbeat({ ...beat, holder: 'b' })).toEqual({ outcome: 'fenced' });
    expect(await log.leases.heartbeat({ ...beat, epoch: 2 })).toEqual({ outcome: 'fenced' });
    expect(await log.leases.heartbeat({ ...beat, step: 'gate' })).toEqual({ outcome: 'fenced' });
    expect(await types()).toEqual(before);
  });

  it('tells the holder that its step was closed, and a later zombie that it is fenced', async () => {
    await open('code');
    const epoch = await granted('a');
    recorded(await log.append(command({ steps: { close: [{ taskId, step: 'code' }] } })));
    const beat = { taskId, step: 'code', epoch, holder: 'a', ttlMs: 1_000 };
    expect(await log.leases.heartbeat(beat)).toEqual({ outcome: 'cancelled' });
    await open('code');
    expect(await log.leases.heartbeat(beat)).toEqual({ outcome: 'fenced' });
    expect(await granted('b')).toBe(2);
    expect(await log.leases.heartbeat(beat)).toEqual({ outcome: 'fenced' });
  });

  it('hands a lease back as an event, once', async () => {
    await open('code');
    const epoch = await granted('a');
    const request = { taskId, step: 'code', epoch, holder: 'a' };
    expect(await log.leases.release({ ...request, holder: 'b' })).toEqual({ outcome: 'fenced' });
    expect(await log.leases.release(request)).toEqual({ outcome: 'released' });
    expect(await log.leases.release(request)).toEqual({ outcome: 'fenced' });
    expect(await types()).toEqual(['task.opened', 'lease.granted', 'lease.released']);
    expect(await fact(epoch)).toMatchObject({ outcome: 'fenced', current: { state: 'open', epoch: 1 } });
    expect(await granted('b')).toBe(2);
  });
});

describe('the fence', () => {
  it('accepts facts of the holder and nobody else, and ends the step with a release', async () => {
    await open('code');
    expect(await fact(0)).toMatchObject({ outcome: 'fenced', current: { state: 'open', epoch: 0 } });
    const epoch = await granted('a');
    expect((await fact(epoch)).outcome).toBe('appended');
    expect(await fact(epoch + 1)).toMatchObject({ outcome: 'fenced', current: { state: 'held', epoch } });
    expect(await fact(epoch, false, 'gate')).toEqual({ outcome: 'fenced', taskId, step: 'gate', epoch, current: null });
    const last = command({ fence: { taskId, step: 'code', epoch, release: true } });
    recorded(await log.append(last));
    expect(recorded(await log.append(last)).duplicate).toBe(true);
    expect(await fact(epoch)).toMatchObject({ outcome: 'fenced', current: { state: 'done', epoch } });
  });

  it('refuses a zombie after the step was granted again, and lets its stale result be recorded without a fence', async () => {
    await open('code');
    const zombie = await granted('a');
    await runOut();
    const owner = await granted('b');
    const before = await types();
    expect(await fact(zombie, true)).toEqual({
      outcome: 'fenced',
      taskId,
      step: 'code',
      epoch: zombie,
      current: { state: 'held', epoch: owner },
    });
    expect(await types()).toEqual(before);
    recorded(await log.append(command({}, 'task.stale-result-refused')));
    recorded(await fact(owner, true));
    expect(await claim('c')).toEqual({ outcome: 'done' });
  });

  it('against an expiry: either the fact precedes the expiry in the stream or it is refused', async () => {
    let accepted = 0;
    let refused = 0;
    await open('code');
    const random = seededRandom(7);
    for (let round = 0; round < 60; round++) {
      const epoch = await granted('a');
      await runOut();
      const late = delay(random() * 2).then(() => fact(epoch));
      const sweep = delay(random() * 2).then(() => log.leases.expireLeases());
      const [result] = await Promise.all([late, sweep]);
      if (result.outcome === 'appended') accepted++;
      else refused++;
      // A sweep that found the stream busy leaves the lease to the next one.
      await log.leases.expireLeases();
      let state: string | undefined;
      for (const e of await log.readStream(stream)) {
        if (e.type === 'lease.granted') state = 'held';
        if (e.type === 'lease.expired') state = 'open';
        if (e.type === 'task.worked') expect(state).toBe('held');
      }
    }
    expect(accepted).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
  });

  it('waits for a change of the lease that is under way, also when the facts go to another stream', async () => {
    await open('code');
    const epoch = await granted('a');
    const other = await db.admin.connect();
    await other.query('BEGIN');
    await other.query(`UPDATE es.step_lease SET epoch = epoch + 1, holder = 'b'`);
    const late = log.append({
      commandId: randomUUID(),
      streams: [{ streamId: 'review-1', category: 'review', events: [event(1)] }],
      fence: { taskId, step: 'code', epoch },
    });
    await untilWaiting(db.admin, 'Lock');
    await other.query('COMMIT');
    other.release();
    expect(await late).toMatchObject({ outcome: 'fenced', current: { state: 'held', epoch: epoch + 1 } });
    expect(await log.readStream('review-1')).toEqual([]);
  });

  it('is not disturbed when its step is asked for again', async () => {
    await open('code');
    const epoch = await granted('a');
    await open('code');
    expect((await fact(epoch)).outcome).toBe('appended');
    expect(await claim('b')).toMatchObject({ outcome: 'held', holder: 'a' });
  });

  it('of one batch does not harm its neighbours in the same group', async () => {
    await open('code');
    const epoch = await granted('a');
    const other: AppendBatch = {
      commandId: randomUUID(),
      streams: [{ streamId: 'x', category: 'x', events: [event(1)] }],
    };
    const results = await Promise.all([fact(epoch + 5), log.append(other), fact(epoch)]);
    expect(results.map((r) => r.outcome)).toEqual(['fenced', 'appended', 'appended']);
  });
});

describe('sweeping', () => {
  it('ends each expired lease once under concurrent sweepers and claims, without deadlock', async () => {
    const steps = Array.from({ length: 40 }, (_, i) => `s-${i}`);
    await open(...steps);
    await Promise.all(steps.map((step) => granted('a', step)));
    await granted('a', 'none').catch(() => 0);
    await Promise.all(steps.map((step) => runOut(step)));
    const swept = await Promise.all([
      log.leases.expireLeases(),
      log.leases.expireLeases(),
      ...steps.slice(0, 10).map((step) => claim('b', step).then(() => [])),
    ]);
    const all = [...swept.flat(), ...(await log.leases.expireLeases())];
    expect((await types()).filter((t) => t === 'lease.expired')).toHaveLength(40);
    expect(new Set(all.map((l) => l.step)).size).toBe(all.length);
    expect(all[0]).toMatchObject({ taskId, epoch: 1, holder: 'a' });
    await sequenceAll(log);
    expect(await log.audit()).toMatchObject({ ok: true });
  });

  it('spares a lease that is prolonged while the sweep is under way', async () => {
    await open('slow', 'code');
    await granted('a', 'slow');
    const epoch = await granted('a');
    await db.admin.query(`UPDATE es.step_lease SET stream_id = 'slow' WHERE step = 'slow'`);
    await db.admin.query(`CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN IF NEW.stream_id = 'slow' THEN PERFORM pg_sleep(0.5); END IF; RETURN NEW; END $$`);
    await db.admin.query(
      'CREATE TRIGGER dawdle BEFORE INSERT ON es.event FOR EACH ROW EXECUTE FUNCTION public.dawdle()',
    );
    await runOut('slow');
    await delay(2);
    await runOut();
    const sweep = log.leases.expireLeases();
    await untilWaiting(db.admin, 'Timeout');
    await log.leases.heartbeat({ taskId, step: 'code', epoch, holder: 'a', ttlMs: 60_000 });
    expect((await sweep).map((l) => l.step)).toEqual(['slow']);
    expect((await fact(epoch)).outcome).toBe('appended');
  });

  it('spares leases that were prolonged', async () => {
    await open('code');
    const epoch = await granted('a', 'code', 1);
    await delay(5);
    await log.leases.heartbeat({ taskId, step: 'code', epoch, holder: 'a', ttlMs: 60_000 });
    expect(await log.leases.expireLeases()).toEqual([]);
  });

  it('lists steps that are open without a holder', async () => {
    await open('code', 'gate');
    await granted('a');
    expect(await log.leases.openStepsWithoutLease({ olderThanMs: 60_000, limit: 10 })).toEqual([]);
    const found = await log.leases.openStepsWithoutLease({ olderThanMs: 0, limit: 10 });
    expect(found).toMatchObject([{ taskId, step: 'gate', epoch: 0 }]);
    await runOut();
    await log.leases.expireLeases();
    expect((await log.leases.openStepsWithoutLease({ olderThanMs: 0, limit: 10 })).map((s) => s.step)).toEqual([
      'gate',
      'code',
    ]);
  });
});

describe('timers', () => {
  const timer = (timerId: string, dueInMs: number, streamId = stream) => ({
    timerId,
    streamId,
    category: 'task',
    kind: 'deadline',
    dueInMs,
    data: { for: timerId },
    meta: { trace: timerId },
  });

  it('fire exactly once under concurrent sweepers, as events of their streams', async () => {
    const ids = Array.from({ length: 120 }, (_, i) => `t-${i}`);
    recorded(await log.append(command({ timers: { set: ids.map((id, i) => timer(id, 0, `task-${i % 9}`)) } })));
    const other = new EventLog({ pool: db.ledger });
    const fired: string[] = [];
    while (fired.length < 120) {
      const sweeps = await Promise.all([log, other, log].map((l) => l.timers.fire(25)));
      fired.push(...sweeps.flat().map((f) => f.timerId));
    }
    expect(new Set(fired).size).toBe(120);
    expect(fired).toHaveLength(120);
    expect(await log.timers.fire()).toEqual([]);
    const events = (await Promise.all(Array.from({ length: 9 }, (_, i) => log.readStream(`task-${i}`)))).flat();
    const firedEvents = events.filter((e) => e.type === 'timer.fired');
    expect(firedEvents).toHaveLength(120);
    expect(firedEvents.find((e) => (e.data as { timerId: string }).timerId === 't-0')).toMatchObject({
      streamId: 'task-0',
      schemaVersion: 1,
      data: { timerId: 't-0', kind: 'deadline', data: { for: 't-0' } },
      meta: { trace: 't-0' },
    });
  });

  it('wait for their time, can be replaced and cancelled', async () => {
    recorded(
      await log.append(
        command({
          timers: { set: [timer('a', 60_000), timer('b', 0), timer('c', 0, 'task-2'), timer('d', 0, 'task-3')] },
        }),
      ),
    );
    recorded(await log.append(command({ timers: { cancel: ['b', 'unknown'], cancelStreams: ['task-2'] } })));
    expect((await log.timers.fire()).map((f) => f.timerId)).toEqual(['d']);
    recorded(await log.append(command({ timers: { cancelStreams: [stream], set: [timer('a', 0)] } })));
    expect(await log.timers.fire()).toEqual([{ timerId: 'a', streamId: stream }]);
  });

  it('are judged by the clock of Postgres', async () => {
    recorded(await log.append(command({ timers: { set: [timer('a', 80)] } })));
    expect(await log.timers.fire()).toEqual([]);
    await db.admin.query('SELECT pg_sleep(0.1)');
    expect(await log.timers.fire()).toHaveLength(1);
  });
});
