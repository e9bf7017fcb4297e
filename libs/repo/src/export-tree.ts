import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError } from './git-error.js';
import { git } from './git.js';
import { assertObjectId } from './object-store.js';
import { assertSafePaths, escapingLinks } from './path-rules.js';
import { listTree } from './tree-entries.js';

export interface ExportedTree {
  readonly files: number;
  /** Symbolic links that point out of the tree. They are written as they are: harmless inside a sandbox, not to be followed outside. */
  readonly escapingLinks: readonly string[];
  /** Submodules, left as empty directories. */
  readonly submodules: readonly string[];
}

/**
 * Writes the files of a tree (or commit) into an empty or new directory, byte for byte as stored, without a .git: no filters, no
 * conversion, nothing left out. Throws `UNSAFE_TREE` before writing anything when a path breaks the rules.
 */
export async function exportTree(options: {
  readonly gitDir: string;
  readonly tree: string;
  readonly dir: string;
}): Promise<ExportedTree> {
  const { gitDir, tree, dir } = options;
  assertObjectId(tree);
  const entries = await listTree({ gitDir, tree });
  assertSafePaths(entries);
  await mkdir(dir, { recursive: true });
  if ((await readdir(dir)).length > 0) throw new GitError('FAILED', `${dir} is not empty.`);
  await withIndex(gitDir, async (indexFile) => {
    await git(['read-tree', tree], { gitDir, indexFile });
    await git(['checkout-index', '--all', '--force', '--quiet'], {
      gitDir,
      indexFile,
      workTree: dir,
      timeoutMs: 600_000,
    });
  });
  const submodules = entries.filter(({ mode }) => mode === '160000').map(({ path }) => path);
  return { files: entries.length - submodules.length, escapingLinks: await escapingLinks(gitDir, entries), submodules };
}

/** Lends a private index, so that no state of an earlier operation, and nobody else's, is ever trusted. */
export async function withIndex<T>(gitDir: string, use: (indexFile: string) => Promise<T>): Promise<T> {
  const indexFile = join(gitDir, `index-${randomBytes(8).toString('hex')}`);
  try {
    return await use(indexFile);
  } finally {
    await rm(indexFile, { force: true });
    await rm(`${indexFile}.lock`, { force: true });
  }
}
