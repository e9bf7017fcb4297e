import type { CheckDocument, TaskDocument, WhyReason } from '../contracts.js';
import type { WireEvent } from '../door.js';
import { decodeEvent } from '../events/codec.js';
import type { WaitReason } from '../fleet/fleet.js';
import { effectOf } from '../policy.js';
import { latestStep, liveSteps, openEscalation, type AttemptState, type StepState, type TaskState } from './state.js';
import { summariseEvent } from './summaries.js';

/**
 * A task as people and machines are shown it. Pure: the same history always gives the same document. `events` are the task's events as
 * recorded; `position` in the log is shown where known, else the version within the task's stream. Throws for a task that was never
 * submitted: there is nothing to show.
 */
export function projectTask(state: TaskState, events: readonly (WireEvent & { position?: number })[]): TaskDocument {
  const { submission, phase, outcome, published } = state;
  if (submission === undefined || phase === 'none') throw new Error('the task was never submitted');
  return {
    schema: 'plumbline.task/1',
    task: {
      id: submission.taskId,
      state: phase,
      repository: submission.repository.url,
      base: state.snapshot?.base ?? submission.repository.base,
      issue: submission.issue,
      policy: submission.policy.name,
      ...(state.submittedAt === undefined ? {} : { submittedAt: state.submittedAt }),
      ...(outcome === undefined ? {} : { outcome: outcome.outcome }),
      ...(published === undefined ? {} : { published }),
    },
    attempts: state.attempts.map((attempt) => attemptDocument(state, attempt)),
    ...verdictOf(state),
    escalations: state.escalations.map(({ id, to, attempt, reasons, open }) => ({ id, to, attempt, reasons, open })),
    timeline: events.map((event) => ({
      position: event.position ?? event.version,
      at: event.at,
      type: event.type,
      summary: summaryOf(event),
    })),
  };
}

function summaryOf(event: WireEvent): string {
  const decoded = decodeEvent(event);
  if (decoded.outcome === 'event') return summariseEvent(decoded.event);
  return decoded.outcome === 'unknown'
    ? 'an event that this version of Plumbline does not know'
    : 'an event that cannot be read';
}

/** The verdict on the last attempt that has one, under the label it was published with. */
function verdictOf(state: TaskState): Pick<TaskDocument, 'verdict'> {
  const judgement = state.attempts.findLast((attempt) => attempt.judgement !== undefined)?.judgement;
  if (judgement === undefined) return {};
  const waived = state.outcome?.outcome === 'go-waived';
  const { reasons, advice } = judgement;
  return { verdict: { verdict: waived ? 'GO-WAIVED' : judgement.verdict, reasons, advice } };
}

function attemptDocument(state: TaskState, attempt: AttemptState): TaskDocument['attempts'][number] {
  const { n, tier, change, cause, judgement } = attempt;
  return {
    n,
    tier,
    model: attempt.model ?? null,
    node: latestStep(state, 'coding', n)?.model?.node ?? null,
    ...(change === undefined
      ? {}
      : {
          change: {
            base: change.base,
            head: change.head,
            tree: change.tree,
            bundle: change.bundle.digest,
            summary: change.summary,
            files: change.files,
          },
        }),
    ...(cause === undefined ? {} : { ended: cause }),
    ...(judgement === undefined ? {} : { verdict: judgement.verdict }),
    checks: attempt.checks
      .filter((entry) => attempt.gate === undefined || entry.step === attempt.gate.step)
      .map((entry) => checkDocument(state, entry.result)),
    reviews: attempt.reviews.map(({ review: { seat, model, family, decision, findings } }) => ({
      seat,
      model,
      family,
      decision,
      findings: findings.map(({ severity, category, claim }) => ({ severity, category, claim })),
    })),
  };
}

function checkDocument(
  state: TaskState,
  result: AttemptState['checks'][number]['result'],
): TaskDocument['attempts'][number]['checks'][number] {
  const { check, outcome, summary, predicate, durationMs, findings, evidence } = result;
  const effect: CheckDocument['checks'][number]['effect'] =
    state.submission === undefined ? 'block' : effectOf(state.submission.policy, check);
  return {
    check,
    outcome,
    effect,
    summary,
    ...(predicate === undefined ? {} : { predicate }),
    durationMs,
    findings,
    evidence: evidence.map((ref) => ref.digest),
  };
}

/**
 * Why a task is where it is: what it waits for, or what is being done. Never empty for a task that was submitted. `admissions` are the
 * reasons, by step, why no model was admitted, from whoever tried last.
 */
export function explainWait(
  state: TaskState,
  admissions: Readonly<Record<string, readonly WaitReason[]>> = {},
): WhyReason[] {
  if (state.phase === 'none') return [];
  if (state.phase === 'closed') {
    const { outcome, verdict } = state.outcome ?? { outcome: 'closed', verdict: null };
    return [{ code: 'CLOSED', message: `the task is closed: ${outcome}, verdict ${verdict ?? 'none'}`, numbers: {} }];
  }
  const open = openEscalation(state);
  if (open !== undefined) {
    const because = open.reasons.map((message) => ({ code: 'ESCALATED_BECAUSE', message, numbers: {} }));
    const message = `waits for a human since attempt ${open.attempt}: rule go, rule no-go, retry or cancel`;
    return [{ code: 'AWAITING_RULING', message, numbers: { attempt: open.attempt } }, ...because];
  }
  const steps = liveSteps(state).flatMap((step) => explainStep(step, admissions[step.id] ?? step.refused ?? []));
  return steps.length > 0
    ? steps
    : [{ code: 'BEING_DECIDED', message: `the next step after ${state.phase} is being decided`, numbers: {} }];
}

function explainStep(step: StepState, refused: readonly WaitReason[]): WhyReason[] {
  const numbers = { attempt: step.attempt, try: step.try };
  if (step.status === 'waiting') {
    const seat = step.seat ?? 'coder';
    return [
      { code: 'WAITING_FOR_MODEL', message: `${step.id} waits for a model for the seat ${seat}`, numbers },
      ...refused,
    ];
  }
  if (step.status === 'retrying') {
    const why = step.failure === undefined ? '' : ` after ${step.failure.code}: ${step.failure.detail}`;
    return [{ code: 'RETRY_SCHEDULED', message: `${step.id} is tried again soon${why}`, numbers }];
  }
  const counts = { ...numbers, dispatches: step.dispatches, leasesLost: step.leasesLost };
  const where = step.model === undefined ? '' : ` by ${step.model.name} on ${step.model.node}`;
  return step.unattended || !step.leased
    ? [{ code: 'WAITING_FOR_WORKER', message: `${step.id} waits for a worker to take it`, numbers: counts }]
    : [{ code: 'IN_PROGRESS', message: `${step.id} is being done${where}`, numbers: counts }];
}
