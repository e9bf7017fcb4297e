import { describe, expect, it } from 'vitest';
import { inPhase, snapshotted } from '../../test/phases.js';
import { aModel, aPolicy, aSubmission, anApproval, failureOf, oid, successOf } from '../../test/builders.js';
import { faultCodeNames, faultCodes, type FaultCode } from '../faults.js';
import type { PlumblineEvent } from '../events/catalogue.js';
import { decide, type TaskInput } from './decide.js';
import { evolve } from './evolve.js';
import { initialTask } from './state.js';

const by = { by: 'ada', why: 'looked at it' };
const go = { kind: 'rule', decision: 'go', ...by } as const;
const noGo = { kind: 'rule', decision: 'no-go', ...by } as const;
const retry = { kind: 'retry', ...by } as const;
const cancel = { kind: 'cancel', ...by } as const;
const twoSeats = aPolicy({
  panel: {
    seats: [
      { seat: 'concluder', canVouch: true },
      { seat: 'second', canVouch: true },
    ],
    approvalsMin: 2,
    familiesMin: 2,
  },
});

/** given(history).when(input).then(events): the decision as a whole, and that deciding again on it adds nothing. */
const given = (...events: PlumblineEvent[]) => ({
  when: (input: TaskInput) => ({
    then: (...expected: PlumblineEvent[]) => {
      const state = events.reduce(evolve, initialTask);
      expect(decide(state, input)).toEqual({ outcome: 'accepted', events: expected });
      expect(decide([...events, ...expected].reduce(evolve, initialTask), { kind: 'observe' })).toEqual({
        outcome: 'accepted',
        events: [],
      });
    },
  }),
});
const submitted: PlumblineEvent = { type: 'task.submitted', data: aSubmission() };
const asked: PlumblineEvent = { type: 'task.snapshot-requested', data: { step: 'snapshot.0.1', dispatch: 1 } };
const taken: PlumblineEvent = {
  type: 'snapshot.taken',
  data: {
    step: 'snapshot.0.1',
    base: oid('a'),
    tree: oid('d'),
    objectFormat: 'sha1',
    pack: { digest: 'ab'.repeat(32), sizeBytes: 1, mediaType: 'x' },
  },
};
const awaited: PlumblineEvent = {
  type: 'task.capacity-awaited',
  data: { step: 'coding.1.1', attempt: 1, seat: 'coder', tier: 1 },
};
const coding: PlumblineEvent = {
  type: 'task.coding-requested',
  data: { step: 'coding.1.1', attempt: 1, dispatch: 1, model: aModel(), feedback: [] },
};
const proposed: PlumblineEvent = {
  type: 'change.proposed',
  data: {
    step: 'coding.1.1',
    attempt: 1,
    base: oid('a'),
    head: oid('e'),
    tree: oid('1'),
    bundle: { digest: 'ab'.repeat(32), sizeBytes: 1, mediaType: 'x' },
    summary: 's',
    files: [],
  },
};

