import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArtifactDoor, HeldStep, LedgerClient } from '@plumbline/bus';
import type { CodeHostMetrics } from './metrics.js';
import { asStepFault, type HostAccess } from './repository-access.js';

/** What the steps of this service need besides themselves. */
export interface CodeHostMeans {
  readonly artifacts: ArtifactDoor;
  readonly ledger: Pick<LedgerClient, 'readTask'>;
  readonly access: HostAccess;
  readonly metrics: CodeHostMetrics;
  /** Scratch space; every step gets a folder of its own in it, and leaves none. */
  readonly workDir: string;
}

/** Lends a step a folder; faults of git and of the disk leave as StepFaults. */
export async function inFolder<T>(workDir: string, step: HeldStep, use: (dir: string) => Promise<T>): Promise<T> {
  try {
    await mkdir(workDir, { recursive: true });
    const dir = await realpath(await mkdtemp(join(workDir, `${step.taskId}-${step.id}-`)));
    try {
      return await use(dir);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  } catch (error) {
    step.signal.throwIfAborted();
    throw asStepFault(error);
  }
}
