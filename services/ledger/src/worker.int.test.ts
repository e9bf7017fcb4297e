import { randomBytes, randomUUID } from 'node:crypto';
import { ArtifactError, LedgerClient, type Bus, type HeldStep } from '@plumbline/bus';
import type { PlumblineEvent } from '@plumbline/domain';
import { startTestSystem, StepDouble, type Play, type TestSystem } from '@plumbline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

const step = 'gating.1.1';
let system: TestSystem;
let scheduler: LedgerClient;
const doubles: StepDouble[] = [];

beforeAll(async () => {
  system = await startTestSystem({ services: ['ledger'] });
  scheduler = new LedgerClient(await system.client('scheduler'), 'scheduler');
});
afterEach(async () => {
  await Promise.all(doubles.splice(0).map((double) => double.stop(200)));
});
afterAll(() => system?.stop());

const failed = (held: Pick<HeldStep, 'id'>, detail: string): PlumblineEvent[] => [
  { type: 'gate.failed', data: { step: held.id, attempt: 1, code: 'GATE_ERROR', detail } },
];
const typesOf = (taskId: string): string[] => system.watch.of(taskId).map(({ type }) => type);

async function worker(gating: Play, bus?: Bus): Promise<StepDouble> {
  const double = new StepDouble(bus ?? (await system.nats.connect('gate')), 'gate', {
    plays: { gating },
    holder: `gate/${randomUUID()}`,
  });
  doubles.push(double);
  return double;
}

/** Requests the gating of a new task, with its step open; returns the task's id. */
async function gating(): Promise<string> {
  const taskId = `t-${randomBytes(13).toString('hex')}`;
  const events = [{ type: 'task.gating-requested', data: { step, attempt: 1, dispatch: 1 } }];
  await scheduler.append({
    commandId: randomUUID(),
    streams: [{ streamId: `task-${taskId}`, events }],
    steps: { open: [{ taskId, step }] },
  });
  return taskId;
}
const again = (taskId: string, dispatch: number) =>
  scheduler.append({
    commandId: randomUUID(),
    streams: [
      { streamId: `task-${taskId}`, events: [{ type: 'task.gating-requested', data: { step, attempt: 1, dispatch } }] },
    ],
  });

