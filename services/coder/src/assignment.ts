import type { HeldStep } from '@plumbline/bus';
import {
  StepFault,
  type ArtifactRef,
  type EventData,
  type Issue,
  type Policy,
  type RecordedEvent,
  type SeatedModel,
} from '@plumbline/domain';

/** What a coding step is asked to do, as recorded. */
export interface Assignment {
  readonly attempt: number;
  readonly model: SeatedModel;
  readonly feedback: readonly string[];
  readonly issue: Issue;
  readonly policy: Policy;
  readonly snapshot: EventData<'snapshot.taken'>;
  /** When the task was submitted: the date of the commit, so that the same tree is the same commit wherever it is made. */
  readonly submittedAt: Date;
}

/** Reads a step's assignment from its task's history. A held step without one is a bug: it is only dispatched with all of it recorded. */
export function assignmentOf(step: HeldStep): Assignment {
  const request = step.history.findLast(
    (event): event is Extract<RecordedEvent, { type: 'task.coding-requested' }> =>
      event.type === 'task.coding-requested' && event.data.step === step.id,
  );
  const { submission, snapshot, submittedAt } = step.task;
  if (request === undefined || submission === undefined || snapshot === undefined || submittedAt === undefined)
    throw new StepFault('HARNESS_BUG', `the history of ${step.taskId} holds no complete request for ${step.id}`);
  const { attempt, model, feedback } = request.data;
  const { issue, policy } = submission;
  return { attempt, model, feedback, issue, policy, snapshot, submittedAt: new Date(submittedAt) };
}

/** One turn that was recorded by an earlier holder of this attempt. */
export interface EarlierTurn {
  readonly turn: number;
  readonly treeAfter: string;
  readonly transcript: ArtifactRef;
  readonly workspace?: ArtifactRef;
}

/**
 * The turns of an attempt so far, of whichever try and epoch: the last run that began with turn 1, since an attempt that had to start anew
 * counts from 1 again. Empty when there are none.
 */
export function earlierTurns(step: HeldStep, attempt: number): EarlierTurn[] {
  let turns: EarlierTurn[] = [];
  for (const event of step.history) {
    if (event.type !== 'turn.recorded' || event.data.attempt !== attempt) continue;
    const { turn, treeAfter, transcript, workspace } = event.data;
    if (turn !== turns.length + 1) turns = [];
    if (turn !== turns.length + 1)
      throw new StepFault('HARNESS_BUG', `turn ${turn} of attempt ${attempt} follows no turn ${turn - 1}`);
    turns.push({ turn, treeAfter, transcript, ...(workspace === undefined ? {} : { workspace }) });
  }
  return turns;
}
