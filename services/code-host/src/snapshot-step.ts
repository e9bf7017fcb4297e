import { type HeldStep, Evidence } from '@plumbline/bus';
import { StepFault, parseRevision, type FaultCode, type PlumblineEvent } from '@plumbline/domain';
import { takeSnapshot } from '@plumbline/repo';
import { inFolder, type CodeHostMeans } from './code-host-means.js';
import { admitRepository } from './repository-access.js';

const packMediaType = 'application/x-git-packed-objects';

/** The handler of snapshot steps: fetches base, stores it as one pack, ends with `snapshot.taken`. */
export function snapshotHandler(means: CodeHostMeans): (step: HeldStep) => Promise<PlumblineEvent[]> {
  return async (step) => {
    const { submission } = step.task;
    if (submission === undefined) throw new StepFault('HARNESS_BUG', `${step.taskId} has no submission`);
    const remote = admitRepository(submission.repository.url, means.access);
    const revision = parseRevision(submission.repository.base);
    if (!revision.ok)
      throw new StepFault('BASE_UNKNOWN', `the base is no revision: expected ${revision.problem.expected}`);
    return inFolder(means.workDir, step, async (workDir) => {
      const taken = await takeSnapshot({ ...remote, revision: submission.repository.base, workDir });
      const evidence = new Evidence(means.artifacts, step.signal);
      const pack = await evidence.putFile(taken.packPath, packMediaType);
      means.metrics.plumb_code_host_snapshot_bytes_total.inc(taken.sizeBytes);
      const { base, tree, objectFormat } = taken;
      return [{ type: 'snapshot.taken', data: { step: step.id, base, tree, objectFormat, pack } }];
    });
  };
}

/** The event that a step of this service failed. */
export function codeHostFailed(step: HeldStep, code: FaultCode, detail: string): PlumblineEvent {
  return step.name.kind === 'publishing'
    ? { type: 'publish.failed', data: { step: step.id, attempt: step.name.attempt, code, detail } }
    : { type: 'snapshot.failed', data: { step: step.id, code, detail } };
}
