import { join } from 'node:path';
import type { Evidence } from '@plumbline/bus';
import { StepFault, type CheckResult, type EventData } from '@plumbline/domain';
import { GitError, openChange, sealWorkspace, type OpenedChange } from '@plumbline/repo';

/** A change as the gate may look at it, or why it is none: then the fault is the change's own. */
export type Proposed =
  { readonly ok: true; readonly change: OpenedChange } | { readonly ok: false; readonly why: string };

/** What git says of a bundle that is not a plain change of base. */
const changeFaults: ReadonlySet<string> = new Set(['NOT_LINEAR', 'UNSAFE_TREE', 'CORRUPT', 'UNKNOWN_REVISION']);

/**
 * Opens a proposed change from its artifacts in a new store, believing nothing of what was announced. Throws StepFault WORKSPACE_SETUP
 * for what is this machine's fault or the snapshot's, ARTIFACT_UNAVAILABLE when the bytes cannot be had.
 */
export async function openProposedChange(
  evidence: Evidence,
  snapshot: EventData<'snapshot.taken'>,
  change: EventData<'change.proposed'>,
  dir: string,
): Promise<Proposed> {
  if (change.base !== snapshot.base)
    return { ok: false, why: `it was proposed on ${change.base}, the task's base is ${snapshot.base}` };
  const snapshotPack = join(dir, 'snapshot.pack');
  const bundle = join(dir, 'change.pack');
  await evidence.getFile(snapshot.pack, snapshotPack);
  await evidence.getFile(change.bundle, bundle);
  const { base, head, tree } = change;
  try {
    return { ok: true, change: await openChange({ snapshotPack, bundle, base, head, tree, dir: join(dir, 'git') }) };
  } catch (error) {
    if (!(error instanceof GitError) || !changeFaults.has(error.code)) throw asSetUp(error);
    // Damaged objects may be the snapshot's; only when that is sound is the change to blame.
    const { objectFormat } = snapshot;
    await sealWorkspace({ packPath: snapshotPack, base, objectFormat, dir: join(dir, 'proof') }).catch(
      (cause: unknown) => {
        throw asSetUp(cause);
      },
    );
    return { ok: false, why: error.message };
  }
}

/** The one result about a change that could not be opened. */
export function notAChange(tree: string, why: string): CheckResult {
  return {
    ...{ check: 'provenance', version: 1, tree, outcome: 'fail', durationMs: 0, evidence: [] },
    summary: `the proposal is not a plain change of base: ${why}`.slice(0, 500),
    findings: [{ message: why.slice(0, 2_000) || 'not a change' }],
  };
}

function asSetUp(error: unknown): unknown {
  const isMachines = error instanceof GitError || typeof (error as NodeJS.ErrnoException).code === 'string';
  return isMachines
    ? new StepFault('WORKSPACE_SETUP', (error as Error).message.slice(0, 1_900), { cause: error })
    : error;
}
