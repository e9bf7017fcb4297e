import { seededRandom } from '@plumbline/domain';
import {
  Crew,
  exampleModel,
  exampleSubmission,
  registerNode,
  startTestSystem,
  type TestSystem,
} from '@plumbline/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectOneOfEverything } from './whole-walk.fixture.js';

let system: TestSystem;
let crew: Crew;

beforeAll(async () => {
  system = await startTestSystem({
    services: ['ledger', 'ledger/2', 'scheduler', 'scheduler/2'],
    env: { PLUMB_RECONCILE_INTERVAL_MS: '500', PLUMB_STEP_IDLE_AFTER_MS: '1500' },
  });
  await registerNode(await system.client('node-agent'), { models: [exampleModel({ slots: 4 })] });
  crew = await Crew.start(system, { node: false });
});
afterAll(async () => {
  await crew?.stop();
  await system?.stop();
});

async function expectSoundLog(): Promise<void> {
  const { body } = await system.api('/v1/audit');
  expect(body).toMatchObject({ ok: true });
  expect(system.watch.events.map((event) => event.pos)).toEqual(system.watch.events.map((_, index) => index + 1));
  const held = new Set<string>();
  for (const { type, data } of system.watch.events) {
    const { grantId } = data as { grantId: string };
    if (type === 'grant.reserved') held.add(grantId);
    if (type === 'grant.released') held.delete(grantId);
    expect(held.size).toBeLessThanOrEqual(4);
  }
}

const submitMany = (prefix: string, n: number): Promise<string[]> =>
  Promise.all(
    Array.from({ length: n }, (_, i) => system.submit({ ...exampleSubmission, idempotencyKey: `${prefix}-${i}` })),
  );

describe('two replicas of ledger and scheduler', () => {
  it('walk every task once, within the slots of the model, and leave a sound log', async () => {
    const tasks = await submitMany('two', 8);
    expect(new Set(await system.closed(tasks))).toEqual(new Set(['go']));
    tasks.forEach((taskId) => expectOneOfEverything(system.watch, taskId));
    await expectSoundLog();
  });

  it('decide nothing anew when every message is delivered again', async () => {
    const before = system.watch.events.filter((event) => !event.type.startsWith('grant.')).length;
    const bus = await system.client('ledger');
    const name = 'scheduler-facts';
    const { config } = await bus.jsm.consumers.info('LOG', name);
    await bus.jsm.consumers.delete('LOG', name);
    const again = { ...config, description: `${config.description} again` };
    // From the first message on, without the place the old one had come to.
    Reflect.deleteProperty(again, 'opt_start_seq');
    await bus.jsm.consumers.add('LOG', { ...again, deliver_policy: 'all' as never });
    await expect
      .poll(
        async () => {
          const info = await bus.jsm.consumers.info('LOG', name);
          return info.num_pending === 0 && info.num_ack_pending === 0;
        },
        { timeout: 20_000 },
      )
      .toBe(true);
    expect(system.watch.events.filter((event) => !event.type.startsWith('grant.')).length).toBe(before);
  });
});

describe('faults', () => {
  it('finds the same end with services killed at random moments', async () => {
    const random = seededRandom('kill');
    const names = ['ledger', 'scheduler', 'ledger/2', 'scheduler/2'] as const;
    const tasks: string[] = [];
    const back = new Map<string, Promise<void>>();
    for (let i = 0; i < 20; i++) {
      await system.publish('submit', { ...exampleSubmission, idempotencyKey: `kill-${i}` });
      if (i % 4 !== 3) continue;
      const name = names[Math.floor(random() * names.length)] ?? 'ledger';
      // A moment that the seed picks: after so many further events.
      const target = system.watch.events.length + 1 + Math.floor(random() * 10);
      await system.watch
        .until('the moment to kill', (events) => events.length >= target, 10_000)
        .catch(() => undefined);
      await back.get(name);
      await system.kill(name, 'SIGKILL');
      back.set(name, system.restart(name));
    }
    await Promise.all(back.values());
    const submitted = await system.watch.until('all submissions', (events) => {
      const found = events.filter(
        (event) =>
          event.type === 'task.submitted' &&
          event.pos > 0 &&
          String((event.data as { source: string }).source) === 'test/client',
      );
      return found.length >= 20 ? found : undefined;
    });
    tasks.push(...submitted.map((event) => (event.data as { taskId: string }).taskId));
    expect(new Set(await system.closed(tasks))).toEqual(new Set(['go']));
    tasks.forEach((taskId) => expectOneOfEverything(system.watch, taskId));
    await expectSoundLog();
  }, 60_000);
});
