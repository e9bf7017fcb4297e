import type { ReasonId } from '../check.js';
import type { PlumblineEvent } from '../events/catalogue.js';
import { cut } from '../cut.js';
import { faultCodes, retryDelayMs, type FaultCode } from '../faults.js';
import { stepId } from '../names.js';
import { adjudicate, type Facts } from '../verdict.js';
import { firstSnapshot, publishLabel, redispatch, request } from './request.js';
import {
  currentAttempt,
  latestStep,
  liveSteps,
  openEscalation,
  type AttemptState,
  type StepState,
  type TaskState,
} from './state.js';

/**
 * What follows from a task's history by itself: the next events, or none when it waits for somebody. Level-triggered: it looks at where the
 * task is and never at which message said so, so that a lost or repeated message changes nothing.
 */
export function react(state: TaskState): PlumblineEvent[] {
  if (state.phase === 'none' || state.phase === 'closed' || state.submission === undefined) return [];
  for (const step of liveSteps(state)) {
    const events = tend(state, step);
    if (events.length > 0) return events;
  }
  switch (state.phase) {
    case 'submitted':
      return afterSnapshot(state);
    case 'waiting-for-capacity':
    case 'coding':
      return afterCoding(state);
    case 'gating':
      return afterGating(state);
    case 'reviewing':
      return afterReviews(state);
    case 'judged':
      return afterJudgement(state);
    case 'publishing':
      return afterPublishing(state);
    case 'retrying':
    case 'escalated':
      return openAttempt(state);
    case 'awaiting-ruling':
      return [];
  }
}

/** A live step that needs something: its lease was lost, its deadline passed, or its retry is due. */
function tend(state: TaskState, step: StepState): PlumblineEvent[] {
  if (step.status === 'retrying' && step.retryDue && step.nextStep !== undefined)
    return request(state, step, step.nextStep);
  if (step.status !== 'requested') return [];
  if (step.deadlinePassed) {
    const code: FaultCode = step.kind === 'coding' ? 'TIME_BUDGET' : 'STEP_DEADLINE';
    return [
      { type: 'task.step-abandoned', data: { step: step.id, code, detail: `not done by its deadline (${step.kind})` } },
    ];
  }
  if (!step.unattended) return [];
  if (step.leasesLost > faultCodes.WORKER_LOST.retriesMax) {
    return [
      {
        type: 'task.step-abandoned',
        data: { step: step.id, code: 'WORKER_LOST', detail: `${step.leasesLost} leases of this step expired` },
      },
    ];
  }
  // A worker that claims and hands back at once must not make a loop as fast as the machine: from here on the reconciler sets the pace.
  return step.dispatches < dispatchesAtOnceMax ? redispatch(state, step.id) : [];
}

const dispatchesAtOnceMax = 10;

/** After a failed step: its next try while its code allows one, else `giveUp`. */
function retryOr(
  step: StepState,
  giveUp: (failure: { code: FaultCode; detail: string }) => PlumblineEvent[],
  tries: number,
): PlumblineEvent[] {
  const failure = step.failure ?? { code: 'HARNESS_BUG' as const, detail: 'the step failed without a code' };
  if (faultCodes[failure.code].action !== 'retry' || tries > faultCodes[failure.code].retriesMax)
    return giveUp(failure);
  const { kind, attempt, seat } = step;
  const nextStep = stepId({ kind, attempt, try: step.try + 1, ...(seat === undefined ? {} : { seat }) });
  return [
    {
      type: 'task.step-retry-scheduled',
      data: { step: step.id, nextStep, code: failure.code, delayMs: retryDelayMs(step.try) },
    },
  ];
}

const isOver = (step: StepState): boolean => step.status === 'failed' || step.status === 'abandoned';

function afterSnapshot(state: TaskState): PlumblineEvent[] {
  const step = latestStep(state, 'snapshot', 0);
  if (step === undefined) return request(state, { kind: 'snapshot', attempt: 0 }, firstSnapshot);
  if (step.status === 'succeeded') return openAttempt(state);
  if (!isOver(step)) return [];
  return retryOr(
    step,
    ({ code, detail }) => escalateToHuman(state, [`no snapshot of base: ${code}: ${detail}`]),
    step.try,
  );
}

/** Opens the next attempt: a coding step that waits for a model of the current tier. */
function openAttempt(state: TaskState): PlumblineEvent[] {
  if (state.snapshot === undefined) {
    // A human asked for another try of a task whose base could not be had: the snapshot comes first again.
    const last = latestStep(state, 'snapshot', 0);
    return request(
      state,
      { kind: 'snapshot', attempt: 0 },
      stepId({ kind: 'snapshot', attempt: 0, try: (last?.try ?? 0) + 1 }),
    );
  }
  const attempt = (currentAttempt(state)?.n ?? 0) + 1;
  return request(state, { kind: 'coding', attempt }, stepId({ kind: 'coding', attempt, try: 1 }));
}

