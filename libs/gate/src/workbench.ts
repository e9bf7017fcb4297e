import { constants } from 'node:fs';
import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exportTree, GitError } from '@plumbline/repo';
import { GateInfraError } from './gate-infra-error.js';
import type { Profile } from './profiles/profile.js';
import { runNodeTests, type TestRun } from './runners/run-node-tests.js';
import { assertDiskSpace, runInTree, type RunMeans } from './runners/sandbox-run.js';
import { rewrittenTests } from './trees/rewritten-tests.js';
import { composeTree, type ComposedTree } from './trees/compose-tree.js';

/** `base`: base as it is. `head`: the change's files under base's harness. */
export type Side = 'base' | 'head';

/** How a build ended. */
export type BuildRun =
  { readonly kind: 'built' } | { readonly kind: 'failed' | 'unclear'; readonly what: string; readonly log: string };

/** Runs of base, kept between gates on the same base. The key says everything that a run depends on. */
export type BaseRuns = Map<string, Promise<TestRun | null>>;

export interface WorkbenchOptions {
  readonly gitDir: string;
  readonly base: string;
  readonly tree: string;
  readonly profile: Profile;
  readonly means: RunMeans;
  /** A real path, empty, removed by the caller. */
  readonly workDir: string;
  readonly baseRuns: BaseRuns;
}

/** Exports trees and runs them, each once. What one check has found out, the next need not find out again. */
export class Workbench {
  private exports = 0;
  private readonly done = new Map<string, Promise<unknown>>();

  constructor(private readonly options: WorkbenchOptions) {}

  /** The tree that is run for the change. */
  composed(): Promise<ComposedTree> {
    const { gitDir, base, tree, profile } = this.options;
    return this.once('composed', () => composeTree({ gitDir, base, head: tree, named: profile.harnessFiles }));
  }

  /** Exports a tree (or commit) into a new folder of its own; the caller may write there. */
  async exportTree(tree: string): Promise<string> {
    this.exports += 1;
    const dir = join(this.options.workDir, `tree-${this.exports}`);
    return this.onDisk(async () => {
      await exportTree({ gitDir: this.options.gitDir, tree, dir });
      if (this.options.means.dependencies !== undefined) await mkdir(join(dir, 'node_modules'), { recursive: true });
      return dir;
    });
  }

  /** Builds one side; `built` also when there is nothing to build. */
  build(side: Side): Promise<BuildRun> {
    return this.once(`build ${side}`, async () => {
      const treeDir = await this.treeDir(side);
      return this.runBuild(treeDir);
    });
  }

  /** Runs the tests of one side in its built tree; null when it does not build. */
  tests(side: Side): Promise<TestRun | null> {
    if (side === 'head') return this.once('tests head', async () => this.runTests('head', await this.writes()));
    return this.baseTests();
  }

  private baseTests(): Promise<TestRun | null> {
    const { base, profile, means, baseRuns } = this.options;
    const key = JSON.stringify([
      base,
      profile,
      describePatterns(profile),
      means.sandbox.isolation,
      means.limits,
      means.dependencies,
    ]);
    const known = baseRuns.get(key);
    if (known !== undefined) return known;
    const run = this.runBaseTests();
    baseRuns.set(key, run);
    run.catch(() => baseRuns.delete(key));
    return run;
  }

  /** Runs the change's tests once more, in a tree of their own: for ends that may have been an accident, never for failures. */
  async testsAgain(): Promise<TestRun> {
    const { tree } = await this.composed();
    const treeDir = await this.exportTree(tree);
    await this.runBuild(treeDir);
    return this.suite(treeDir, tree, await this.writes());
  }

  /** Tests see their tree read-only, unless base's own need to write there: what a test may write, it may write over other tests. */
  private async runBaseTests(): Promise<TestRun | null> {
    const run = await this.runTests('base', false);
    if (run?.kind !== 'reported' || !/EROFS|read-only file system/i.test(run.log)) return run;
    const treeDir = await this.exportTree(this.options.base);
    await this.runBuild(treeDir);
    const again = await this.suite(treeDir, this.options.base, true);
    return again.kind === 'reported' && failures(again) < failures(run) ? again : run;
  }

  private async writes(): Promise<boolean> {
    const base = await this.baseTests();
    return base?.kind === 'reported' && base.writable;
  }

  private treeDir(side: Side): Promise<string> {
    return this.once(`export ${side}`, async () =>
      this.exportTree(side === 'base' ? this.options.base : (await this.composed()).tree),
    );
  }

