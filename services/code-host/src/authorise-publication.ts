import {
  adjudicate,
  branchName,
  currentAttempt,
  factsOf,
  type EventData,
  type RecordedEvent,
  type TaskState,
} from '@plumbline/domain';

/** Exactly what may be published, or why nothing may. */
export type Authorisation =
  | {
      readonly ok: true;
      readonly url: string;
      readonly branch: string;
      readonly snapshot: EventData<'snapshot.taken'>;
      readonly change: EventData<'change.proposed'>;
    }
  | { readonly ok: false; readonly why: string };

/**
 * Whether an attempt's change may leave the house, from the task's recorded history alone: the attempt is the current one, its recorded verdict
 * is about exactly its change, and either that verdict is GO, and the recorded facts still carry it, or a person ruled GO on exactly this
 * attempt. What asked for the publication does not matter.
 */
export function authorisePublication(
  task: TaskState,
  history: readonly RecordedEvent[],
  attemptNumber: number,
): Authorisation {
  const refuse = (why: string): Authorisation => ({ ok: false, why });
  const { submission, snapshot } = task;
  const attempt = currentAttempt(task);
  if (submission === undefined || snapshot === undefined || attempt === undefined)
    return refuse('the task has no attempt');
  if (task.phase === 'closed') return refuse('the task is closed');
  if (submission.publish === 'none') return refuse('the task asks for no publication');
  if (attempt.n !== attemptNumber)
    return refuse(`attempt ${attemptNumber} is not the current one, which is ${attempt.n}`);
  const { change, judgement } = attempt;
  if (change === undefined) return refuse(`attempt ${attempt.n} proposed no change`);
  const verdict = history.findLast(
    (event): event is Extract<RecordedEvent, { type: 'verdict.reached' }> =>
      event.type === 'verdict.reached' && event.data.attempt === attempt.n,
  );
  const subject = verdict?.data.subject;
  if (judgement === undefined || subject === undefined || subject === null)
    return refuse(`attempt ${attempt.n} was not judged`);
  if (subject.base !== change.base || subject.head !== change.head || subject.tree !== change.tree)
    return refuse(`the verdict is about ${subject.head}, the change is ${change.head}`);
  if (change.base !== snapshot.base)
    return refuse(`the change is based on ${change.base}, the task on ${snapshot.base}`);
  const isRuled = task.ruling?.decision === 'go' && task.ruling.attempt === attempt.n;
  if (task.ruling?.decision === 'no-go' && task.ruling.attempt === attempt.n)
    return refuse('a person ruled NO-GO on it');
  if (judgement.verdict !== 'GO' && !isRuled) return refuse(`its verdict is ${judgement.verdict}`);
  const recomputed = adjudicate(submission.policy, factsOf(task, attempt)).verdict;
  if (!isRuled && recomputed !== 'GO')
    return refuse(`its verdict is recorded as GO, but the recorded facts make it ${recomputed}`);
  return { ok: true, url: submission.repository.url, branch: branchName(task), snapshot, change };
}
