import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ArtifactError, StepFault, type HeldStep } from '@plumbline/bus';
import {
  branchName,
  currentAttempt,
  type AttemptState,
  type EventData,
  type PlumblineEvent,
  type TaskState,
} from '@plumbline/domain';
import { openChange, publishBranch } from '@plumbline/repo';
import { faultOf, originOf } from './origin.js';
import type { StepTools } from './snapshot-step.js';

/**
 * Pushes a change that has its GO. What is pushed, where to and whether at all is read from the task's own history under this step's lease;
 * the request that led here is believed in nothing.
 */
export async function publishStep({ artifacts, config }: StepTools, step: HeldStep): Promise<PlumblineEvent[]> {
  const { attempt, change, snapshot } = publishable(step.task);
  const { submission } = step.task;
  if (submission === undefined) throw new StepFault('HARNESS_BUG', 'nothing was submitted');
  const origin = originOf(config, submission.repository.url);
  const branch = branchName(step.task);
  const workDir = await mkdtemp(join(config.workDir, 'plumb-publish-'));
  try {
    const snapshotPack = join(workDir, 'base.pack');
    const bundle = join(workDir, 'change.pack');
    await artifacts.getFile(snapshot.pack, snapshotPack, step.signal);
    await artifacts.getFile(change.bundle, bundle, step.signal);
    const { base, head, tree } = change;
    const opened = await openChange({ snapshotPack, bundle, base, head, tree, dir: join(workDir, 'store') });
    step.signal.throwIfAborted();
    step.live({ what: `pushing ${branch}` });
    const published = await publishBranch({ gitDir: opened.gitDir, base, head, branch, ...origin });
    if (published.outcome === 'branch-exists') {
      throw new StepFault(
        'BRANCH_TAKEN',
        `${branch} exists at ${published.at}, not at ${head}; it is never overwritten: remove or rename it, then retry`,
      );
    }
    return [
      {
        type: 'change.published',
        data: { step: step.id, attempt: attempt.n, branch, head, already: published.outcome === 'already' },
      },
    ];
  } catch (error) {
    if (error instanceof ArtifactError) throw new StepFault('ARTIFACT_UNAVAILABLE', error.message, { cause: error });
    throw faultOf(error, 'REPOSITORY_UNREACHABLE');
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

export interface Publishable {
  attempt: AttemptState;
  change: EventData<'change.proposed'>;
  snapshot: EventData<'snapshot.taken'>;
}

/**
 * The change a task may publish: that of its current attempt, if its verdict is GO on exactly this change, or a named human ruled GO on exactly
 * this attempt. The policy must ask for publishing at all.
 * @throws StepFault HARNESS_BUG: a request to publish anything else is a bug or an attack, and a human has to look at it
 */
export function publishable(task: TaskState): Publishable {
  const attempt = currentAttempt(task);
  const refuse = (why: string): never => {
    throw new StepFault('HARNESS_BUG', `not published: ${why}`);
  };
  if (task.submission?.publish === 'none') return refuse('the task asks for nothing to be published');
  if (attempt?.change === undefined || task.snapshot === undefined) return refuse('the current attempt has no change');
  const { change, judgement } = attempt;
  if (change.base !== task.snapshot.base) return refuse('the change is not based on the snapshot of the task');
  const go = judgement?.verdict === 'GO' && attempt.gate?.tree === change.tree && attempt.gate.head === change.head;
  const ruled = task.ruling?.decision === 'go' && task.ruling.attempt === attempt.n;
  if (!go && !ruled)
    return refuse(
      `the verdict on attempt ${attempt.n} is ${judgement?.verdict ?? 'missing'}, and nobody ruled GO on it`,
    );
  return { attempt, change, snapshot: task.snapshot };
}
