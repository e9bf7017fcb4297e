import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ArtifactError, StepFault, type ArtifactClient, type HeldStep } from '@plumbline/bus';
import { stepsOf, type CheckResult, type EventData, type PlumblineEvent, type TaskState } from '@plumbline/domain';
import { GateInfraError, runGate, type BaseRuns } from '@plumbline/gate';
import { GitError, openChange, type OpenedChange } from '@plumbline/repo';
import type { Sandbox, Toolchain } from '@plumbline/sandbox';

const basesKept = 32;

export interface GatingTools {
  artifacts: ArtifactClient;
  sandbox: Sandbox;
  toolchain: Toolchain | null;
  workDir: string;
  /** What base did, kept from change to change of the same base. */
  baseRuns: BaseRuns;
  onCheck?: (result: CheckResult) => void;
}

/**
 * The clean room: takes the change apart from scratch, from artifacts alone, runs every check on it and records each as it concludes. Results
 * that an earlier holder of this step recorded for the same tree are not computed again.
 */
export async function gatingStep(tools: GatingTools, step: HeldStep): Promise<PlumblineEvent[]> {
  const { snapshot, change, submission } = subjectOf(step.task, step.name.attempt);
  const workDir = await mkdtemp(join(tools.workDir, 'plumb-gate-'));
  try {
    const opened = await open(tools, step, workDir, snapshot, change);
    const finished = resultsSoFar(step, opened.tree);
    if (tools.baseRuns.size > basesKept) tools.baseRuns.clear();
    const report = await runGate({
      gitDir: opened.gitDir,
      base: opened.base,
      head: opened.head,
      tree: opened.tree,
      issue: submission.issue,
      policy: submission.policy,
      sandbox: tools.sandbox,
      toolchain: tools.toolchain,
      workDir,
      signal: step.signal,
      finished,
      baseRuns: tools.baseRuns,
      keep: (text, mediaType) => tools.artifacts.put(new TextEncoder().encode(text), mediaType, step.signal),
      onStart: (check) => step.live({ what: `check ${check.id}` }),
      onCheck: async (result) => {
        tools.onCheck?.(result);
        await step.record(`check-${result.check}`, [
          { type: 'check.concluded', data: { step: step.id, attempt: step.name.attempt, result } },
        ]);
      },
    });
    const { base, head, tree } = opened;
    return [
      {
        type: 'gate.concluded',
        data: {
          step: step.id,
          attempt: step.name.attempt,
          base,
          head,
          tree,
          concluded: [...report.concluded],
          changeClass: [...report.changeClass],
          languages: [...report.languages],
          hunks: [...report.hunks],
          environment: report.environment,
        },
      },
    ];
  } catch (error) {
    throw asFault(error);
  } finally {
    await rm(workDir, { recursive: true, force: true });
  }
}

function subjectOf(
  task: TaskState,
  n: number,
): {
  snapshot: EventData<'snapshot.taken'>;
  change: EventData<'change.proposed'>;
  submission: EventData<'task.submitted'>;
} {
  const { snapshot, submission } = task;
  const change = task.attempts.find((attempt) => attempt.n === n)?.change;
  if (snapshot === undefined || submission === undefined || change === undefined)
    throw new StepFault('HARNESS_BUG', `the gate was asked about attempt ${n}, which has no change`);
  return { snapshot, submission, change };
}

/**
 * The change in a private store, believing nothing. A bundle that is not a plain change of base cannot be judged at all: nothing of it is
 * run, and the attempt ends without a verdict on it.
 */
async function open(
  tools: GatingTools,
  step: HeldStep,
  workDir: string,
  snapshot: EventData<'snapshot.taken'>,
  change: EventData<'change.proposed'>,
): Promise<OpenedChange> {
  const snapshotPack = join(workDir, 'base.pack');
  const bundle = join(workDir, 'change.pack');
  await tools.artifacts.getFile(snapshot.pack, snapshotPack, step.signal);
  await tools.artifacts.getFile(change.bundle, bundle, step.signal);
  const { head, tree } = change;
  return openChange({ snapshotPack, bundle, base: snapshot.base, head, tree, dir: join(workDir, 'store') });
}

/** What was recorded for this step and tree before a restart. A check that could not tell is tried again. */
function resultsSoFar(step: HeldStep, tree: string): CheckResult[] {
  const attempt = step.task.attempts.find((candidate) => candidate.n === step.name.attempt);
  const known = stepsOf(step.task).some((candidate) => candidate.id === step.id) ? (attempt?.checks ?? []) : [];
  return known
    .filter((entry) => entry.step === step.id && entry.result.tree === tree && entry.result.outcome !== 'unknown')
    .map((entry) => entry.result);
}

/** Faults of the machine stay faults of the machine; a change that is no change is the model's. */
function asFault(error: unknown): unknown {
  if (error instanceof ArtifactError) return new StepFault('ARTIFACT_UNAVAILABLE', error.message, { cause: error });
  if (error instanceof GateInfraError) return new StepFault('GATE_ERROR', error.message, { cause: error });
  if (!(error instanceof GitError)) return error;
  const dishonest = error.code === 'CORRUPT' || error.code === 'NOT_LINEAR' || error.code === 'UNSAFE_TREE';
  return new StepFault(dishonest ? 'CHANGE_INVALID' : 'WORKSPACE_SETUP', error.message, { cause: error });
}
