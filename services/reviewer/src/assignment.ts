import type { HeldStep } from '@plumbline/bus';
import {
  StepFault,
  type ArtifactRef,
  type CheckResult,
  type EventData,
  type HunkRef,
  type Issue,
  type RecordedEvent,
  type SeatedModel,
} from '@plumbline/domain';

/** What a review step is asked to do, as recorded. Nothing in it says who made the change, or what was said of it. */
export interface Assignment {
  readonly attempt: number;
  readonly seat: string;
  readonly model: SeatedModel;
  readonly issue: Issue;
  readonly snapshotPack: ArtifactRef;
  readonly change: Pick<EventData<'change.proposed'>, 'base' | 'head' | 'tree' | 'bundle'>;
  /** The changed regions as the gate numbered them: the ids the rails will look for. */
  readonly hunks: readonly HunkRef[];
  readonly checks: readonly CheckResult[];
}

/** Reads a step's assignment from its task's history. A held step without one is a bug: it is only dispatched with all of it recorded. */
export function assignmentOf(step: HeldStep): Assignment {
  const request = step.history.findLast(
    (event): event is Extract<RecordedEvent, { type: 'task.review-requested' }> =>
      event.type === 'task.review-requested' && event.data.step === step.id,
  );
  const { submission, snapshot, attempts } = step.task;
  const judged = attempts.find(({ n }) => n === request?.data.attempt);
  const { change, gate, checks = [] } = judged ?? {};
  if (
    request === undefined ||
    submission === undefined ||
    snapshot === undefined ||
    change === undefined ||
    gate === undefined
  )
    throw new StepFault('HARNESS_BUG', `the history of ${step.taskId} holds no complete request for ${step.id}`);
  if (gate.tree !== change.tree)
    throw new StepFault('HARNESS_BUG', `the gate looked at tree ${gate.tree}, the change has tree ${change.tree}`);
  const { attempt, seat, model } = request.data;
  const { base, head, tree, bundle } = change;
  return {
    ...{ attempt, seat, model, issue: submission.issue, snapshotPack: snapshot.pack, hunks: gate.hunks },
    change: { base, head, tree, bundle },
    checks: checks.filter((entry) => entry.step === gate.step).map(({ result }) => result),
  };
}
