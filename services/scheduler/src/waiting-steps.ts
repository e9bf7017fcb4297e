import { stepsOf, type StepId, type TaskState } from '@plumbline/domain';

/** A step that waits for a model. */
export interface WaitingStep {
  taskId: string;
  step: StepId;
  seat: string;
  tier: number;
  priority: 'batch' | 'normal' | 'high';
  submittedAt: string;
}

const rank = { high: 0, normal: 1, batch: 2 } as const;

/** The steps of a task that wait for a model. */
export function waitingStepsOf(taskId: string, state: TaskState): WaitingStep[] {
  if (state.submission === undefined || state.phase === 'closed') return [];
  const { priority } = state.submission;
  return stepsOf(state)
    .filter((step) => step.status === 'waiting')
    .map((step) => ({
      taskId,
      step: step.id,
      seat: step.kind === 'review' ? (step.seat ?? 'concluder') : 'coder',
      tier: state.attempts.find((attempt) => attempt.n === step.attempt)?.tier ?? state.tier,
      priority,
      submittedAt: state.submittedAt ?? '',
    }));
}

/**
 * The order in which waiting steps are offered capacity: priority, then reviews before coding (they end what is begun), then age, then id.
 */
export function inOrder(steps: readonly WaitingStep[]): WaitingStep[] {
  return [...steps].sort(
    (a, b) =>
      rank[a.priority] - rank[b.priority] ||
      Number(a.seat === 'coder') - Number(b.seat === 'coder') ||
      compare(a.submittedAt, b.submittedAt) ||
      compare(a.taskId, b.taskId) ||
      compare(a.step, b.step),
  );
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
