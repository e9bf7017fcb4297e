import type { PlumblineEvent } from '../events/catalogue.js';
import { stepId, type StepId, type StepKind } from '../names.js';
import { currentAttempt, type TaskState } from './state.js';

/** The first step of a task: nothing else can be tried before base is known. */
export const firstSnapshot = stepId({ kind: 'snapshot', attempt: 0, try: 1 });

/** First request of a step, or the request of its next try. Steps that need a model wait for one first. */
export function request(
  state: TaskState,
  like: { kind: StepKind; attempt: number; seat?: string },
  id: StepId,
): PlumblineEvent[] {
  const { attempt } = like;
  switch (like.kind) {
    case 'snapshot':
      return [{ type: 'task.snapshot-requested', data: { step: id, dispatch: 1 } }];
    case 'coding':
      return [{ type: 'task.capacity-awaited', data: { step: id, attempt, seat: 'coder', tier: state.tier } }];
    case 'gating':
      return [{ type: 'task.gating-requested', data: { step: id, attempt, dispatch: 1 } }];
    case 'review':
      return [
        {
          type: 'task.capacity-awaited',
          data: { step: id, attempt, seat: like.seat ?? 'concluder', tier: state.tier },
        },
      ];
    case 'publishing':
      return [
        {
          type: 'task.publishing-requested',
          data: { step: id, attempt, dispatch: 1, branch: branchName(state), label: publishLabel(state) },
        },
      ];
  }
}

/** What the next attempt is told about the ones before it: why each did not become GO, newest first, short. */
export function feedbackFor(state: TaskState): string[] {
  return [...state.attempts]
    .reverse()
    .flatMap((attempt) =>
      (attempt.judgement?.reasons ?? []).map((reason) => `attempt ${attempt.n}: ${reason.check}: ${reason.summary}`),
    )
    .slice(0, 20);
}

/** The request of a step once more. Nothing for a step that nobody waits for. */
export function redispatch(state: TaskState, id: StepId): PlumblineEvent[] {
  const step = state.steps[id];
  if (step === undefined || step.status !== 'requested') return [];
  const dispatch = step.dispatches + 1;
  const { attempt } = step;
  switch (step.kind) {
    case 'snapshot':
      return [{ type: 'task.snapshot-requested', data: { step: id, dispatch } }];
    case 'gating':
      return [{ type: 'task.gating-requested', data: { step: id, attempt, dispatch } }];
    case 'publishing':
      return [
        {
          type: 'task.publishing-requested',
          data: { step: id, attempt, dispatch, branch: branchName(state), label: publishLabel(state) },
        },
      ];
    case 'coding':
      return step.model === undefined
        ? []
        : [
            {
              type: 'task.coding-requested',
              data: { step: id, attempt, dispatch, model: step.model, feedback: feedbackFor(state) },
            },
          ];
    case 'review':
      return step.model === undefined
        ? []
        : [
            {
              type: 'task.review-requested',
              data: { step: id, attempt, seat: step.seat ?? 'concluder', dispatch, model: step.model },
            },
          ];
  }
}

/** The branch a task's change is published on. */
export const branchName = (state: TaskState): string => `plumbline/${state.submission?.taskId ?? 'unknown'}`;

/** The label a change is published under: GO by verdict, GO-WAIVED when only a human's ruling carries it. */
export const publishLabel = (state: TaskState): 'GO' | 'GO-WAIVED' =>
  currentAttempt(state)?.judgement?.verdict === 'GO' ? 'GO' : 'GO-WAIVED';
