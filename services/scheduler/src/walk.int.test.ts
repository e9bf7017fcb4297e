import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  exampleSubmission,
  gateConcluded,
  registerNode,
  reviewConcluded,
  startTestSystem,
  StepDouble,
  type TestSystem,
} from '@plumbline/testing';

let system: TestSystem;
let doubles: Record<'host' | 'coder' | 'gate' | 'reviewer', StepDouble>;

beforeAll(async () => {
  system = await startTestSystem({
    services: ['ledger', 'scheduler'],
    env: { PLUMB_RECONCILE_INTERVAL_MS: '500', PLUMB_STEP_IDLE_AFTER_MS: '2000' },
  });
  await registerNode(await system.client('node-agent'));
  doubles = {
    host: new StepDouble(await system.client('code-host'), 'code-host'),
    coder: new StepDouble(await system.client('coder'), 'coder'),
    gate: new StepDouble(await system.client('gate'), 'gate'),
    reviewer: new StepDouble(await system.client('reviewer'), 'reviewer'),
  };
});
afterAll(async () => {
  await Promise.all(Object.values(doubles ?? {}).map((double) => double.stop()));
  await system?.stop();
});

const typesOf = (taskId: string): string[] => system.watch.of(taskId).map((event) => event.type);
const count = (taskId: string, type: string): number => typesOf(taskId).filter((found) => found === type).length;

describe('the walk of a task', () => {
  it('ends in GO with exactly one of everything', async () => {
    const taskId = await system.submit(exampleSubmission);
    expect(await system.closed([taskId])).toEqual(['go']);
    for (const type of [
      'task.submitted',
      'task.snapshot-requested',
      'snapshot.taken',
      'task.coding-requested',
      'change.proposed',
      'task.gating-requested',
      'gate.concluded',
      'task.review-requested',
      'review.concluded',
      'verdict.reached',
      'task.publishing-requested',
      'change.published',
      'task.closed',
    ])
      expect([type, count(taskId, type)]).toEqual([type, 1]);
  });
});
