import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ArtifactDoor, type HeldStep, Evidence } from '@plumbline/bus';
import { StepFault, type CheckResult, type EventData, type FaultCode, type PlumblineEvent } from '@plumbline/domain';
import { GateInfraError, runGate, type BaseRuns, type GateOptions } from '@plumbline/gate';
import type { OpenedChange } from '@plumbline/repo';
import type { Sandbox, Toolchain } from '@plumbline/sandbox';
import type { GateMetrics } from './metrics.js';
import { notAChange, openProposedChange } from './open-proposed-change.js';

/** What a gating step needs besides itself. */
export interface GateMeans {
  readonly artifacts: ArtifactDoor;
  readonly sandbox: Sandbox;
  readonly toolchain: Toolchain | null;
  readonly metrics: GateMetrics;
  /** Scratch space; every step gets a folder of its own in it, and leaves none. */
  readonly workDir: string;
  /** Default: every check there is. */
  readonly checks?: GateOptions['checks'];
}

/**
 * The handler of gating steps: records each check as it concludes and ends with `gate.concluded`. Faults of the machine are thrown as
 * StepFaults; nothing a change does makes one.
 */
export function gatingHandler(means: GateMeans): (step: HeldStep) => Promise<PlumblineEvent[]> {
  return async (step) => {
    const { submission, snapshot, attempts } = step.task;
    const change = attempts.find(({ n }) => n === step.name.attempt)?.change;
    if (submission === undefined || snapshot === undefined || change === undefined)
      throw new StepFault('HARNESS_BUG', `the history of ${step.taskId} holds no change for ${step.id}`);
    const dir = await makeFolder(means.workDir, step);
    try {
      const evidence = new Evidence(means.artifacts, step.signal);
      const proposed = await openProposedChange(evidence, snapshot, change, dir);
      if (proposed.ok) return [await examine(means, step, change, proposed.change, evidence, dir)];
      return [await refuse(means, step, change, proposed.why)];
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  };
}

/** The event that a gating step failed. */
export function gateFailed(step: HeldStep, code: FaultCode, detail: string): PlumblineEvent {
  return { type: 'gate.failed', data: { step: step.id, attempt: step.name.attempt, code, detail } };
}

async function makeFolder(workDir: string, step: HeldStep): Promise<string> {
  try {
    await mkdir(workDir, { recursive: true });
    return await realpath(await mkdtemp(join(workDir, `${step.taskId}-${step.id}-`)));
  } catch (error) {
    throw new StepFault('WORKSPACE_SETUP', (error as Error).message.slice(0, 1_900), { cause: error });
  }
}

async function examine(
  means: GateMeans,
  step: HeldStep,
  proposed: EventData<'change.proposed'>,
  change: OpenedChange,
  evidence: Evidence,
  dir: string,
): Promise<PlumblineEvent> {
  const { sandbox, toolchain, metrics, checks } = means;
  const { issue, policy } = step.task.submission ?? unreachable();
  const { gitDir, base, head, tree } = change;
  const baseRuns: BaseRuns = new Map();
  try {
    const run = await runGate({
      ...{ gitDir, base, head, tree, issue, policy, sandbox, toolchain, baseRuns, signal: step.signal },
      ...(checks === undefined ? {} : { checks }),
      workDir: join(dir, 'gate'),
      finished: recordedResults(step, proposed.tree),
      keep: (text, mediaType) => evidence.putText(text, mediaType),
      onStart: ({ id }) => step.live({ doing: 'check', check: id }),
      onCheck: (result) => recordCheck(step, metrics, result),
    });
    const { concluded, changeClass, languages, hunks, environment } = run;
    return {
      type: 'gate.concluded',
      data: {
        ...{ step: step.id, attempt: step.name.attempt, base, head, tree, concluded: [...concluded] },
        ...{
          changeClass: [...changeClass],
          languages: [...languages],
          hunks: [...hunks],
          environment: { ...environment },
        },
      },
    };
  } catch (error) {
    if (error instanceof GateInfraError)
      throw new StepFault('GATE_ERROR', error.message.slice(0, 1_900), { cause: error });
    throw error;
  }
}

async function recordCheck(step: HeldStep, metrics: GateMetrics, result: CheckResult): Promise<void> {
  await step.record(`check-${result.check}`, [
    { type: 'check.concluded', data: { step: step.id, attempt: step.name.attempt, result } },
  ]);
  metrics.plumb_gate_checks_total.inc(1, { check: result.check, outcome: result.outcome });
  metrics.plumb_gate_check_seconds.observe(result.durationMs / 1_000, { check: result.check });
}

/** What an earlier holder of this very step has recorded about this tree. */
function recordedResults(step: HeldStep, tree: string): CheckResult[] {
  return step.history.flatMap((event) =>
    event.type === 'check.concluded' && event.data.step === step.id && event.data.result.tree === tree
      ? [event.data.result]
      : [],
  );
}

/** A proposal that is no change is judged by that alone. */
async function refuse(
  means: GateMeans,
  step: HeldStep,
  proposed: EventData<'change.proposed'>,
  why: string,
): Promise<PlumblineEvent> {
  const result = notAChange(proposed.tree, why);
  const isRecorded = recordedResults(step, proposed.tree).some(({ check }) => check === result.check);
  if (!isRecorded) await recordCheck(step, means.metrics, result);
  const { base, head, tree } = proposed;
  return {
    type: 'gate.concluded',
    data: {
      ...{ step: step.id, attempt: step.name.attempt, base, head, tree },
      concluded: [{ check: result.check, outcome: result.outcome }],
      ...{ changeClass: [], languages: [], hunks: [] },
      environment: { sandbox: means.sandbox.kind, node: process.version },
    },
  };
}

function unreachable(): never {
  throw new StepFault('HARNESS_BUG', 'a gating step without a submission');
}
