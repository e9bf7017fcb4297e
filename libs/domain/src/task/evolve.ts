import { eventCatalogue, type EventData, type PlumblineEvent, type SeatedModel } from '../events/catalogue.js';
import type { FaultCode } from '../faults.js';
import { parseStepId, type StepId, type StepKind } from '../names.js';
import type { AttemptState, StepState, TaskPhase, TaskState } from './state.js';

/**
 * Folds one recorded event into a task's state. Pure and total over every event type: what does not belong to a task's history leaves only
 * the version behind. A fact about a step that is over changes nothing: the first end of a step is its end; a closed task stays closed.
 * What a worker says about itself is not believed where its step says it too: attempt, seat and model are those of the step.
 */
export function evolve(state: TaskState, event: PlumblineEvent & { at?: string }): TaskState {
  const next = { ...state, version: state.version + 1, ...(isDecided(event) ? { steps: timersCleared(state) } : {}) };
  if (state.phase === 'closed') return next;
  switch (event.type) {
    case 'task.submitted':
      return {
        ...next,
        phase: 'submitted',
        submission: event.data,
        ...(event.at === undefined ? {} : { submittedAt: event.at }),
      };
    case 'task.snapshot-requested':
    case 'task.gating-requested':
    case 'task.publishing-requested':
    case 'task.coding-requested':
    case 'task.review-requested':
      return requested(next, event.data, phaseOfRequest[event.type]);
    case 'task.admission-refused':
      return patchStep(next, event.data.step, (step) =>
        step.status === 'waiting' ? { refused: event.data.reasons } : {},
      );
    case 'task.capacity-awaited':
      return awaited(next, event.data);
    case 'snapshot.taken':
      return ended(next, event.data.step, 'snapshot', (s) => ({ ...s, snapshot: event.data }));
    case 'change.proposed':
      return ended(next, event.data.step, 'coding', (s, step) =>
        patchAttempt(s, step.attempt, { change: { ...event.data, attempt: step.attempt } }),
      );
    case 'attempt.ended':
    case 'snapshot.failed':
    case 'gate.failed':
    case 'review.failed':
    case 'publish.failed':
    case 'task.step-abandoned':
      return failed(next, event.data, event.type === 'task.step-abandoned' ? 'abandoned' : 'failed');
    case 'check.concluded':
      return whileRequested(next, event.data.step, 'gating', (s, step) => {
        const known = s.attempts.find((a) => a.n === step.attempt)?.checks ?? [];
        return patchAttempt(s, step.attempt, { checks: [...known, { step: step.id, result: event.data.result }] });
      });
    case 'gate.concluded': {
      const { step, base, head, tree, concluded, hunks } = event.data;
      return ended(next, step, 'gating', (s, live) =>
        patchAttempt(s, live.attempt, { gate: { step, base, head, tree, concluded, hunks } }),
      );
    }
    case 'review.concluded':
      return reviewed(next, event.data);
    case 'verdict.reached': {
      const { attempt, judgement, cause } = event.data;
      return {
        ...patchAttempt(next, attempt, { judgement, ...(cause === undefined ? {} : { cause }) }),
        phase: 'judged',
      };
    }
    case 'change.published':
      return ended(next, event.data.step, 'publishing', (s) => ({
        ...s,
        published: { branch: event.data.branch, head: event.data.head },
      }));
    case 'task.step-retry-scheduled':
      return patchStep(next, event.data.step, (step) =>
        isOver(step) && step.status !== 'succeeded' ? { status: 'retrying', nextStep: event.data.nextStep } : {},
      );
    case 'timer.fired':
      return timerFired(next, event.data);
    case 'lease.expired':
      return patchStep(next, event.data.step, (step) =>
        step.status === 'requested' ? { leasesLost: step.leasesLost + 1, leased: false, unattended: true } : {},
      );
    case 'lease.released':
      return patchStep(next, event.data.step, (step) => (step.status === 'requested' ? { unattended: true } : {}));
    case 'lease.granted':
      return patchStep(next, event.data.step, () => ({ leased: true, unattended: false }));
    case 'escalation.opened': {
      const { escalationId, to, attempt, reasons, tier } = event.data;
      const escalations = [...next.escalations, { id: escalationId, to, attempt, reasons, open: to === 'human' }];
      return {
        ...next,
        escalations,
        ...(tier === undefined ? {} : { tier }),
        phase: to === 'human' ? 'awaiting-ruling' : 'escalated',
      };
    }
    case 'escalation.resolved':
      return {
        ...next,
        escalations: state.escalations.map((e) => (e.id === event.data.escalationId ? { ...e, open: false } : e)),
      };
    case 'task.ruled':
      return { ...next, ruling: event.data, phase: 'judged' };
    case 'task.retried':
      return { ...next, phase: 'retrying' };
    case 'task.cancelled':
      return { ...next, steps: mapSteps(next, (step) => (isOver(step) ? {} : { status: 'abandoned' })) };
    case 'task.closed':
      return { ...next, phase: 'closed', outcome: event.data };
    case 'turn.recorded':
    case 'lease.result-refused':
    case 'log.epoch-started':
    case 'node.registered':
    case 'model.ready':
    case 'model.unreachable':
    case 'grant.reserved':
    case 'grant.released':
      return next;
  }
}

const phaseOfRequest = {
  'task.snapshot-requested': 'submitted',
  'task.coding-requested': 'coding',
  'task.gating-requested': 'gating',
  'task.review-requested': 'reviewing',
  'task.publishing-requested': 'publishing',
} as const satisfies Record<string, TaskPhase>;

