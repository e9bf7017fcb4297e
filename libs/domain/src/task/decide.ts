import type { PlumblineEvent, SeatedModel } from '../events/catalogue.js';
import { cut } from '../cut.js';
import type { WaitReason } from '../fleet/fleet.js';
import type { StepId } from '../names.js';
import { evolve } from './evolve.js';
import { react } from './react.js';
import { feedbackFor, redispatch } from './request.js';
import { openEscalation, type TaskState } from './state.js';

/** What reaches the process manager. Facts of workers, leases and timers are in the history already: `observe` asks what follows from it. */
export type TaskInput =
  | { kind: 'submit'; submitted: Extract<PlumblineEvent, { type: 'task.submitted' }>['data'] }
  | { kind: 'observe' }
  /** A model was admitted for a step that waits for one. */
  | { kind: 'seat'; step: StepId; model: SeatedModel }
  /** No model could be admitted for a step that waits for one. */
  | { kind: 'wait'; step: StepId; reasons: readonly WaitReason[] }
  /** These steps have no live lease although they were dispatched a while ago: their message may be lost. */
  | { kind: 'reconcile'; idleSteps: readonly StepId[] }
  | { kind: 'cancel'; by: string; why: string }
  /** `attempt` is the attempt the person looked at: a ruling that names one is refused when a later one has taken its place. */
  | { kind: 'rule'; decision: 'go' | 'no-go'; by: string; why: string; attempt?: number }
  | { kind: 'retry'; by: string; why: string };

export type Decision =
  | { outcome: 'accepted'; events: PlumblineEvent[] }
  | { outcome: 'refused'; code: 'UNKNOWN_TASK' | 'ILLEGAL_STATE'; message: string };

const accepted = (events: PlumblineEvent[]): Decision => ({ outcome: 'accepted', events });
const refused = (code: 'UNKNOWN_TASK' | 'ILLEGAL_STATE', message: string): Decision => ({
  outcome: 'refused',
  code,
  message,
});

/**
 * The process manager: what is to be recorded next, given a task's history and one input. Pure: no clock, no
 * luck, no I/O; time reaches it only as recorded `timer.fired` events. An input that changes nothing is accepted with no events, so that every message may arrive twice.
 */
export function decide(state: TaskState, input: TaskInput): Decision {
  if (input.kind === 'submit') {
    if (state.phase !== 'none') return accepted([]);
    return settle(state, [{ type: 'task.submitted', data: input.submitted }]);
  }
  if (state.phase === 'none') {
    return input.kind === 'observe' || input.kind === 'reconcile'
      ? accepted([])
      : refused('UNKNOWN_TASK', 'there is no such task: nothing was submitted under this id');
  }
  switch (input.kind) {
    case 'observe':
      return settle(state, []);
    case 'seat':
      return seat(state, input);
    case 'wait':
      return accepted(waits(state, input));
    case 'reconcile':
      return reconcile(state, input.idleSteps);
    case 'cancel':
      return cancel(state, input);
    case 'rule':
      return rule(state, input);
    case 'retry':
      return retry(state, input);
  }
}

/** Applies the first events and adds all that follows from them, so that a decision and its consequences are recorded together. */
function settle(state: TaskState, first: PlumblineEvent[]): Decision {
  const events = [...first];
  let current = first.reduce(evolve, state);
  // Each round moves at least one step or phase on; a history long enough to exceed this bound would be a bug, not a task.
  for (let round = 0; round < 100; round++) {
    const more = react(current);
    if (more.length === 0) return accepted(events);
    events.push(...more);
    current = more.reduce(evolve, current);
  }
  throw new Error('the process manager does not come to rest');
}

/** Recorded once for each kind of obstacle: the numbers change with every other task's grant, and would fill the history with noise. */
function waits(state: TaskState, input: { step: StepId; reasons: readonly WaitReason[] }): PlumblineEvent[] {
  const step = state.steps[input.step];
  const kinds = (reasons: readonly WaitReason[]): string =>
    [...new Set(reasons.map((reason) => reason.code))].sort().join();
  if (step?.status !== 'waiting' || input.reasons.length === 0) return [];
  if (kinds(input.reasons) === kinds(step.refused ?? [])) return [];
  const reasons = input.reasons.slice(0, 20).map((reason) => ({ ...reason, message: cut(reason.message, 500) }));
  return [{ type: 'task.admission-refused', data: { step: step.id, reasons } }];
}