describe('the walk, event by event', () => {
  it('asks for the snapshot when a task is submitted', () => {
    given().when({ kind: 'submit', submitted: aSubmission() }).then(submitted, asked);
  });
  it('takes a repeated submission for nothing new', () => {
    given(submitted, asked).when({ kind: 'submit', submitted: aSubmission() }).then();
  });
  it('waits for a coder once base is known', () => {
    given(submitted, asked, taken).when({ kind: 'observe' }).then(awaited);
  });
  it('hands the attempt to the seated model', () => {
    given(submitted, asked, taken, awaited).when({ kind: 'seat', step: 'coding.1.1', model: aModel() }).then(coding);
  });
  it('asks the gate about the proposed change', () => {
    given(submitted, asked, taken, awaited, coding, proposed)
      .when({ kind: 'observe' })
      .then({ type: 'task.gating-requested', data: { step: 'gating.1.1', attempt: 1, dispatch: 1 } });
  });
  it('asks again, once each, for steps that lie idle', () => {
    given(submitted, asked, taken, awaited, coding)
      .when({ kind: 'reconcile', idleSteps: ['coding.1.1', 'coding.1.1', 'snapshot.0.1', 'gating.9.9'] })
      .then({ ...coding, data: { ...coding.data, dispatch: 2 } } as PlumblineEvent);
  });
  it('does on a reconcile what a lost message should have led to', () => {
    given(submitted, asked, taken)
      .when({ kind: 'reconcile', idleSteps: ['snapshot.0.1'] })
      .then(awaited);
  });

  it('goes from submission to a published GO', () => {
    const world = snapshotted().attempt(1);
    expect(world.state.phase).toBe('publishing');
    world.succeed('publishing.1.1');
    expect(world.state).toMatchObject({ phase: 'closed', outcome: { outcome: 'go', verdict: 'GO' } });
    expect(world.timers.size).toBe(0);
    expect(world.grants.size).toBe(0);
    expect(world.types.filter((type) => type.startsWith('task.') || type.startsWith('verdict'))).toEqual([
      'task.submitted',
      'task.snapshot-requested',
      'task.capacity-awaited',
      'task.coding-requested',
      'task.gating-requested',
      'task.capacity-awaited',
      'task.review-requested',
      'verdict.reached',
      'task.publishing-requested',
      'task.closed',
    ]);
  });
  it('closes a GO at once when nothing is to be published', () => {
    expect(snapshotted({ publish: 'none' }).attempt(1).state.outcome).toEqual({ outcome: 'go', verdict: 'GO' });
  });
  it('judges without reviews when policy asks for none', () => {
    const policy = aPolicy({ panel: { seats: [], approvalsMin: 0, familiesMin: 0 } });
    const world = snapshotted({ policy }).seat('coding.1.1').succeed('coding.1.1').succeed('gating.1.1');
    expect(world.live).toEqual(['publishing.1.1:requested']);
  });
  it('tells the next attempt why the last one was not GO', () => {
    const world = snapshotted().attempt(1, { tests: 'fail' });
    expect(world.live).toEqual(['coding.2.1:waiting']);
    world.seat('coding.2.1');
    expect(world.events.at(-1)).toMatchObject({ data: { feedback: ['attempt 1: tests: tests were run'] } });
  });
  it('goes up a tier when the attempts of one are used, and to a human after the last', () => {
    const world = snapshotted({ policy: aPolicy({ attempts: { perTier: [2, 1] } }) });
    world.attempt(1, { tests: 'fail' }).attempt(2, { tests: 'fail' });
    expect(world.state).toMatchObject({ tier: 2, phase: 'waiting-for-capacity' });
    expect(world.events.findLast((event) => event.type === 'task.capacity-awaited')).toMatchObject({
      data: { tier: 2 },
    });
    world.attempt(3, { tests: 'fail' });
    expect(world.state.phase).toBe('awaiting-ruling');
    expect(world.events.at(-1)).toMatchObject({
      type: 'escalation.opened',
      data: {
        to: 'human',
        attempt: 3,
        reasons: ['tests: tests were run'],
        tried: [{ attempt: 1 }, { attempt: 2 }, { attempt: 3 }],
      },
    });
  });
  it('hands over to a human at once when only the reviewers stood in the way', () => {
    const world = snapshotted().attempt(1, { review: { decision: 'cannot-decide' } });
    expect(world.state.phase).toBe('awaiting-ruling');
  });
});

