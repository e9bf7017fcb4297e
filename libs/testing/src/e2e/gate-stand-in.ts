import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ArtifactClient, type HeldStep } from '@plumbline/bus';
import type { CheckId, Outcome, PlumblineEvent } from '@plumbline/domain';
import { diffHunks, openChange } from '@plumbline/repo';
import { StepDouble } from '../system/step-double.js';
import type { TestSystem } from '../system/test-system.js';

/** Stands where the gate will stand: believes build and tests, and looks only whether the named file was touched. */
export async function standInForGate(system: TestSystem): Promise<StepDouble> {
  const artifacts = new ArtifactClient(system.ledgerUrl, system.apiToken);
  return new StepDouble(await system.client('gate'), 'gate', { plays: { gating: (step) => gate(artifacts, step) } });
}

async function gate(artifacts: ArtifactClient, step: HeldStep): Promise<PlumblineEvent[]> {
  const change = step.task.attempts.at(-1)?.change;
  const snapshot = step.task.snapshot;
  if (change === undefined || snapshot === undefined) throw new Error('nothing to check');
  const { base, head, tree } = change;
  const { attempt } = step.name;
  const dir = await mkdtemp(join(tmpdir(), 'plumb-gate-'));
  try {
    const [snapshotPack, bundle] = [join(dir, 'base.pack'), join(dir, 'change.pack')];
    await artifacts.getFile(snapshot.pack, snapshotPack, step.signal);
    await artifacts.getFile(change.bundle, bundle, step.signal);
    const { gitDir } = await openChange({ snapshotPack, bundle, base, head, tree, dir: join(dir, 'git') });
    const files = await diffHunks({ gitDir, base, head, context: 0 });
    const body = step.task.submission?.issue.body ?? '';
    const scope: Outcome = files.some(({ path }) => body.includes(path)) ? 'pass' : 'fail';
    const all: [CheckId, Outcome][] = [
      ['build', 'pass'],
      ['tests', 'pass'],
      ['scope', scope],
    ];
    for (const [check, outcome] of all) {
      const result = { check, version: 1, tree, outcome, summary: check, findings: [], evidence: [], durationMs: 1 };
      await step.record(check, [{ type: 'check.concluded', data: { step: step.id, attempt, result } }]);
    }
    const hunks = files.flatMap((file) =>
      file.hunks.map(({ id, path, oldStart, oldLines, newStart, newLines }) => ({
        ...{ id, path, oldStart, oldLines, newStart, newLines },
      })),
    );
    const concluded = all.map(([check, outcome]) => ({ check, outcome }));
    const rest = { changeClass: [], languages: ['typescript'], hunks, environment: { sandbox: 'none: a test' } };
    return [{ type: 'gate.concluded', data: { step: step.id, attempt, base, head, tree, concluded, ...rest } }];
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
