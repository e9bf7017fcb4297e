import { admitEndpoint, type ModelAccess } from '@plumbline/model';
import { mkdir, realpath, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ArtifactDoor, type HeldStep, Evidence } from '@plumbline/bus';
import { StepFault, type FaultCode, type PlumblineEvent, redactor } from '@plumbline/domain';
import { listTree } from '@plumbline/repo';
import type { Sandbox, Toolchain } from '@plumbline/sandbox';
import { assignmentOf, earlierTurns, type Assignment } from './assignment.js';
import { isMachineFault } from './call-tools.js';
import type { FastGate } from '@plumbline/gate';
import { commitMessage } from './hand-in.js';
import type { CoderMetrics } from './metrics.js';
import { openingOf } from './opening.js';
import { noProgress } from './progress.js';
import type { Prompts } from './prompts.js';
import { proposeChange, type Position } from './propose-change.js';
import { packMediaType, turnRecorder } from './record-turn.js';
import { resume, type Earlier } from './resume.js';
import { removeTree, WorkTree } from './work-tree.js';

/** What a coder needs besides the step. */
export interface CoderMeans {
  readonly artifacts: ArtifactDoor;
  readonly sandbox: Sandbox;
  readonly toolchain: Toolchain | null;
  readonly access: ModelAccess;
  readonly prompts: Prompts;
  readonly metrics: CoderMetrics;
  /** Scratch space; every step gets a directory of its own in it, and leaves none. */
  readonly workDir: string;
  /** Values that must not stand in any record. */
  readonly secrets: readonly string[];
  readonly fastGate?: FastGate;
}

/** The handler of coding steps: works until a change is proposed, or throws the StepFault the attempt ends with. */
export function codingHandler(means: CoderMeans): (step: HeldStep) => Promise<PlumblineEvent[]> {
  return async (step) => {
    const assignment = assignmentOf(step);
    await admitEndpoint(assignment.model, means.access);
    const parent = join(means.workDir, step.taskId);
    const dir = join(parent, `${step.id}-${step.epoch}`);
    try {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      return [await code(means, step, assignment, await realpath(dir))];
    } catch (error) {
      if (isMachineFault(error))
        throw new StepFault('WORKSPACE_SETUP', (error as Error).message.slice(0, 1_900), { cause: error });
      throw error;
    } finally {
      await removeTree(dir);
      // Other steps of the task may be at work beside this one.
      await rmdir(parent).catch(() => undefined);
    }
  };
}

/** The event that an attempt ended without a change. */
export function attemptEnded(step: HeldStep, code: FaultCode, detail: string): PlumblineEvent {
  return { type: 'attempt.ended', data: { step: step.id, attempt: step.name.attempt, code, detail } };
}

async function code(means: CoderMeans, step: HeldStep, assignment: Assignment, dir: string): Promise<PlumblineEvent> {
  const evidence = new Evidence(means.artifacts, step.signal);
  const packPath = join(dir, 'snapshot.pack');
  await evidence.getFile(assignment.snapshot.pack, packPath);
  const earlier = await resume(earlierTurns(step, assignment.attempt), assignment, evidence);
  const workTree = await openWorkTree(dir, packPath, assignment, earlier, evidence);
  step.signal.throwIfAborted();
  const position = earlier ?? (await beginning(means.prompts, assignment, workTree));
  const { sandbox, toolchain, access, prompts, metrics, fastGate } = means;
  const run = { step, assignment, workTree, sandbox, toolchain, access, prompts, metrics, fastGate, position };
  const recordTurn = turnRecorder(run, evidence, redactor(means.secrets));
  const summary = await proposeChange({ ...run, recordTurn });
  return propose(step, assignment, workTree, summary, evidence);
}

async function openWorkTree(
  dir: string,
  packPath: string,
  { snapshot, submittedAt }: Assignment,
  earlier: Earlier | undefined,
  evidence: Evidence,
): Promise<WorkTree> {
  if (earlier?.workspace === undefined) return WorkTree.ofBase(dir, packPath, snapshot, submittedAt);
  const { pack, head } = earlier.workspace;
  const bundlePath = join(dir, 'resumed.pack');
  await evidence.getFile(pack, bundlePath);
  const opened = await WorkTree.restored(dir, packPath, snapshot, submittedAt, {
    head,
    tree: earlier.tree,
    bundlePath,
  });
  await rm(bundlePath);
  return opened;
}

async function beginning(prompts: Prompts, assignment: Assignment, workTree: WorkTree): Promise<Position> {
  const { issue, feedback, snapshot } = assignment;
  const paths = (await listTree({ gitDir: workTree.gitDir, tree: snapshot.base })).map(({ path }) => path);
  const messages = openingOf({ system: prompts.text.system, issue, feedback, paths });
  return { messages, progress: noProgress, tree: snapshot.tree };
}

/** Packs the tree as it was accepted. Made anew from the files, so that a step resumed after its last turn gives the same commit. */
async function propose(
  step: HeldStep,
  { attempt, snapshot }: Assignment,
  workTree: WorkTree,
  summary: string,
  evidence: Evidence,
): Promise<PlumblineEvent> {
  const packed = await workTree.pack(commitMessage(summary));
  if (packed === null) throw new StepFault('HARNESS_BUG', 'a submission was accepted whose tree equals base');
  const { head, tree, bundlePath } = packed;
  const files = await workTree.changedPaths(tree);
  const bundle = await evidence.putFile(bundlePath, packMediaType);
  return {
    type: 'change.proposed',
    data: {
      ...{ step: step.id, attempt, base: snapshot.base, head, tree, bundle, summary },
      // A list for people; the gate computes its own from the objects.
      files: files.slice(0, 2_000),
    },
  };
}
