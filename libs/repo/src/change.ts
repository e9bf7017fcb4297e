import { rm, stat } from 'node:fs/promises';
import { diffTrees } from './diff.js';
import { GitError } from './git-error.js';
import { git, gitLine } from './git.js';
import { addPack, assertObjectId, assertOnlyReachable, createStore, formatOf, setShallow } from './object-store.js';
import { assertSafePaths, escapingLinks } from './path-rules.js';

/** Writes the objects of base..head, and nothing of base, as a pack. Throws `TOO_LARGE` above `maxBytes` (default 256 MiB). */
export async function bundleChange(options: {
  readonly gitDir: string;
  readonly base: string;
  readonly head: string;
  readonly bundlePath: string;
  readonly maxBytes?: number;
}): Promise<{ bundlePath: string; sizeBytes: number }> {
  const { gitDir, base, head, bundlePath } = options;
  assertObjectId(base);
  assertObjectId(head);
  const maxBytes = options.maxBytes ?? 256 << 20;
  await rm(bundlePath, { force: true });
  try {
    const args = ['pack-objects', '--quiet', '--revs', '--stdout'];
    await git(args, { gitDir, input: `${head}\n^${base}\n`, outputFile: bundlePath, maxBytes });
  } catch (error) {
    await rm(bundlePath, { force: true });
    throw error;
  }
  return { bundlePath, sizeBytes: (await stat(bundlePath)).size };
}

export interface OpenedChange {
  readonly gitDir: string;
  readonly base: string;
  readonly head: string;
  readonly tree: string;
  /** From the first after base to head. */
  readonly commits: readonly string[];
}

/**
 * Opens a change from elsewhere in a new private store, believing nothing: objects are checked one by one, history must be one line from base
 * to head, the tree must be the announced one, and neither pack may hold an object too many or too few. Throws `CORRUPT`,
 * `NOT_LINEAR` or `UNSAFE_TREE` (spellings of .git, added submodules, added links that leave the tree).
 */
export async function openChange(options: {
  readonly snapshotPack: string;
  readonly bundle: string;
  readonly base: string;
  readonly head: string;
  /** The tree that was announced, when it was. */
  readonly tree?: string;
  readonly dir: string;
}): Promise<OpenedChange> {
  const { base, head, dir: gitDir } = options;
  assertObjectId(base);
  assertObjectId(head);
  await createStore(gitDir, formatOf(base));
  await setShallow(gitDir, base);
  await addPack(gitDir, options.snapshotPack);
  await assertOnlyReachable(gitDir, base);
  await addPack(gitDir, options.bundle);
  const commits = await lineOfCommits(gitDir, base, head);
  await assertOnlyReachable(gitDir, head);
  const tree = await gitLine(['rev-parse', '--verify', `${head}^{tree}`], { gitDir });
  if (options.tree !== undefined && options.tree !== tree) {
    throw new GitError('CORRUPT', `${head} has tree ${tree}, announced was ${options.tree}.`);
  }
  for (const commit of commits) await assertSafeChange(gitDir, base, commit);
  await git(['update-ref', 'refs/heads/base', base], { gitDir });
  await git(['update-ref', 'refs/heads/head', head], { gitDir });
  return { gitDir, base, head, tree, commits };
}

async function lineOfCommits(gitDir: string, base: string, head: string): Promise<string[]> {
  const text = await git(['rev-list', '--parents', '--max-count=10000', head, `^${base}`], { gitDir });
  const parents = new Map(
    text
      .toString('latin1')
      .split('\n')
      .filter(Boolean)
      .map(
        (line) =>
          [line.slice(0, line.indexOf(' ') === -1 ? undefined : line.indexOf(' ')), line.split(' ').slice(1)] as const,
      ),
  );
  const commits: string[] = [];
  let at = head;
  while (at !== base) {
    const [parent, ...others] = parents.get(at) ?? [];
    if (parent === undefined || others.length > 0) {
      throw new GitError('NOT_LINEAR', `${at} is ${parent === undefined ? 'not based on' : 'a merge after'} ${base}.`);
    }
    commits.unshift(at);
    at = parent;
  }
  return commits;
}

/** Also for commits in the middle: what a later commit removes again would still be published. */
async function assertSafeChange(gitDir: string, base: string, commit: string): Promise<void> {
  const brought = (await diffTrees({ gitDir, base, head: commit }))
    .filter(({ status }) => status !== 'D')
    .map(({ path, newMode, newBlob }) => ({ path, mode: newMode, id: newBlob }));
  assertSafePaths(brought);
  const submodule = brought.find(({ mode }) => mode === '160000');
  if (submodule !== undefined) throw new GitError('UNSAFE_TREE', `${submodule.path} is a submodule.`);
  const links = await escapingLinks(gitDir, brought);
  if (links.length > 0)
    throw new GitError('UNSAFE_TREE', `${links.slice(0, 5).join(', ')}: a symbolic link that leaves the tree.`);
}
