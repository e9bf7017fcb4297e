import { chmod, lstat, mkdir, readdir, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { StepFault, type EventData } from '@plumbline/domain';
import {
  bundleChange,
  commitChange,
  diffTrees,
  exportTree,
  GitError,
  openChange,
  sealWorkspace,
  writeTree,
  type Workspace,
} from '@plumbline/repo';

const author = { name: 'Plumbline', email: 'plumbline@localhost' };
const bundleBytesMax = 64 << 20;

/** A commit of the work tree, packed so that any machine can open it on top of base. */
export interface PackedTree {
  readonly head: string;
  readonly tree: string;
  readonly bundlePath: string;
}

/** The tree cannot be a change: for what the model did to it, not for anything of this machine. */
export class UnusableTree extends Error {
  override readonly name = 'UnusableTree';
}

/**
 * The work tree of one attempt on this machine, with the private object store beside it. Whatever judged code did to the tree, its id is
 * computed from the files themselves, and only trees that a clean room would open are ever recorded.
 */
export class WorkTree {
  private constructor(
    private readonly dir: string,
    private readonly packPath: string,
    private readonly workspace: Workspace,
    private readonly at: Date,
  ) {}

  /** The work tree of base in the new directory `dir`, made from the snapshot's pack. */
  static async ofBase(
    dir: string,
    packPath: string,
    snapshot: EventData<'snapshot.taken'>,
    at: Date,
  ): Promise<WorkTree> {
    const { base, objectFormat } = snapshot;
    const sealed = await asSetUp(
      sealWorkspace({ packPath, base, objectFormat, dir: join(await realpath(dir), 'seal') }),
    );
    return new WorkTree(await realpath(dir), packPath, sealed, at);
  }

  /** The work tree as an earlier holder of the attempt left it. */
  static async restored(
    dir: string,
    packPath: string,
    snapshot: EventData<'snapshot.taken'>,
    at: Date,
    packed: PackedTree,
  ): Promise<WorkTree> {
    const real = await realpath(dir);
    const { base } = snapshot;
    const { head, tree, bundlePath: bundle } = packed;
    const gitDir = join(real, 'seal', 'git');
    const treeDir = join(real, 'seal', 'tree');
    await mkdir(join(real, 'seal'));
    await asSetUp(openChange({ snapshotPack: packPath, bundle, base, head, tree, dir: gitDir }));
    await asSetUp(exportTree({ gitDir, tree, dir: treeDir }));
    return new WorkTree(real, packPath, { gitDir, treeDir, base }, at);
  }

  get treeDir(): string {
    return this.workspace.treeDir;
  }

  get gitDir(): string {
    return this.workspace.gitDir;
  }

  /** Tree id of the files as they are now. @throws UnusableTree when they cannot be a tree */
  async id(): Promise<string> {
    return this.orUnusable(writeTree(this.workspace));
  }

  /**
   * Commits the tree on base and packs the commit, after proving that it can be opened elsewhere: links and submodules are judged here as
   * the clean room will judge them. Null when the tree equals base. @throws UnusableTree
   */
  async pack(message: string): Promise<PackedTree | null> {
    const commit = await this.orUnusable(commitChange({ ...this.workspace, message, author, at: this.at }));
    if (commit.empty) return null;
    const { head, tree } = commit;
    const { base, gitDir } = this.workspace;
    const bundlePath = join(this.dir, `${head}.pack`);
    await this.orUnusable(bundleChange({ gitDir, base, head, bundlePath, maxBytes: bundleBytesMax }));
    await this.proveOpenable({ head, tree, bundlePath });
    return { head, tree, bundlePath };
  }

  /** Paths that differ from base, sorted. */
  async changedPaths(tree: string): Promise<string[]> {
    const { gitDir, base } = this.workspace;
    return (await diffTrees({ gitDir, base, head: tree })).map(({ path }) => path);
  }

  /** Puts the files back to a tree that was recorded before. What base's ignore rules hide (build output, caches) is lost with it. */
  async reset(tree: string): Promise<void> {
    await removeTree(this.treeDir);
    await exportTree({ gitDir: this.gitDir, tree, dir: this.treeDir });
  }

  private async proveOpenable({ head, tree, bundlePath }: PackedTree): Promise<void> {
    const { base, gitDir } = this.workspace;
    const brought = await diffTrees({ gitDir, base, head });
    // Only these can be refused for what they are; opening costs a second copy of the store.
    if (!brought.some(({ newMode }) => newMode === '120000' || newMode === '160000')) return;
    const dir = join(this.dir, 'proof');
    try {
      await this.orUnusable(openChange({ snapshotPack: this.packPath, bundle: bundlePath, base, head, tree, dir }));
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  }

  private async orUnusable<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof GitError)) throw error;
      if (error.retry === 'later') throw new StepFault('WORKSPACE_SETUP', error.message, { cause: error });
      if (error.code === 'GIT_MISSING') throw new StepFault('CONFIG_INVALID', error.message, { cause: error });
      throw new UnusableTree(error.what.replaceAll(this.dir, ''), { cause: error });
    }
  }
}

async function asSetUp<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof GitError) throw new StepFault('WORKSPACE_SETUP', error.message, { cause: error });
    throw error;
  }
}

/** Removes a directory that judged code wrote, also one it took its own permissions from. */
export async function removeTree(dir: string): Promise<void> {
  try {
    await rm(dir, { recursive: true, force: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM') throw error;
    await openDirectories(dir);
    await rm(dir, { recursive: true, force: true });
  }
}

async function openDirectories(dir: string): Promise<void> {
  if (!(await lstat(dir)).isDirectory()) return;
  await chmod(dir, 0o700);
  for (const entry of await readdir(dir, { withFileTypes: true }))
    if (entry.isDirectory()) await openDirectories(join(dir, entry.name));
}