const isOver = (step: StepState): boolean =>
  step.status === 'succeeded' || step.status === 'failed' || step.status === 'abandoned';

const isDecided = (event: PlumblineEvent): boolean => eventCatalogue[event.type].owner === 'scheduler';

/** A decision cancels the deadlines of the steps that were over before it, in the same transaction; nothing has to cancel them again. */
function timersCleared(state: TaskState): Record<StepId, StepState> {
  return mapSteps(state, (step) => (isOver(step) && step.deadlineSet ? { deadlineSet: false } : {}));
}

function freshStep(id: StepId, status: StepState['status']): StepState {
  return {
    id,
    ...parseStepId(id),
    status,
    dispatches: 0,
    leasesLost: 0,
    leased: false,
    unattended: false,
    deadlineSet: false,
    deadlinePassed: false,
    retryDue: false,
  };
}

/** A step is put on the bus, for the first time or again. Its earlier try, if it waited for this one, is over. */
function requested(
  state: TaskState,
  data: { step: StepId; dispatch: number; model?: SeatedModel },
  phase: TaskPhase,
): TaskState {
  const known = state.steps[data.step] ?? freshStep(data.step, 'requested');
  if (isOver(known) || known.status === 'retrying') return state;
  const step: StepState = {
    ...known,
    status: 'requested',
    dispatches: data.dispatch,
    deadlineSet: known.deadlineSet || data.dispatch === 1,
    unattended: false,
    ...(data.model === undefined ? {} : { model: data.model }),
  };
  const next = { ...state, phase, steps: { ...settleEarlierTries(state, step), [step.id]: step } };
  if (step.kind !== 'coding' || data.model === undefined) return next;
  return patchAttempt(next, step.attempt, { model: data.model.name, family: data.model.family });
}

function awaited(state: TaskState, data: EventData<'task.capacity-awaited'>): TaskState {
  if (state.steps[data.step] !== undefined) return state;
  const step = freshStep(data.step, 'waiting');
  const next = { ...state, steps: { ...settleEarlierTries(state, step), [step.id]: step } };
  if (step.kind !== 'coding') return { ...next, phase: 'reviewing' };
  return { ...patchAttempt(next, step.attempt, { tier: data.tier }), phase: 'waiting-for-capacity' };
}

function settleEarlierTries(state: TaskState, step: StepState): Record<StepId, StepState> {
  return mapSteps(state, (other) =>
    other.status === 'retrying' && other.nextStep === step.id ? { status: 'failed' } : {},
  );
}

/** A review counts for the seat it was asked of and as the model that was seated there, whatever it calls itself. */
function reviewed(state: TaskState, data: EventData<'review.concluded'>): TaskState {
  return ended(state, data.step, 'review', (s, step) => {
    const { model, seat } = step;
    const review = {
      ...data.review,
      ...(seat === undefined ? {} : { seat }),
      ...(model === undefined ? {} : { model: model.name, family: model.family }),
    };
    const known = s.attempts.find((attempt) => attempt.n === step.attempt)?.reviews ?? [];
    return patchAttempt(s, step.attempt, { reviews: [...known, { tree: data.tree, review }] });
  });
}

/** Records a step's success and what it brought, unless the step is over or of another kind. */
function ended(
  state: TaskState,
  id: StepId,
  kind: StepKind,
  then: (state: TaskState, step: StepState) => TaskState,
): TaskState {
  return whileRequested(state, id, kind, (live, step) =>
    then(
      patchStep(live, id, () => ({ status: 'succeeded' })),
      step,
    ),
  );
}

function failed(
  state: TaskState,
  data: { step: StepId; code: FaultCode; detail: string },
  status: 'failed' | 'abandoned',
): TaskState {
  const { step, code, detail } = data;
  return patchStep(state, step, (live) => (live.status === 'requested' ? { status, failure: { code, detail } } : {}));
}

/** Only a requested step can have a worker, so only a requested step has facts; a step that waits for its retry is over for its worker. */
function whileRequested(
  state: TaskState,
  id: StepId,
  kind: StepKind,
  then: (state: TaskState, step: StepState) => TaskState,
): TaskState {
  const step = state.steps[id];
  return step !== undefined && step.status === 'requested' && step.kind === kind ? then(state, step) : state;
}

function timerFired(state: TaskState, data: EventData<'timer.fired'>): TaskState {
  return patchStep(state, data.data.step, (step) => {
    if (data.kind === 'deadline') return { deadlineSet: false, deadlinePassed: step.status === 'requested' };
    if (data.kind === 'retry' && step.status === 'retrying') return { retryDue: true };
    return {};
  });
}

function patchStep(state: TaskState, id: StepId, patch: (step: StepState) => Partial<StepState>): TaskState {
  const step = state.steps[id];
  return step === undefined ? state : { ...state, steps: { ...state.steps, [id]: { ...step, ...patch(step) } } };
}

function mapSteps(state: TaskState, patch: (step: StepState) => Partial<StepState>): Record<StepId, StepState> {
  return Object.fromEntries(Object.entries(state.steps).map(([id, step]) => [id, { ...step, ...patch(step) }]));
}

function patchAttempt(state: TaskState, n: number, patch: Partial<AttemptState>): TaskState {
  const known = state.attempts.find((attempt) => attempt.n === n);
  if (known !== undefined)
    return {
      ...state,
      attempts: state.attempts.map((attempt) => (attempt.n === n ? { ...attempt, ...patch } : attempt)),
    };
  const fresh: AttemptState = { n, tier: state.tier, checks: [], reviews: [] };
  return { ...state, attempts: [...state.attempts, { ...fresh, ...patch }] };
}