  private async runBuild(treeDir: string): Promise<BuildRun> {
    const { profile, means } = this.options;
    if (profile.build.kind !== 'commands') return { kind: 'built' };
    const harnessDir = await this.harnessDir();
    for (const command of profile.build.commands) {
      const end = await runInTree(means, { argv: ['/bin/sh', '-c', command], treeDir, harnessDir });
      if (end.kind === 'exited' && end.exitCode === 0) continue;
      await assertDiskSpace(this.options.workDir);
      const what =
        end.kind === 'exited' ? `«${command}» ended with status ${end.exitCode}` : `«${command}»: ${end.what}`;
      return {
        kind: end.kind === 'unclear' ? 'unclear' : 'failed',
        what: what.slice(0, 400),
        log: `${end.stdout}\n${end.stderr}`,
      };
    }
    return { kind: 'built' };
  }

  private async runTests(side: Side, writable: boolean): Promise<TestRun | null> {
    const built = await this.build(side);
    if (built.kind !== 'built') return null;
    const tree = side === 'base' ? this.options.base : (await this.composed()).tree;
    return this.suite(await this.treeDir(side), tree, writable);
  }

  private async suite(treeDir: string, tree: string, writable: boolean): Promise<TestRun> {
    const { gitDir, profile, means, workDir } = this.options;
    if (profile.tests.kind !== 'node-test') throw new Error(`no runner for ${profile.tests.kind}`);
    const run = await this.onDisk(async () =>
      runNodeTests(means, {
        plan: profile.tests as Extract<typeof profile.tests, { kind: 'node-test' }>,
        ...{ treeDir, writable, harnessDir: await this.harnessDir() },
        rewrittenFiles: () => rewrittenTests({ gitDir, tree, treeDir }),
      }),
    );
    const isClean =
      run.kind === 'reported' && run.distrust.length === 0 && run.tests.every(({ status }) => status !== 'failed');
    if (!isClean) await assertDiskSpace(workDir);
    return run;
  }

  /** The harness's own programs in a folder of their own, so that nothing else of the installation is shown to judged code. */
  private harnessDir(): Promise<string> {
    return this.once('harness', async () => {
      const dir = join(this.options.workDir, 'harness');
      await mkdir(dir, { recursive: true });
      for (const name of ['run-node-tests.mjs', 'exit-guard.mjs'])
        await copyFile(fileURLToPath(new URL(`./harness/${name}`, import.meta.url)), join(dir, name));
      // The kernel shows the memory and descriptors of a program that may be run and not read to nobody, not even to its own user: judged
      // code, which runs beside the runner, would find the key of the report there.
      await copyNode(this.options.means.toolchain, join(dir, 'node'));
      return dir;
    });
  }

  private once<T>(key: string, work: () => Promise<T>): Promise<T> {
    const known = this.done.get(key) as Promise<T> | undefined;
    if (known !== undefined) return known;
    const started = work();
    this.done.set(key, started);
    return started;
  }

  /** Turns faults of this machine's disk, memory and git into what they are. Other errors stay what they were. */
  private async onDisk<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (isMachineFault(error))
        throw new GateInfraError((error as Error).message, 'Free resources on this machine, then run the gate again.', {
          cause: error,
        });
      throw error;
    }
  }
}

/** Copies the node that judged code runs with, for execution only. Throws GateInfraError when it is not there. */
async function copyNode(toolchain: RunMeans['toolchain'], to: string): Promise<void> {
  const from =
    toolchain === null
      ? process.execPath
      : join(toolchain.mount.host, relative(toolchain.mount.inside, `${toolchain.pathEntry}/node`));
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE);
    await chmod(to, 0o111);
  } catch (error) {
    const mend = 'Install Node.js there, and leave room for a copy of it in the scratch folder.';
    throw new GateInfraError(`node cannot be copied from ${from}: ${(error as Error).message}`, mend, { cause: error });
  }
}

const failures = (run: Extract<TestRun, { kind: 'reported' }>): number =>
  run.tests.filter(({ status }) => status === 'failed').length;

const machineCodes = new Set(['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'ENOMEM', 'EIO', 'EROFS', 'EACCES', 'EPERM']);

/** Whether an error is a fault of this machine, whatever the judged code did. */
export function isMachineFault(error: unknown): boolean {
  if (error instanceof GitError) return error.retry === 'later' || error.code === 'GIT_MISSING';
  return machineCodes.has(String((error as NodeJS.ErrnoException | null)?.code));
}

/** Patterns do not show in JSON. */
const describePatterns = (profile: Profile): string[] =>
  profile.tests.kind === 'node-test' ? profile.tests.patterns.map(String) : [];