describe('a worker', () => {
  it('records what is done although it is told to stop, and hands back what is not', async () => {
    const held = Promise.withResolvers<HeldStep>();
    const finish = Promise.withResolvers<void>();
    const slow = await worker((task) => {
      held.resolve(task);
      return new Promise((_, reject) =>
        task.signal.addEventListener('abort', () => reject(task.signal.reason as Error)),
      );
    });
    const taskId = await gating();
    await held.promise;
    await slow.stop(5_000);
    await system.watch.event(taskId, 'lease.released');
    expect(slow.reports.at(-1)?.outcome).toBe('stopped');

    // The one that finishes at the very moment of the stop is not made to do it all again.
    const done = await worker(async (task) => {
      await finish.promise;
      return failed(task, 'finished during the stop');
    });
    await again(taskId, 2);
    await system.watch.until(
      'the second lease',
      () => typesOf(taskId).filter((type) => type === 'lease.granted').length === 2,
    );
    const append = LedgerClient.prototype.append;
    let stopped: Promise<void> | undefined;
    LedgerClient.prototype.append = async function (...args) {
      stopped ??= done.stop(5_000);
      return append.apply(this, args);
    };
    try {
      finish.resolve();
      await system.watch.event(taskId, 'gate.failed');
    } finally {
      LedgerClient.prototype.append = append;
    }
    await stopped;
    expect(done.reports.at(-1)?.outcome).toBe('done');
  });

  it('acknowledges a request only under its lease, and lets repetitions go', async () => {
    let runs = 0;
    const play: Play = (task) => {
      runs += 1;
      return failed(task, 'ran');
    };
    await Promise.all([worker(play), worker(play)]);
    const taskId = await gating();
    for (let dispatch = 2; dispatch < 8; dispatch++) await again(taskId, dispatch);
    await system.watch.event(taskId, 'gate.failed');
    await expect
      .poll(() => doubles.flatMap(({ reports }) => reports).filter((report) => report.taskId === taskId).length)
      .toBe(7);
    const outcomes = doubles.flatMap(({ reports }) => reports).map(({ outcome }) => outcome);
    expect(outcomes.filter((outcome) => outcome === 'done')).toHaveLength(1);
    expect(runs).toBe(1);
  });

  it('finds the lease that was granted to it although the answer was lost', async () => {
    const claim = LedgerClient.prototype.claim;
    let lost = 0;
    LedgerClient.prototype.claim = async function (...args) {
      const reply = await claim.apply(this, args);
      if (lost++ > 0) return reply;
      throw Object.assign(new Error('the answer was lost'), { retry: 'later' });
    };
    try {
      const double = await worker((task) => failed(task, `epoch ${task.epoch}`));
      const taskId = await gating();
      const { data } = await system.watch.event(taskId, 'gate.failed', { timeoutMs: 10_000 });
      expect(data).toMatchObject({ detail: 'epoch 1' });
      expect(typesOf(taskId).filter((type) => type === 'lease.granted')).toHaveLength(1);
      expect(double.reports.map(({ outcome }) => outcome)).toEqual(['done']);
    } finally {
      LedgerClient.prototype.claim = claim;
    }
  });

  it('never works twice under one lease, whichever of its deliveries finds it', async () => {
    const claim = LedgerClient.prototype.claim;
    const finish = Promise.withResolvers<void>();
    let runs = 0;
    let claims = 0;
    LedgerClient.prototype.claim = async function (...args) {
      claims += 1;
      // The second delivery hears nothing of its first claim, and claims again while the first delivery works.
      if (claims === 2) throw Object.assign(new Error('nobody answered'), { retry: 'later' });
      return claim.apply(this, args);
    };
    try {
      const double = await worker(async (task) => {
        runs += 1;
        await finish.promise;
        return failed(task, 'ran');
      });
      const taskId = await gating();
      await system.watch.event(taskId, 'lease.granted');
      await expect.poll(() => runs).toBe(1);
      await again(taskId, 2);
      await expect.poll(() => double.reports.filter(({ outcome }) => outcome === 'refused').length).toBe(1);
      expect(claims).toBe(3);
      finish.resolve();
      await system.watch.event(taskId, 'gate.failed');
      expect(runs).toBe(1);
    } finally {
      finish.resolve();
      LedgerClient.prototype.claim = claim;
    }
  });

  it('names the fault of whatever its handler throws, and never a change for it', async () => {
    const thrown: [unknown, string][] = [
      [new ArtifactError('no store', 'later'), 'ARTIFACT_UNAVAILABLE'],
      [Object.assign(new Error('disk full'), { retry: 'later' }), 'WORKSPACE_SETUP'],
      [Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }), 'WORKSPACE_SETUP'],
      [new TypeError('undefined is not a function'), 'HARNESS_BUG'],
      ['a string', 'HARNESS_BUG'],
    ];
    let next = 0;
    await worker(() => Promise.reject(thrown[next]?.[0] as Error));
    for (const [, code] of thrown) {
      const taskId = await gating();
      expect((await system.watch.event(taskId, 'gate.failed')).data).toMatchObject({ code });
      next += 1;
    }
  });

  it('is told when its lease is over, and its late result changes nothing', async () => {
    const held = Promise.withResolvers<HeldStep>();
    const finish = Promise.withResolvers<void>();
    const zombie = await worker(async (task) => {
      held.resolve(task);
      await finish.promise;
      return failed(task, 'too late');
    });
    const taskId = await gating();
    await held.promise;
    await system.database.admin.query(
      "UPDATE es.step_lease SET expires_at = clock_timestamp() - interval '1 s' WHERE task_id = $1",
      [taskId],
    );
    await system.watch.event(taskId, 'lease.expired');
    finish.resolve();
    await system.watch.event(taskId, 'lease.result-refused');
    await expect.poll(() => zombie.reports.at(-1)?.outcome).toBe('stale');
    expect(typesOf(taskId)).not.toContain('gate.failed');
  });
});
