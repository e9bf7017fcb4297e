import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aModel, aPolicy, failureOf, successOf, taskId } from '../../test/builders.js';
import { World } from '../../test/world.js';
import type { PlumblineEvent } from '../events/catalogue.js';
import { faultCodeNames, type FaultCode } from '../faults.js';
import { decide } from './decide.js';
import { evolve } from './evolve.js';
import { explainWait, projectTask } from './project.js';
import { currentAttempt, initialTask, liveSteps, openEscalation, stepsOf, type StepState } from './state.js';

const seats = [
  { seat: 'concluder', canVouch: true },
  { seat: 'second', canVouch: true },
  { seat: 'drift-specialist', canVouch: false },
];
const policies = [
  aPolicy(),
  aPolicy({ attempts: { perTier: [1, 2] }, panel: { seats, approvalsMin: 2, familiesMin: 2 } }),
  aPolicy({ attempts: { perTier: [3] }, panel: { seats: [], approvalsMin: 0, familiesMin: 0 } }),
];
const by = { by: 'ada', why: 'because' };

/** What the world does next. `pick` chooses among whatever there is to act on. */
type Act =
  | {
      do: 'seat' | 'claim' | 'crash' | 'hand-back' | 'fire' | 'late-timer' | 'reconcile' | 'observe' | 'zombie';
      pick: number;
    }
  | { do: 'finish'; pick: number; tests: 'pass' | 'fail' | 'unknown'; approves: boolean; seen: boolean }
  | { do: 'fail'; pick: number; code: FaultCode; seen: boolean }
  | { do: 'cancel' | 'retry' }
  | { do: 'rule'; decision: 'go' | 'no-go' };

const pick = fc.nat(1000);
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 24, arbitrary: fc.record({ do: fc.constantFrom('seat' as const), pick }) },
  {
    weight: 32,
    arbitrary: fc.record({
      do: fc.constant('finish' as const),
      pick,
      tests: fc.constantFrom('pass' as const, 'pass' as const, 'fail' as const, 'unknown' as const),
      approves: fc.constantFrom(true, true, true, false),
      seen: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      pick,
      code: fc.constantFrom(...faultCodeNames),
      seen: fc.boolean(),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'claim' as const,
        'crash' as const,
        'hand-back' as const,
        'fire' as const,
        'late-timer' as const,
        'reconcile' as const,
        'observe' as const,
        'zombie' as const,
      ),
      pick,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('rule' as const),
      decision: fc.constantFrom('go' as const, 'no-go' as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('cancel' as const, ...Array<'retry'>(9).fill('retry')) }) },
);

const at = <T>(items: readonly T[], n: number): T | undefined =>
  items.length === 0 ? undefined : items[n % items.length];
const requestedSteps = (world: World): StepState[] =>
  stepsOf(world.state).filter((step) => step.status === 'requested');
const seatWaiting = (world: World, step: StepState | undefined): void => {
  if (step === undefined) return;
  const family = step.seat === 'second' ? 'gemma' : 'glm';
  const model = aModel({ tier: world.state.tier, family, grantId: `${taskId}.${step.id}` });
  expect(world.decide({ kind: 'seat', step: step.id, model }).outcome).toBe('accepted');
};