function afterCoding(state: TaskState): PlumblineEvent[] {
  const attempt = currentAttempt(state);
  const step = attempt === undefined ? undefined : latestStep(state, 'coding', attempt.n);
  if (attempt === undefined || step === undefined) return [];
  if (step.status === 'succeeded')
    return request(
      state,
      { kind: 'gating', attempt: attempt.n },
      stepId({ kind: 'gating', attempt: attempt.n, try: 1 }),
    );
  if (!isOver(step)) return [];
  return retryOr(step, (failure) => judge(state, attempt, failure), step.try);
}

function afterGating(state: TaskState): PlumblineEvent[] {
  const attempt = currentAttempt(state);
  const step = attempt === undefined ? undefined : latestStep(state, 'gating', attempt.n);
  if (attempt === undefined || step === undefined) return [];
  if (step.status === 'succeeded') {
    const seats = state.submission?.policy.panel.seats ?? [];
    if (seats.length === 0) return judge(state, attempt);
    return seats.flatMap(({ seat }) =>
      request(
        state,
        { kind: 'review', attempt: attempt.n, seat },
        stepId({ kind: 'review', attempt: attempt.n, try: 1, seat }),
      ),
    );
  }
  if (!isOver(step)) return [];
  return retryOr(step, (failure) => judge(state, attempt, failure), step.try);
}

function afterReviews(state: TaskState): PlumblineEvent[] {
  const attempt = currentAttempt(state);
  if (attempt === undefined) return [];
  const steps = (state.submission?.policy.panel.seats ?? []).flatMap(
    ({ seat }) => latestStep(state, 'review', attempt.n, seat) ?? [],
  );
  // Each seat is tried again on its own; no seat waits for another to end first.
  const retried = steps.filter(isOver).flatMap((step) => retryOr(step, () => [], step.try));
  if (retried.length > 0) return retried;
  return steps.every((step) => isOver(step) || step.status === 'succeeded') ? judge(state, attempt) : [];
}

/** The verdict on an attempt, folded from what is recorded of it. */
function judge(state: TaskState, attempt: AttemptState, cause?: { code: FaultCode; detail: string }): PlumblineEvent[] {
  const { submission } = state;
  if (submission === undefined) return [];
  const facts = factsOf(state, attempt);
  const judgement = adjudicate(submission.policy, facts);
  // The reason an attempt brought no evidence is itself a reason, and the first one people want to read.
  const reasons =
    cause === undefined
      ? judgement.reasons
      : judgement.reasons.map((reason) =>
          reason.check === 'attempt' || reason.check === 'gate'
            ? { ...reason, summary: cut(`${reason.summary}: ${cause.code}: ${cause.detail}`, 600) }
            : reason,
        );
  return [
    {
      type: 'verdict.reached',
      data: {
        attempt: attempt.n,
        judgement: { ...judgement, reasons },
        policy: submission.policy.name,
        subject: facts.subject,
        ...(cause === undefined ? {} : { cause }),
      },
    },
  ];
}

/** The recorded facts of an attempt in the shape the verdict is folded from. Used again by replay and by `plumb show`. */
export function factsOf(state: TaskState, attempt: AttemptState): Facts {
  const { change } = attempt;
  // A gate that looked at another change, or at this one against another base, has not looked at this change.
  const gate =
    attempt.gate !== undefined &&
    attempt.gate.base === change?.base &&
    attempt.gate.head === change.head &&
    change.base === state.snapshot?.base
      ? attempt.gate
      : undefined;
  return {
    subject: change === undefined ? null : { base: change.base, head: change.head, tree: change.tree },
    taskId: state.submission?.taskId ?? '',
    attempt: attempt.n,
    issue: state.submission?.issue ?? { title: '', body: '' },
    gate: gate === undefined ? null : { tree: gate.tree, concluded: gate.concluded, hunks: gate.hunks },
    checks: attempt.checks.filter((entry) => entry.step === gate?.step).map((entry) => entry.result),
    reviews: attempt.reviews,
    unreviewed: unreviewedSeats(state, attempt.n),
  };
}

function unreviewedSeats(state: TaskState, attempt: number): { seat: string; why: string }[] {
  return (state.submission?.policy.panel.seats ?? []).flatMap(({ seat }) => {
    const failure = latestStep(state, 'review', attempt, seat)?.failure;
    return failure === undefined ? [] : [{ seat, why: `${failure.code}: ${failure.detail}` }];
  });
}

