import { expect, it, vi } from 'vitest';
import { evolveFleet, initialFleet, initialTask, type TaskInput, type TaskState } from '@plumbline/domain';
import { Reconciler } from './reconciler.js';
import { Seating } from './seating.js';

const step = 'coding.1.1' as const;
const submission = { priority: 'normal' } as TaskState['submission'];
/** A task whose coding step waits for a model at version 8, and had one at version 9. */
const task = (version: number, status: 'waiting' | 'requested'): TaskState =>
  ({
    ...initialTask,
    ...{ version, submission, submittedAt: '2026-01-01T00:00:00.000Z', phase: 'waiting-for-capacity' },
    steps: { [step]: { id: step, kind: 'coding', attempt: 1, try: 1, status, dispatches: 0, leasesLost: 0 } },
    attempts: [{ n: 1, tier: 1, checks: [], reviews: [] }],
  }) as unknown as TaskState;

const model = { name: 'm', family: 'f', tier: 1, runtime: 'r', endpoint: 'http://127.0.0.1:9', pool: 'p', bytes: 1 };
const at = '2026-01-01T00:00:00.000Z';
const state = evolveFleet(initialFleet, {
  ...{ eventId: 'e', streamId: 'node-n', version: 1, at, type: 'node.registered' },
  data: {
    ...{ node: 'n', startedAt: at, pools: [{ id: 'p', kind: 'host', budgetBytes: 10 }] },
    models: [{ ...model, slots: 1, seats: ['coder'] }],
  },
});

it('seats a step that waits again because a restore took its model back', async () => {
  const seated: TaskInput[] = [];
  const fleet = { state, refresh: () => Promise.resolve(state), refreshGrants: () => Promise.resolve() };
  const manager = {
    handle: (_: string, input: TaskInput) => {
      seated.push(input);
      return Promise.resolve({ outcome: 'accepted' as const, events: [], state: task(9, 'requested') });
    },
  };
  const seating = new Seating(fleet, () => manager, {
    onWaits: () => undefined,
    onError: (error) => {
      throw error;
    },
  });
  seating.update('t-1', task(9, 'requested'));
  // A look that was overtaken tells nothing.
  seating.update('t-1', task(8, 'waiting'));
  expect(seating.count).toBe(0);
  // In a log that lost version 9 it is not overtaken; one that is as it was, or a list made before, does not say that.
  const listedAt = performance.now();
  seating.retain(new Map([['t-1', 9]]), listedAt);
  seating.update('t-1', task(8, 'waiting'));
  expect(seating.count).toBe(0);
  seating.retain(new Map([['t-1', 8]]), 0);
  seating.update('t-1', task(8, 'waiting'));
  expect(seating.count).toBe(0);
  seating.retain(new Map([['t-1', 8]]), performance.now());
  seating.update('t-1', task(8, 'waiting'));
  expect(seating.count).toBe(1);
  await vi.waitFor(() => expect(seated).toMatchObject([{ kind: 'seat', step }]));
  await seating.stop();
});

it('looks again at a task that a restore set back to where it had been looked at before', async () => {
  const observed: string[] = [];
  const fleet = {
    state: initialFleet,
    refresh: () => Promise.resolve(initialFleet),
    refreshGrants: () => Promise.resolve(),
  };
  const onError = (error: unknown): never => {
    throw error;
  };
  const seating: Seating = new Seating(fleet, () => manager, { onWaits: () => undefined, onError });
  const manager = {
    handle: (taskId: string, { kind }: TaskInput) => {
      observed.push(kind);
      const looked = task(8, 'waiting');
      seating.update(taskId, looked);
      return Promise.resolve({ outcome: 'accepted' as const, events: [], state: looked });
    },
  };
  const ledger = {
    openTasks: () => Promise.resolve([{ taskId: 't-1', version: 8 }]),
    idleSteps: () => Promise.resolve([]),
  };
  const options = { idleAfterMs: 1, intervalMs: 1, onError, onRound: () => undefined };
  const reconciler = new Reconciler(ledger, manager, fleet, seating, options);
  await reconciler.round();
  await reconciler.round();
  expect(observed).toEqual(['observe']);
  // Seated at version 9, which is lost before the next round.
  seating.update('t-1', task(9, 'requested'));
  await reconciler.round();
  expect(observed).toEqual(['observe', 'observe']);
  expect(seating.count).toBe(1);
  await seating.stop();
});