function perform(world: World, next: Act): void {
  const step = 'pick' in next ? at(requestedSteps(world), next.pick) : undefined;
  const lease = step === undefined ? undefined : { step: step.id, holder: 'w', epoch: 1 };
  switch (next.do) {
    case 'seat':
      return seatWaiting(
        world,
        at(
          stepsOf(world.state).filter((entry) => entry.status === 'waiting'),
          next.pick,
        ),
      );
    case 'claim':
      if (lease !== undefined) world.record({ type: 'lease.granted', data: { ...lease, ttlMs: 60_000 } });
      return;
    case 'crash':
      if (lease !== undefined) world.record({ type: 'lease.expired', data: lease });
      return;
    case 'hand-back':
      if (lease !== undefined) world.record({ type: 'lease.released', data: lease });
      return;
    case 'finish':
      if (step === undefined) return;
      world.record(
        ...successOf(world.state, step, {
          tests: next.tests,
          review: next.approves ? {} : { decision: 'cannot-decide' },
        }),
      );
      return;
    case 'fail':
      if (step === undefined) return;
      world.record(failureOf(step, next.code));
      return;
    case 'fire': {
      const timer = at([...world.timers.values()], next.pick);
      if (timer !== undefined) world.fire(timer.kind, timer.step);
      return;
    }
    case 'late-timer':
    case 'zombie': {
      const over = at(
        stepsOf(world.state).filter((entry) => entry.status !== 'requested'),
        next.pick,
      );
      if (over === undefined) return;
      const { version: _was, ...before } = world.state;
      if (next.do === 'late-timer') {
        world.fire('deadline', over.id);
      } else {
        world.record(...successOf(world.state, over), failureOf(over, 'HARNESS_BUG'));
        const { version: _is, ...after } = world.state;
        expect(after).toEqual(before);
      }
      return;
    }
    case 'reconcile':
      world.decide({ kind: 'reconcile', idleSteps: requestedSteps(world).map((entry) => entry.id) });
      return;
    case 'observe':
      world.observe();
      return;
    case 'cancel':
    case 'retry':
      world.decide({ kind: next.do, ...by });
      return;
    case 'rule':
      world.decide({ kind: 'rule', decision: next.decision, ...by });
      return;
  }
}

/** What must hold of the world whenever a decision has just been made. */
function invariants(world: World, since: number): void {
  const { state } = world;
  const live = liveSteps(state);
  expect(decide(state, { kind: 'observe' })).toEqual({ outcome: 'accepted', events: [] });
  const places = live.map((step) => `${step.kind}.${step.attempt}.${step.seat ?? ''}`);
  expect(new Set(places).size, `two live steps of one place: ${places.join(' ')}`).toBe(places.length);
  for (const step of live) expect([0, currentAttempt(state)?.n]).toContain(step.attempt);
  const timers = [...world.timers.values()].map((timer) => `${timer.kind} ${timer.step}`).sort();
  const wanted = live
    .filter((step) => (step.status === 'requested' && !step.deadlinePassed) || step.status === 'retrying')
    .map((step) => `${step.status === 'retrying' ? 'retry' : 'deadline'} ${step.id}`)
    .sort();
  expect(timers).toEqual(wanted);
  expect([...world.grants].sort()).toEqual(
    live
      .flatMap((step) => (step.status === 'requested' && step.model !== undefined ? [step.model.grantId] : []))
      .sort(),
  );
  const closings = world.types.filter((type) => type === 'task.closed').length;
  expect(closings).toBe(state.phase === 'closed' ? 1 : 0);
  // Somebody can always move it: a worker, a timer, the seater of models, or a human.
  if (state.phase === 'closed') expect(live).toEqual([]);
  else if (state.phase === 'awaiting-ruling') expect(openEscalation(state)).toBeDefined();
  else expect(live.length).toBeGreaterThan(0);
  expect(openEscalation(state) !== undefined).toBe(state.phase === 'awaiting-ruling');
  expect(explainWait(state).length).toBeGreaterThan(0);
  publishedOnlyWithGo(world, since);
}

function publishedOnlyWithGo(world: World, since: number): void {
  world.events.forEach((event, index) => {
    if (index < since || event.type !== 'task.publishing-requested') return;
    const then = world.events.slice(0, index).reduce(evolve, initialTask);
    const attempt = currentAttempt(then);
    expect(event.data.attempt).toBe(attempt?.n);
    const isGo = attempt?.judgement?.verdict === 'GO';
    const ruledGo = then.ruling?.decision === 'go' && then.ruling.attempt === attempt?.n;
    expect(isGo || ruledGo).toBe(true);
    expect(event.data.label).toBe(isGo ? 'GO' : 'GO-WAIVED');
    expect(attempt?.change).toBeDefined();
  });
}

