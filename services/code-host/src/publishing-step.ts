import { join } from 'node:path';
import { type HeldStep, Evidence } from '@plumbline/bus';
import { StepFault, type PlumblineEvent } from '@plumbline/domain';
import { failpoint } from '@plumbline/failpoint';
import { openChange, publishBranch } from '@plumbline/repo';
import { authorisePublication, type Authorisation } from './authorise-publication.js';
import { inFolder, type CodeHostMeans } from './code-host-means.js';
import { admitRepository } from './repository-access.js';

type Authorised = Extract<Authorisation, { ok: true }>;

/**
 * The handler of publishing steps: rebuilds the change from its artifacts and pushes it to its branch, which may exist only at this very
 * commit. Whether it may is read from the task's history under this step's own lease, right before the push.
 */
export function publishingHandler(means: CodeHostMeans): (step: HeldStep) => Promise<PlumblineEvent[]> {
  return async (step) => {
    const count = (outcome: string) => means.metrics.plumb_code_host_publications_total.inc(1, { outcome });
    try {
      const event = await inFolder(means.workDir, step, (dir) => publish(means, step, dir));
      count(event.data.already ? 'already' : 'published');
      return [event];
    } catch (error) {
      if (error instanceof StepFault) count(error.code);
      throw error;
    }
  };
}

async function publish(
  means: CodeHostMeans,
  step: HeldStep,
  dir: string,
): Promise<Extract<PlumblineEvent, { type: 'change.published' }>> {
  const { url, branch, snapshot, change } = await authorised(means, step);
  const remote = admitRepository(url, means.access);
  const evidence = new Evidence(means.artifacts, step.signal);
  const snapshotPack = join(dir, 'snapshot.pack');
  const bundle = join(dir, 'change.pack');
  await evidence.getFile(snapshot.pack, snapshotPack);
  await evidence.getFile(change.bundle, bundle);
  const { base, head, tree } = change;
  const { gitDir } = await openChange({ snapshotPack, bundle, base, head, tree, dir: join(dir, 'git') });
  // Downloads take time: what was allowed before them need not be allowed any more.
  const still = await authorised(means, step);
  if (still.change.head !== head) throw refused(step, 'another change took its place');
  step.signal.throwIfAborted();
  const published = await publishBranch({ gitDir, base, head, branch, ...remote });
  if (published.outcome === 'branch-exists')
    throw new StepFault(
      'BRANCH_TAKEN',
      `the branch ${branch} exists at ${published.at}; it is never overwritten. Remove or rename it, then rule again`,
    );
  failpoint('publish.pushed');
  return {
    type: 'change.published',
    data: { step: step.id, attempt: step.name.attempt, branch, head, already: published.outcome === 'already' },
  };
}

async function authorised(means: CodeHostMeans, step: HeldStep): Promise<Authorised> {
  const { state, events } = await means.ledger.readTask(step.taskId, step.signal);
  const authorisation = authorisePublication(state, events, step.name.attempt);
  if (!authorisation.ok) throw refused(step, authorisation.why);
  return authorisation;
}

const refused = (step: HeldStep, why: string): StepFault =>
  new StepFault('PUBLISH_REFUSED', `attempt ${step.name.attempt} of ${step.taskId} must not be published: ${why}`);