function afterJudgement(state: TaskState): PlumblineEvent[] {
  const attempt = currentAttempt(state);
  const verdict = attempt?.judgement?.verdict ?? null;
  // A ruling is about the attempt it was made on; a later attempt is judged on its own.
  const ruling =
    state.ruling !== undefined && state.ruling.attempt === (attempt?.n ?? 0) ? state.ruling.decision : undefined;
  if (ruling === 'no-go') return [{ type: 'task.closed', data: { outcome: 'no-go', verdict } }];
  if (attempt !== undefined && (verdict === 'GO' || ruling === 'go')) return publishOrClose(state, attempt);
  return nextAfterFailure(state, attempt);
}

function publishOrClose(state: TaskState, attempt: AttemptState): PlumblineEvent[] {
  if (state.submission?.publish === 'none') return [closedAsGo(state)];
  const last = latestStep(state, 'publishing', attempt.n);
  return request(
    state,
    { kind: 'publishing', attempt: attempt.n },
    stepId({ kind: 'publishing', attempt: attempt.n, try: (last?.try ?? 0) + 1 }),
  );
}

/** NO-GO and INCOMPLETE never end in silence: another attempt, a bigger tier, or a human. */
function nextAfterFailure(state: TaskState, attempt: AttemptState | undefined): PlumblineEvent[] {
  const perTier = state.submission?.policy.attempts.perTier ?? [1];
  const reasons = (attempt?.judgement?.reasons ?? [])
    .map((reason) => cut(`${reason.check}: ${reason.summary}`, 500))
    .slice(0, 50);
  if (attempt === undefined || !coderCanMend(attempt)) return escalateToHuman(state, reasons);
  const used = state.attempts.filter((other) => other.tier === state.tier).length;
  if (used < (perTier[state.tier - 1] ?? 1)) return openAttempt(state);
  if (state.tier >= perTier.length) return escalateToHuman(state, reasons);
  return [{ type: 'escalation.opened', data: { ...escalation(state, reasons), to: 'tier', tier: state.tier + 1 } }];
}

const reviewRails: readonly ReasonId[] = ['panel', 'evidence', 'grounding', 'empty-claim'];

/** Whether another attempt at the code could change the verdict: not when a machine, an operator or only the reviewers stood in the way. */
function coderCanMend(attempt: AttemptState): boolean {
  if (attempt.cause !== undefined) return faultCodes[attempt.cause.code].action === 'next-attempt';
  const reasons = attempt.judgement?.reasons ?? [];
  return reasons.some((reason) => reason.effect === 'block' || !reviewRails.includes(reason.check));
}

function escalateToHuman(state: TaskState, reasons: string[]): PlumblineEvent[] {
  if (openEscalation(state) !== undefined) return [];
  return [{ type: 'escalation.opened', data: { ...escalation(state, reasons), to: 'human' } }];
}

function escalation(state: TaskState, reasons: string[]) {
  return {
    escalationId: `${state.submission?.taskId ?? ''}.${state.escalations.length + 1}`,
    attempt: currentAttempt(state)?.n ?? 0,
    reasons: reasons.length > 0 ? reasons.map((reason) => cut(reason, 500)) : ['no reason was recorded'],
    tried: state.attempts.slice(-100).map((attempt) => ({
      attempt: attempt.n,
      model: attempt.model ?? 'none',
      verdict: attempt.judgement?.verdict ?? 'none',
    })),
  };
}

function afterPublishing(state: TaskState): PlumblineEvent[] {
  const attempt = currentAttempt(state);
  const step = attempt === undefined ? undefined : latestStep(state, 'publishing', attempt.n);
  if (step === undefined) return [];
  if (step.status === 'succeeded') return [closedAsGo(state)];
  if (!isOver(step)) return [];
  return retryOr(
    step,
    ({ code, detail }) =>
      escalateToHuman(state, [
        `the branch could not be published: ${code}: ${cut(detail, 300)} (rule go to publish again, retry for another attempt)`,
      ]),
    step.try,
  );
}

/** The end of a task whose change may be merged, under the label that says whether the rules or only a human let it pass. */
function closedAsGo(state: TaskState): PlumblineEvent {
  return publishLabel(state) === 'GO'
    ? { type: 'task.closed', data: { outcome: 'go', verdict: 'GO' } }
    : { type: 'task.closed', data: { outcome: 'go-waived', verdict: 'GO-WAIVED' } };
}