describe('every phase against every input', () => {
  const inputs: Record<string, TaskInput> = {
    submit: { kind: 'submit', submitted: aSubmission() },
    observe: { kind: 'observe' },
    'seat coding': { kind: 'seat', step: 'coding.1.1', model: aModel() },
    'seat review': { kind: 'seat', step: 'review.1.1.concluder', model: aModel() },
    'seat nothing': { kind: 'seat', step: 'coding.7.1', model: aModel() },
    reconcile: {
      kind: 'reconcile',
      idleSteps: ['snapshot.0.1', 'coding.1.1', 'gating.1.1', 'review.1.1.concluder', 'publishing.1.1'],
    },
    cancel,
    go,
    'no-go': noGo,
    retry,
  };
  const unknown = (n: string[]): Record<string, string> => Object.fromEntries(n.map((name) => [name, 'UNKNOWN_TASK']));
  const acts = ['seat coding', 'seat review', 'seat nothing', 'cancel', 'go', 'no-go', 'retry'];
  const illegal = Object.fromEntries(acts.filter((act) => act !== 'cancel').map((act) => [act, 'ILLEGAL_STATE']));
  const cancelled = 'task.cancelled task.closed';
  const quiet = { submit: '', observe: '', reconcile: '' };
  const expected: Record<keyof typeof inPhase, Record<string, string>> = {
    none: { ...unknown(acts), submit: 'task.submitted task.snapshot-requested', observe: '', reconcile: '' },
    submitted: { ...quiet, ...illegal, cancel: cancelled, reconcile: 'task.snapshot-requested' },
    'waiting-for-capacity': { ...quiet, ...illegal, cancel: cancelled, 'seat coding': 'task.coding-requested' },
    coding: { ...quiet, ...illegal, cancel: cancelled, reconcile: 'task.coding-requested' },
    gating: { ...quiet, ...illegal, cancel: cancelled, reconcile: 'task.gating-requested' },
    reviewing: { ...quiet, ...illegal, cancel: cancelled, 'seat review': 'task.review-requested' },
    publishing: { ...quiet, ...illegal, cancel: cancelled, reconcile: 'task.publishing-requested' },
    'awaiting-ruling': {
      ...quiet,
      ...illegal,
      cancel: 'task.cancelled escalation.resolved task.closed',
      go: 'task.ruled escalation.resolved task.publishing-requested',
      'no-go': 'task.ruled escalation.resolved task.closed',
      retry: 'task.retried escalation.resolved task.capacity-awaited',
    },
    closed: { ...quiet, ...illegal, cancel: 'ILLEGAL_STATE' },
  };
  for (const [phase, build] of Object.entries(inPhase)) {
    for (const [name, input] of Object.entries(inputs)) {
      it(`${phase} × ${name}`, () => {
        const world = build();
        expect(world.state.phase).toBe(phase);
        const decision = world.decide(input);
        const got =
          decision.outcome === 'accepted' ? decision.events.map((event) => event.type).join(' ') : decision.code;
        expect(got).toBe(expected[phase as keyof typeof inPhase][name]);
        // The same input a second time: nothing, a refusal, or (reconcile) one more dispatch; never a second cancellation or closing.
        const again = world.decide(input);
        if (again.outcome === 'accepted' && name !== 'reconcile') expect(again.events).toEqual([]);
        expect(world.types.filter((type) => type === 'task.closed').length).toBeLessThanOrEqual(1);
      });
    }
  }
});

describe('faults', () => {
  const kinds = { snapshot: 'submitted', coding: 'coding', gating: 'gating', publishing: 'publishing' } as const;
  const cases = faultCodeNames.flatMap((code) =>
    (Object.keys(kinds) as (keyof typeof kinds)[]).map((kind) => [code, kind] as const),
  );
  it.each(cases)('%s at %s', (code: FaultCode, kind) => {
    const world = inPhase[kinds[kind]]();
    const rule = faultCodes[code];
    const attempt = kind === 'snapshot' ? 0 : 1;
    let tries = 0;
    for (;;) {
      tries += 1;
      const id = `${kind}.${attempt}.${tries}`;
      if (world.step(id).status === 'waiting') world.seat(id);
      world.fail(id, code);
      if (world.step(id).status !== 'retrying') break;
      expect(world.events.at(-1)).toMatchObject({ data: { delayMs: Math.min(2_000 * 2 ** (tries - 1), 120_000) } });
      expect([...world.timers.values()]).toEqual([{ kind: 'retry', step: id }]);
      world.fire('retry', id);
      world.observe();
    }
    expect(tries).toBe(rule.action === 'retry' ? rule.retriesMax + 1 : 1);
    const next = rule.action === 'next-attempt' && (kind === 'coding' || kind === 'gating');
    expect(world.state.phase).toBe(next ? 'waiting-for-capacity' : 'awaiting-ruling');
    // No fault of a machine reads as GO or NO-GO.
    if (kind !== 'publishing') expect(world.state.attempts[0]?.judgement?.verdict ?? 'INCOMPLETE').toBe('INCOMPLETE');
  });

  it.each(['REVIEW_UNPARSEABLE', 'REVIEW_INCONCLUSIVE', 'CONFIG_INVALID'] as const)(
    '%s of a review withholds GO',
    (code) => {
      const world = inPhase
        .reviewing()
        .seat('review.1.1.concluder')
        .fail('review.1.1.concluder', code, 'x'.repeat(2000));
      expect(world.state.attempts[0]?.judgement?.verdict).toBe('INCOMPLETE');
      expect(world.state.phase).toBe('awaiting-ruling');
    },
  );

  it('retries each seat on its own, without waiting for another', () => {
    const world = snapshotted({ policy: twoSeats }).seat('coding.1.1').succeed('coding.1.1').succeed('gating.1.1');
    world.seat('review.1.1.concluder').seat('review.1.1.second').fail('review.1.1.second', 'STREAM_BROKEN');
    expect(world.live).toEqual(['review.1.1.concluder:requested', 'review.1.1.second:retrying']);
  });

  it('frees the memory of the first reviewer while the second still waits', () => {
    const world = snapshotted({ policy: twoSeats }).seat('coding.1.1').succeed('coding.1.1').succeed('gating.1.1');
    world.seat('review.1.1.concluder', 'glm').succeed('review.1.1.concluder');
    expect(world.live).toEqual(['review.1.1.second:waiting']);
    expect(world.grants.size).toBe(0);
  });
});