/** First what follows anyway, in case the message that said so was lost; the rest is asked for once more. */
function reconcile(state: TaskState, idleSteps: readonly StepId[]): Decision {
  const settled = settle(state, []);
  if (settled.outcome === 'refused' || settled.events.length > 0 || state.phase === 'closed') return settled;
  return accepted([...new Set(idleSteps)].flatMap((id) => redispatch(state, id)));
}

function seat(state: TaskState, input: { step: StepId; model: SeatedModel }): Decision {
  const step = state.steps[input.step];
  if (step === undefined || step.status !== 'waiting') {
    return refused('ILLEGAL_STATE', `step ${input.step} waits for no model: it is ${step?.status ?? 'unknown'}`);
  }
  if (step.kind === 'review') {
    const seatName = step.seat ?? 'concluder';
    return settle(state, [
      {
        type: 'task.review-requested',
        data: { step: step.id, attempt: step.attempt, seat: seatName, dispatch: 1, model: input.model },
      },
    ]);
  }
  return settle(state, [
    {
      type: 'task.coding-requested',
      data: { step: step.id, attempt: step.attempt, dispatch: 1, model: input.model, feedback: feedbackFor(state) },
    },
  ]);
}

function cancel(state: TaskState, input: { by: string; why: string }): Decision {
  if (state.phase === 'closed') {
    return state.outcome?.outcome === 'cancelled'
      ? accepted([])
      : refused('ILLEGAL_STATE', 'the task is closed; what has ended cannot be cancelled');
  }
  const open = openEscalation(state);
  const verdict = state.attempts.at(-1)?.judgement?.verdict ?? null;
  return accepted([
    { type: 'task.cancelled', data: { by: input.by, why: input.why } },
    ...(open === undefined
      ? []
      : [{ type: 'escalation.resolved', data: { escalationId: open.id, how: 'cancelled', by: input.by } } as const]),
    { type: 'task.closed', data: { outcome: 'cancelled', verdict } },
  ]);
}

function rule(
  state: TaskState,
  input: { decision: 'go' | 'no-go'; by: string; why: string; attempt?: number },
): Decision {
  const open = openEscalation(state);
  const current = state.attempts.at(-1)?.n ?? 0;
  if (open === undefined && sameRuling(state, input)) return accepted([]);
  if (open === undefined || state.phase !== 'awaiting-ruling') {
    return refused('ILLEGAL_STATE', `nothing waits for a ruling: the task is ${state.phase}`);
  }
  if (input.attempt !== undefined && input.attempt !== current) {
    return refused(
      'ILLEGAL_STATE',
      `the ruling is about attempt ${input.attempt}, the task is at attempt ${current}: look at that one and rule again`,
    );
  }
  const attempt = state.attempts.at(-1);
  if (input.decision === 'go' && attempt?.change === undefined) {
    return refused(
      'ILLEGAL_STATE',
      'there is no change that could be ruled GO: the last attempt proposed none; retry or rule --no-go',
    );
  }
  const ruled: PlumblineEvent[] = [
    { type: 'task.ruled', data: { decision: input.decision, by: input.by, why: input.why, attempt: attempt?.n ?? 0 } },
    { type: 'escalation.resolved', data: { escalationId: open.id, how: 'ruled', by: input.by } },
  ];
  return settle(state, ruled);
}

/** Whether this very ruling was given already on the attempt the task is at: then the message came twice. */
function sameRuling(state: TaskState, input: { decision: string; by: string; why: string }): boolean {
  const { ruling } = state;
  return (
    ruling !== undefined &&
    ruling.attempt === (state.attempts.at(-1)?.n ?? 0) &&
    ruling.decision === input.decision &&
    ruling.by === input.by &&
    ruling.why === input.why
  );
}

function retry(state: TaskState, input: { by: string; why: string }): Decision {
  const open = openEscalation(state);
  if (state.phase !== 'awaiting-ruling' || open === undefined) {
    const hint =
      state.phase === 'closed' ? 'it is closed; submit it anew' : `it is ${state.phase} and goes on by itself`;
    return refused('ILLEGAL_STATE', `only a task that waits for a human can be retried: ${hint}`);
  }
  const retried: PlumblineEvent[] = [
    { type: 'task.retried', data: { by: input.by, why: input.why } },
    { type: 'escalation.resolved', data: { escalationId: open.id, how: 'retried', by: input.by } },
  ];
  return settle(state, retried);
}