/** A fair world from here on: every worker succeeds, every timer fires, every model is seated, a human says no. */
function driveToRest(world: World): void {
  for (let round = 0; round < 200 && world.state.phase !== 'closed'; round++) {
    world.observe();
    const [step] = requestedSteps(world);
    const [waiting] = stepsOf(world.state).filter((entry) => entry.status === 'waiting');
    const [timer] = [...world.timers.values()].filter((entry) => entry.kind === 'retry');
    if (world.state.phase === 'awaiting-ruling') world.decide({ kind: 'rule', decision: 'no-go', ...by });
    else if (step !== undefined) world.record(...successOf(world.state, step));
    else if (waiting !== undefined) seatWaiting(world, waiting);
    else if (timer !== undefined) world.fire(timer.kind, timer.step);
  }
}

describe('whatever workers, timers, leases and people do', () => {
  it('keeps its invariants and comes to rest', () => {
    const phases = new Set<string>();
    const outcomes = new Set<string>();
    fc.assert(
      fc.property(
        fc.constantFrom(...policies),
        fc.constantFrom('none' as const, 'branch' as const),
        fc.array(act, { maxLength: 120, size: 'max' }),
        (policy, publish, acts) => {
          const world = new World().submit({ policy, publish });
          invariants(world, 0);
          for (const next of acts) {
            const since = world.events.length;
            perform(world, next);
            // Facts may lie unseen; a decision, whenever it comes, puts everything right.
            if (!('seen' in next) || next.seen) {
              world.observe();
              invariants(world, since);
            }
            phases.add(world.state.phase);
          }
          driveToRest(world);
          invariants(world, 0);
          expect(world.state.phase).toBe('closed');
          outcomes.add(world.state.outcome?.outcome ?? '');
          expect(world.events.reduce(evolve, initialTask)).toEqual(world.state);
          const closedAt = world.types.indexOf('task.closed');
          const after = world.events.slice(closedAt + 1).map((event) => event.type);
          expect(
            after.filter(
              (type) => type.startsWith('task.') || type.startsWith('verdict') || type.startsWith('escalation'),
            ),
          ).toEqual([]);
          const wire = world.events.map((event, index) => ({
            eventId: `e${index}`,
            streamId: `task-${taskId}`,
            version: index + 1,
            schemaVersion: 1,
            at: '2026-11-20T09:30:00.000Z',
            ...event,
          }));
          expect(projectTask(world.state, wire).timeline.every((entry) => entry.summary !== '')).toBe(true);
        },
      ),
      { seed: 20_261_120, numRuns: 400 },
    );
    // The random walk must have been everywhere, or it proves little.
    expect([...phases].sort()).toEqual([
      'awaiting-ruling',
      'closed',
      'coding',
      'gating',
      'publishing',
      'reviewing',
      'submitted',
      'waiting-for-capacity',
    ]);
    expect([...outcomes].sort()).toEqual(['cancelled', 'go', 'go-waived', 'no-go']);
  }, 120_000);

  it('folds any event in any state without failing, and counts each', () => {
    const world = new World().submit().succeed('snapshot.0.1').attempt(1, { tests: 'fail' }).attempt(2);
    const pool: PlumblineEvent[] = [
      ...world.events,
      { type: 'timer.fired', data: { timerId: 'x', kind: 'unheard-of', data: { step: 'review.9.9.nobody' } } },
      {
        type: 'lease.result-refused',
        data: { step: 'coding.1.1', epoch: 0, service: 'coder', types: [], why: 'late' },
      },
      { type: 'grant.released', data: { grantId: 'g', why: 'w' } },
      { type: 'escalation.resolved', data: { escalationId: 'none', how: 'ruled', by: 'x' } },
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pool), { maxLength: 60 }), (events) => {
        const state = events.reduce(evolve, initialTask);
        expect(state.version).toBe(events.length);
      }),
      { seed: 7, numRuns: 300 },
    );
  });
});