describe('leases and timers', () => {
  const expire = (step: string, epoch = 1): PlumblineEvent => ({
    type: 'lease.expired',
    data: { step, holder: 'w', epoch },
  });
  it('dispatches a step again when its lease is lost, and gives it up after the third loss', () => {
    const world = inPhase.gating();
    for (const dispatch of [2, 3]) {
      expect(world.record(expire('gating.1.1')).observe()).toMatchObject([
        { type: 'task.gating-requested', data: { dispatch } },
      ]);
    }
    world.record(expire('gating.1.1')).observe();
    expect(world.step('gating.1.1')).toMatchObject({ status: 'retrying', failure: { code: 'WORKER_LOST' } });
    expect(world.closedSteps).toContain('gating.1.1');
  });
  it('dispatches a step that was handed back without holding it against anybody', () => {
    const world = inPhase.gating();
    for (let i = 0; i < 5; i++) {
      world.record({ type: 'lease.released', data: { step: 'gating.1.1', holder: 'w', epoch: i + 1 } }).observe();
    }
    expect(world.step('gating.1.1')).toMatchObject({ status: 'requested', dispatches: 6, leasesLost: 0 });
  });
  it('leaves a step that is handed back again and again to the pace of the reconciler', () => {
    const world = inPhase.gating();
    for (let i = 0; i < 50; i++)
      world.record({ type: 'lease.released', data: { step: 'gating.1.1', holder: 'w', epoch: i + 1 } }).observe();
    expect(world.step('gating.1.1').dispatches).toBe(10);
    expect(world.decide({ kind: 'reconcile', idleSteps: ['gating.1.1'] })).toMatchObject({
      events: [{ data: { dispatch: 11 } }],
    });
  });
  it('does not dispatch a step that somebody took in the meantime', () => {
    const world = inPhase.gating().record(expire('gating.1.1'));
    world.record({ type: 'lease.granted', data: { step: 'gating.1.1', holder: 'w', epoch: 2, ttlMs: 60_000 } });
    expect(world.observe()).toEqual([]);
  });
  it('keeps the model of a step over the loss of a lease', () => {
    const world = inPhase.coding().record(expire('coding.1.1'));
    expect(world.observe()).toMatchObject([
      { type: 'task.coding-requested', data: { dispatch: 2, model: { name: 'coder-30b' } } },
    ]);
    expect(world.grants.size).toBe(1);
  });
  it.each([
    ['coding', 'TIME_BUDGET', 'coding.2.1:waiting'],
    ['gating', 'STEP_DEADLINE', 'gating.1.1:retrying'],
    ['submitted', 'STEP_DEADLINE', 'snapshot.0.1:retrying'],
    ['publishing', 'STEP_DEADLINE', 'publishing.1.1:retrying'],
  ] as const)('gives up a step at its deadline: %s', (phase, code, then) => {
    const world = inPhase[phase]();
    const [step = ''] = world.live.map((entry) => entry.split(':')[0] ?? '');
    world.fire('deadline', step);
    expect(world.observe()[0]).toMatchObject({ type: 'task.step-abandoned', data: { step, code } });
    expect(world.live).toEqual([then]);
    expect(world.closedSteps).toContain(step);
  });
  it('prefers a result that was recorded before anybody looked at the deadline', () => {
    const world = inPhase.gating();
    world.fire('deadline', 'gating.1.1');
    world.succeed('gating.1.1');
    expect(world.state.phase).toBe('reviewing');
  });
  it('takes late timers of steps that are over for nothing', () => {
    const world = inPhase.gating();
    world.fire('deadline', 'coding.1.1');
    world.fire('retry', 'coding.1.1');
    world.fire('deadline', 'coding.44.1');
    expect(world.observe()).toEqual([]);
    expect(world.step('coding.1.1')).toMatchObject({ status: 'succeeded', deadlinePassed: false });
  });
  it('waits for the timer of this retry, not for any that fired before', () => {
    const world = inPhase.gating();
    world.fire('retry', 'gating.1.1');
    world.fail('gating.1.1', 'GATE_ERROR');
    expect(world.live).toEqual(['gating.1.1:retrying']);
  });
  it('cancels the deadline of a step once, not for ever', () => {
    const world = inPhase.gating().succeed('gating.1.1');
    expect(world.timers.size).toBe(0);
    expect(
      Object.values(world.state.steps).filter((step) => step.deadlineSet && step.status === 'succeeded').length,
    ).toBeLessThanOrEqual(1);
  });
});

