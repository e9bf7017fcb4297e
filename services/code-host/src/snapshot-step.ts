import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ArtifactError, StepFault, type ArtifactClient, type HeldStep } from '@plumbline/bus';
import type { PlumblineEvent } from '@plumbline/domain';
import { takeSnapshot } from '@plumbline/repo';
import type { CodeHostConfig } from './config.js';
import { faultOf, originOf, revisionOf } from './origin.js';

export interface StepTools {
  artifacts: ArtifactClient;
  config: Pick<CodeHostConfig, 'allowLocal' | 'credentials' | 'workDir'>;
}

/** Fetches base once and stores it as an artifact, so that nobody after this needs the origin. */
export async function takeSnapshotStep({ artifacts, config }: StepTools, step: HeldStep): Promise<PlumblineEvent[]> {
  const { submission } = step.task;
  if (submission === undefined)
    throw new StepFault('HARNESS_BUG', 'a snapshot was requested of a task that was never submitted');
  const origin = originOf(config, submission.repository.url);
  const workDir = await mkdtemp(join(config.workDir, 'plumb-snapshot-'));
  try {
    step.live({ what: `fetching ${submission.repository.base}` });
    const revision = revisionOf(submission.repository.base);
    const snapshot = await takeSnapshot({ ...origin, revision, workDir });
    const pack = await artifacts.putFile(snapshot.packPath, 'application/x-git-pack', step.signal);
    const { base, tree, objectFormat } = snapshot;
    return [{ type: 'snapshot.taken', data: { step: step.id, base, tree, objectFormat, pack } }];
  } catch (error) {
    if (error instanceof ArtifactError) throw new StepFault('ARTIFACT_UNAVAILABLE', error.message, { cause: error });
    throw faultOf(error, 'REPOSITORY_UNREACHABLE');
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}
