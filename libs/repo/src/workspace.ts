import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { exportTree, withIndex } from './export-tree.js';
import { GitError } from './git-error.js';
import { git, gitLine } from './git.js';
import {
  addPack,
  assertObjectId,
  assertOnlyReachable,
  createStore,
  setShallow,
  type ObjectFormat,
} from './object-store.js';
import { assertSafePaths } from './path-rules.js';
import { listTree, readBlob, splitNul } from './tree-entries.js';

/**
 * A sealed clone in two parts. Only `treeDir` may be shown to judged code as writable; `gitDir` lies outside it, so no config, hook,
 * index or attribute that judged code writes is ever read by our git.
 */
export interface Workspace {
  readonly gitDir: string;
  readonly treeDir: string;
  readonly base: string;
}

export interface SealedWorkspace extends Workspace {
  readonly escapingLinks: readonly string[];
  readonly submodules: readonly string[];
}

/**
 * Makes a workspace from a snapshot: it holds the objects of `base` and no others, has no remote and no hook, and is on branch
 * `work`. Throws `CORRUPT` when the pack holds anything else, `UNSAFE_TREE` when a path breaks the rules.
 */
export async function sealWorkspace(options: {
  readonly packPath: string;
  readonly base: string;
  readonly dir: string;
  readonly objectFormat: ObjectFormat;
}): Promise<SealedWorkspace> {
  const { base } = options;
  assertObjectId(base);
  const gitDir = join(options.dir, 'git');
  const treeDir = join(options.dir, 'tree');
  await createStore(gitDir, options.objectFormat);
  await setShallow(gitDir, base);
  await addPack(gitDir, options.packPath);
  await assertOnlyReachable(gitDir, base);
  await git(['update-ref', 'refs/heads/work', base], { gitDir });
  const exported = await exportTree({ gitDir, tree: base, dir: treeDir });
  return { gitDir, treeDir, base, escapingLinks: exported.escapingLinks, submodules: exported.submodules };
}

/**
 * Tree id of the work tree as it is now. Every file is read anew, whatever its time stamps say. Files that base's own .gitignore
 * files exclude stay out; ignore rules written later do not hide anything. Throws `UNSAFE_TREE` for nested repositories.
 */
export async function writeTree(workspace: Workspace): Promise<string> {
  const { gitDir, treeDir, base } = workspace;
  const baseEntries = await listTree({ gitDir, tree: base });
  const ignoreDir = await mkdtemp(join(tmpdir(), 'plumbline-ignore-'));
  try {
    const ignoreFile = join(ignoreDir, 'exclude');
    await writeFile(ignoreFile, await ignoreRules(workspace, baseEntries));
    return await withIndex(gitDir, async (indexFile) => {
      const call = { gitDir, workTree: treeDir, indexFile, timeoutMs: 300_000 };
      await git(['read-tree', base], call);
      const added = splitNul(await git(['ls-files', '-z', '--others', `--exclude-from=${ignoreFile}`], call));
      const nested = added.filter((path) => path.endsWith('/'));
      if (nested.length > 0)
        throw new GitError('UNSAFE_TREE', `${nested.slice(0, 5).join(', ')}: a repository inside the repository.`);
      const changed = splitNul(
        await git(['diff-files', '-z', '--name-status', '--no-renames', '--ignore-submodules=all'], call),
      );
      const { removed, modified } = byStatus(changed);
      await git(['update-index', '-z', '--force-remove', '--stdin'], { ...call, input: nul(removed) });
      await git(['update-index', '-z', '--add', '--replace', '--stdin'], {
        ...call,
        input: nul([...modified, ...added]),
      });
      const tree = await gitLine(['write-tree'], call);
      assertSafePaths(await listTree({ gitDir, tree }));
      return tree;
    });
  } finally {
    await rm(ignoreDir, { recursive: true, force: true });
  }
}

export interface Author {
  readonly name: string;
  readonly email: string;
}

export interface Commit {
  readonly head: string;
  readonly tree: string;
  /** True when the tree equals base's: nothing was changed. */
  readonly empty: boolean;
}

/**
 * Commits the work tree as one commit on base and moves branch `work` there. The same tree, message, author and instant give the same id.
 * When nothing changed, `head` is base and no commit is made.
 */
export async function commitChange(
  options: Workspace & { readonly message: string; readonly author: Author; readonly at: Date },
): Promise<Commit> {
  const { gitDir, base, author } = options;
  const tree = await writeTree(options);
  const baseTree = await gitLine(['rev-parse', '--verify', `${base}^{tree}`], { gitDir });
  if (tree === baseTree) return { head: base, tree, empty: true };
  // Without the @ git takes small numbers for something else than seconds.
  const date = `@${Math.floor(options.at.getTime() / 1000)} +0000`;
  const env = {
    ...{ GIT_AUTHOR_NAME: oneLine(author.name), GIT_AUTHOR_EMAIL: oneLine(author.email), GIT_AUTHOR_DATE: date },
    ...{
      GIT_COMMITTER_NAME: oneLine(author.name),
      GIT_COMMITTER_EMAIL: oneLine(author.email),
      GIT_COMMITTER_DATE: date,
    },
  };
  const head = await gitLine(['commit-tree', '-p', base, '-F', '-', tree], { gitDir, env, input: options.message });
  await git(['update-ref', 'refs/heads/work', head], { gitDir });
  return { head, tree, empty: false };
}

/** All .gitignore files of base as one list anchored at the top, outer directories first, as git ranks them. */
async function ignoreRules(workspace: Workspace, entries: Awaited<ReturnType<typeof listTree>>): Promise<string> {
  const files = entries
    .filter(({ path, mode }) => posix.basename(path) === '.gitignore' && mode.startsWith('100'))
    .sort((a, b) => a.path.split('/').length - b.path.split('/').length);
  const rules: string[] = [];
  for (const { path, id } of files) {
    const text = (await readBlob({ gitDir: workspace.gitDir, blob: id, maxBytes: 1 << 20 })).toString('utf8');
    rules.push(...text.split('\n').flatMap((line) => anchored(line, posix.dirname(path))));
  }
  return `${rules.join('\n')}\n`;
}

/** One ignore pattern of a directory, rewritten to mean the same at the top (gitignore(5), "PATTERN FORMAT"). */
function anchored(line: string, dir: string): string[] {
  const text = line.replace(/\r$/, '');
  if (dir === '.' || text === '' || text.startsWith('#')) return [text];
  const negated = text.startsWith('!');
  const pattern = negated ? text.slice(1) : text;
  const where = dir.replace(/[\\*?[\]]/g, '\\$&');
  const isPath = pattern.replace(/\/\s*$/, '').includes('/');
  return [`${negated ? '!' : ''}/${where}/${isPath ? pattern.replace(/^\//, '') : `**/${pattern}`}`];
}

function byStatus(fields: readonly string[]): { removed: string[]; modified: string[] } {
  const removed: string[] = [];
  const modified: string[] = [];
  for (let index = 0; index + 1 < fields.length; index += 2) {
    (fields[index] === 'D' ? removed : modified).push(fields[index + 1] ?? '');
  }
  return { removed, modified };
}

function nul(paths: readonly string[]): string {
  return paths.map((path) => `${path}\0`).join('');
}

/** A line break or an angle bracket would end the header of the commit early. */
function oneLine(text: string): string {
  return text.replace(/[\u0000-\u001f<>]/g, ' ').trim() || 'unnamed';
}
