import { mkdtemp, mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { cut, type ArtifactRef, type CheckResult, type HunkRef, type Issue, type Policy } from '@plumbline/domain';
import { diffHunks, GitError, listTree } from '@plumbline/repo';
import type { Limits, Sandbox, Toolchain } from '@plumbline/sandbox';
import { changeClassOf, languagesOf } from './change-class.js';
import { allChecks } from './checks/all.js';
import type { Check, CheckContext, Conclusion, Subject } from './checks/check.js';
import { GateInfraError } from './gate-infra-error.js';
import { detectProfile } from './profiles/detect-profile.js';
import { removeFolder } from './remove-folder.js';
import { defaultLimits } from './runners/sandbox-run.js';
import { isMachineFault, Workbench, type BaseRuns } from './workbench.js';

const hunksMax = 5_000;

export interface GateOptions {
  /** A private store that holds base and the change (see `openChange`). Composed trees are added to it. */
  readonly gitDir: string;
  readonly base: string;
  readonly head: string;
  /** Tree of `head`: what every result is about. */
  readonly tree: string;
  readonly issue: Issue | null;
  readonly policy: Policy;
  readonly sandbox: Sandbox;
  readonly toolchain: Toolchain | null;
  /** Installed dependencies of base, a folder that judged code sees as node_modules, read-only. */
  readonly dependencies?: string;
  /** Scratch space; the gate makes a folder of its own in it and removes it. */
  readonly workDir: string;
  readonly signal: AbortSignal;
  /** Default: every check there is. */
  readonly checks?: readonly Check[];
  /** Results of an earlier gate on exactly this change; those of this rule version and tree are not found again. */
  readonly finished?: readonly CheckResult[];
  /** Told of each result as it is found, before the next check starts. */
  readonly onCheck?: (result: CheckResult) => Promise<void>;
  /** Told which check starts. */
  readonly onStart?: (check: Check) => void;
  /** Keeps logs and reports; without it results have no evidence beyond their findings. */
  readonly keep?: (text: string, mediaType: string) => Promise<ArtifactRef>;
  readonly baseRuns?: BaseRuns;
  readonly limits?: Partial<Limits>;
}

export interface GateRun {
  readonly subject: Subject;
  readonly results: readonly CheckResult[];
  readonly concluded: readonly Pick<CheckResult, 'check' | 'outcome'>[];
  /** The changed regions without context, at most 5000. */
  readonly hunks: readonly HunkRef[];
  readonly changeClass: readonly string[];
  readonly languages: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Examines one change with every check. Throws GateInfraError when the machine is at fault (results told to `onCheck` so far remain good),
 * and the signal's reason when it was told to stop; whatever the change does, it ends in results.
 */
export async function runGate(options: GateOptions): Promise<GateRun> {
  const workDir = await makeFolder(options.workDir);
  try {
    return await examine(options, workDir);
  } catch (error) {
    options.signal.throwIfAborted();
    throw isMachineFault(error) ? infraError(error) : error;
  } finally {
    await removeFolder(workDir);
  }
}

async function makeFolder(parent: string): Promise<string> {
  try {
    await mkdir(parent, { recursive: true });
    return await realpath(await mkdtemp(join(parent, 'gate-')));
  } catch (error) {
    throw infraError(error);
  }
}

function infraError(error: unknown): GateInfraError {
  const mend = 'Free resources on this machine, then run the gate again.';
  return new GateInfraError((error as Error).message, mend, { cause: error });
}

async function examine(options: GateOptions, workDir: string): Promise<GateRun> {
  const { gitDir, base, head, tree, issue, sandbox, toolchain, dependencies, signal } = options;
  const subject = { base, head, tree };
  const changes = await diffHunks({ gitDir, base, head: tree, context: 0 });
  const profile = await detectProfile({ gitDir, base });
  const limits = { ...defaultLimits, ...options.limits };
  const means = { sandbox, toolchain, limits, signal, ...(dependencies === undefined ? {} : { dependencies }) };
  const baseRuns = options.baseRuns ?? new Map();
  const workbench = new Workbench({ gitDir, base, tree, profile, means, workDir, baseRuns });
  const context: CheckContext = {
    ...{ subject, gitDir, changes, issue, profile, workbench, signal },
    basePaths: (await listTree({ gitDir, tree: base })).map(({ path }) => path),
    keep: async (text, mediaType) => (await options.keep?.(text.slice(0, 8 << 20), mediaType)) ?? null,
  };
  const results: CheckResult[] = [];
  for (const check of options.checks ?? allChecks) {
    signal.throwIfAborted();
    const known = options.finished?.find(
      (result) => result.check === check.id && result.version === check.version && result.tree === tree,
    );
    if (known === undefined) options.onStart?.(check);
    const result = known ?? (await conclude(check, context));
    results.push(result);
    if (known === undefined) await options.onCheck?.(result);
  }
  const paths = changes.map(({ path }) => path);
  const hunks = changes.flatMap((file) => file.hunks);
  return {
    ...{ subject, results, concluded: results.map(({ check, outcome }) => ({ check, outcome })) },
    hunks: hunks.slice(0, hunksMax).map(hunkRef),
    ...{ changeClass: changeClassOf(paths), languages: languagesOf(paths) },
    environment: {
      ...{
        sandbox: sandbox.kind,
        isolation: cut(sandbox.isolation, 500),
        profile: profile.name,
        node: process.version,
      },
      composedTree: (await workbench.composed()).tree,
      ...(hunks.length > hunksMax ? { hunks: `${hunksMax} of ${hunks.length} are listed` } : {}),
    },
  };
}

async function conclude(check: Check, context: CheckContext): Promise<CheckResult> {
  const startedAt = performance.now();
  const conclusion = await concludeOrTell(check, context);
  return {
    ...{ check: check.id, version: check.version, tree: context.subject.tree, outcome: conclusion.outcome },
    summary: cut(conclusion.summary.trim() || check.id, 500),
    ...(conclusion.predicate === undefined ? {} : { predicate: cut(conclusion.predicate, 500) }),
    findings: [...(conclusion.findings ?? [])].slice(0, 200),
    evidence: [...(conclusion.evidence ?? [])].slice(0, 20),
    durationMs: Math.round(performance.now() - startedAt),
  };
}

/** A tree that cannot be laid out (say, two names that differ in nothing but case) is the change's own fault, and `unknown` to the check. */
async function concludeOrTell(check: Check, context: CheckContext): Promise<Conclusion> {
  try {
    return await check.run(context);
  } catch (error) {
    if (!(error instanceof GitError) || isMachineFault(error)) throw error;
    return { outcome: 'unknown', summary: `the tree of the change could not be laid out: ${error.message}` };
  }
}

function hunkRef({ id, path, oldStart, oldLines, newStart, newLines }: HunkRef): HunkRef {
  return { id, path, oldStart, oldLines, newStart, newLines };
}