describe('cancellation', () => {
  it.each([
    'submitted',
    'waiting-for-capacity',
    'coding',
    'gating',
    'reviewing',
    'publishing',
    'awaiting-ruling',
  ] as const)('ends a task that is %s', (phase) => {
    const world = inPhase[phase]();
    world.decide(cancel);
    expect(world.state).toMatchObject({ phase: 'closed', outcome: { outcome: 'cancelled' } });
    expect(world.live).toEqual([]);
    expect(world.timers.size + world.grants.size).toBe(0);
    expect([...world.opened].filter((step) => !world.closedSteps.has(step))).toEqual([]);
    expect(world.state.escalations.some((entry) => entry.open)).toBe(false);
    expect(world.decide(cancel)).toEqual({ outcome: 'accepted', events: [] });
  });
});

describe('zombies and liars', () => {
  it('ignores facts of a try that was superseded', () => {
    const world = inPhase.gating().fail('gating.1.1', 'GATE_ERROR');
    const zombie = successOf(world.state, world.step('gating.1.1'));
    const { version: _v, ...before } = world.state;
    world.record(...zombie, failureOf(world.step('gating.1.1'), 'HARNESS_BUG'));
    const { version: _w, ...after } = world.state;
    expect(after).toEqual(before);
    world.fire('retry', 'gating.1.1');
    world.observe();
    world.record(...zombie);
    expect(world.live).toEqual(['gating.1.2:requested']);
    world.succeed('gating.1.2');
    expect(world.state.attempts[0]?.gate?.step).toBe('gating.1.2');
  });
  it('counts only the checks of the gating try that concluded', () => {
    const world = inPhase.gating();
    const [check] = successOf(world.state, world.step('gating.1.1'), { tests: 'fail' }).slice(1);
    if (check !== undefined) world.record(check);
    world.fail('gating.1.1', 'GATE_ERROR').fire('retry', 'gating.1.1');
    world.observe();
    world.succeed('gating.1.2').seat('review.1.1.concluder', 'glm').succeed('review.1.1.concluder');
    expect(world.state.attempts[0]?.judgement?.verdict).toBe('GO');
  });
  it('attributes a change to the attempt of its step, whatever it says', () => {
    const world = inPhase.coding();
    const [event] = successOf(world.state, world.step('coding.1.1'));
    world.record({ ...event, data: { ...event?.data, attempt: 99 } } as PlumblineEvent);
    expect(world.state.attempts.map((attempt) => attempt.n)).toEqual([1]);
    expect(world.state.attempts[0]?.change?.attempt).toBe(1);
  });
  it('ignores a fact under a step of another kind', () => {
    const world = inPhase.gating();
    world.record({ ...proposed, data: { ...proposed.data, step: 'gating.1.1' } } as PlumblineEvent);
    expect(world.live).toEqual(['gating.1.1:requested']);
  });
  it('counts a review for the seat and the model it was asked of', () => {
    const seats = [
      { seat: 'concluder', canVouch: true },
      { seat: 'drift-specialist', canVouch: false },
    ];
    const policy = aPolicy({ panel: { seats, approvalsMin: 1, familiesMin: 1 } });
    const world = snapshotted({ policy }).seat('coding.1.1').succeed('coding.1.1').succeed('gating.1.1');
    world
      .seat('review.1.1.concluder')
      .seat('review.1.1.drift-specialist', 'gemma')
      .fail('review.1.1.concluder', 'REVIEW_INCONCLUSIVE');
    const review = anApproval({ seat: 'concluder', family: 'made-up', model: 'made-up' });
    world.record({
      type: 'review.concluded',
      data: {
        step: 'review.1.1.drift-specialist',
        attempt: 1,
        seat: 'concluder',
        tree: oid('1'),
        review,
        transcript: { digest: 'ab'.repeat(32), sizeBytes: 1, mediaType: 'x' },
        unseen: [],
      },
    });
    world.observe();
    expect(world.state.attempts[0]?.reviews[0]?.review).toMatchObject({
      seat: 'drift-specialist',
      family: 'gemma',
      model: 'reviewer-gemma',
    });
    expect(world.state.attempts[0]?.judgement?.verdict).toBe('INCOMPLETE');
  });
  it.each(['base', 'head', 'tree'] as const)(
    'does not take a gate of another %s for a gate of this change',
    (field) => {
      const policy = aPolicy({ panel: { seats: [], approvalsMin: 0, familiesMin: 0 } });
      const world = snapshotted({ policy }).seat('coding.1.1').succeed('coding.1.1');
      const facts = successOf(world.state, world.step('gating.1.1'));
      const last = facts.pop();
      world.record(...facts, { ...last, data: { ...last?.data, [field]: oid('f') } } as PlumblineEvent);
      world.observe();
      expect(world.state.attempts[0]?.judgement?.verdict).toBe('INCOMPLETE');
    },
  );
  it('does not judge a change on another base than the snapshot', () => {
    const policy = aPolicy({ panel: { seats: [], approvalsMin: 0, familiesMin: 0 } });
    const world = snapshotted({ policy }).seat('coding.1.1');
    world.record({ ...proposed, data: { ...proposed.data, base: oid('f') } } as PlumblineEvent);
    world.observe();
    const facts = successOf(world.state, world.step('gating.1.1'));
    const last = facts.pop();
    world.record(...facts, { ...last, data: { ...last?.data, base: oid('f') } } as PlumblineEvent);
    world.observe();
    expect(world.state.attempts[0]?.judgement?.verdict).toBe('INCOMPLETE');
  });
  it('lets nothing reopen a step that is over, or a task that is closed', () => {
    const world = inPhase.gating();
    world.record(coding, awaited, {
      type: 'task.step-retry-scheduled',
      data: { step: 'coding.1.1', nextStep: 'coding.1.2', code: 'GATE_ERROR', delayMs: 1 },
    });
    expect(world.step('coding.1.1').status).toBe('succeeded');
    const closed = inPhase.closed();
    const { version, ...before } = closed.state;
    closed.record(
      submitted,
      asked,
      taken,
      awaited,
      coding,
      proposed,
      { type: 'task.retried', data: by },
      { type: 'task.ruled', data: { decision: 'go', ...by, attempt: 1 } },
    );
    expect(closed.state).toEqual({ ...before, version: version + 8 });
  });
});
