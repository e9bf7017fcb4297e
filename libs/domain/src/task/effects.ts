import type { PlumblineEvent } from '../events/catalogue.js';
import { parseStepId, type StepId, type StepKind } from '../names.js';
import type { Policy } from '../policy.js';
import { evolve } from './evolve.js';
import { liveSteps, stepsOf, type TaskState } from './state.js';

/** What has to be committed together with a decision's events, so that neither can exist without the other. */
export interface DecisionEffects {
  openSteps: StepId[];
  closeSteps: (StepId | '*')[];
  setTimers: { timerId: string; kind: 'deadline' | 'retry'; step: StepId; dueInMs: number }[];
  cancelTimers: string[];
  cancelAllTimers: boolean;
  /** Grants that are still needed after the decision; every other grant of the task is to be released with it. */
  grantsKept: string[];
}

const deadlineKey = {
  snapshot: 'snapshotMs',
  coding: 'codingMs',
  gating: 'gatingMs',
  review: 'reviewMs',
  publishing: 'publishingMs',
} as const satisfies Record<StepKind, keyof Policy['deadlines']>;

/**
 * The steps, timers and grants that go with events decided on `before`. It says something even when there are no events: the first of two
 * reviews to end frees its grant although nothing else follows from it yet, and the second may be waiting for just that memory.
 */
export function effectsOf(before: TaskState, events: readonly PlumblineEvent[]): DecisionEffects {
  const after = events.reduce<TaskState>(evolve, before);
  const effects: DecisionEffects = {
    openSteps: [],
    closeSteps: [],
    setTimers: [],
    cancelTimers: [],
    cancelAllTimers: false,
    grantsKept: [],
  };
  for (const event of events) {
    switch (event.type) {
      case 'task.snapshot-requested':
      case 'task.coding-requested':
      case 'task.gating-requested':
      case 'task.review-requested':
      case 'task.publishing-requested':
        if (event.data.dispatch === 1) open(effects, after, event.data.step);
        break;
      case 'task.step-abandoned':
        effects.closeSteps.push(event.data.step);
        break;
      case 'task.step-retry-scheduled':
        effects.setTimers.push({
          timerId: timerId(after, event.data.step, 'retry'),
          kind: 'retry',
          step: event.data.step,
          dueInMs: event.data.delayMs,
        });
        break;
      case 'task.closed':
        effects.closeSteps.push('*');
        effects.cancelAllTimers = true;
        break;
      default:
        break;
    }
  }
  effects.cancelTimers = stepsOf(after)
    .filter((step) => step.status !== 'requested' && before.steps[step.id]?.deadlineSet === true)
    .map((step) => timerId(after, step.id, 'deadline'));
  effects.grantsKept = liveSteps(after).flatMap((step) =>
    step.model === undefined || step.status !== 'requested' ? [] : [step.model.grantId],
  );
  return effects;
}

function open(effects: DecisionEffects, after: TaskState, step: StepId): void {
  const deadlines = after.submission?.policy.deadlines;
  effects.openSteps.push(step);
  if (deadlines === undefined) return;
  const dueInMs = deadlines[deadlineKey[parseStepId(step).kind]];
  effects.setTimers.push({ timerId: timerId(after, step, 'deadline'), kind: 'deadline', step, dueInMs });
}

const timerId = (state: TaskState, step: StepId, kind: 'deadline' | 'retry'): string =>
  `${state.submission?.taskId ?? ''}:${step}:${kind}`;
