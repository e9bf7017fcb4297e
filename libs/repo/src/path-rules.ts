import { GitError } from './git-error.js';
import { readBlob, type TreeEntry } from './tree-entries.js';

/** Code points that HFS+ ignores when it compares names (git's `utf8.c`, `next_hfs_char`). */
const HFS_IGNORED = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;

/** Why a path may not appear in a work tree, or null. Refuses every spelling of `.git` that some file system takes for it. */
export function pathProblem(path: string): string | null {
  for (const part of path.split('/')) {
    if (part === '' || part === '.' || part === '..') return 'has an empty, . or .. segment';
    if (isDotGit(part)) return 'is a spelling of .git';
  }
  return path.includes('\0') ? 'contains NUL' : null;
}

function isDotGit(part: string): boolean {
  const plain = part.replace(HFS_IGNORED, '').toLowerCase();
  // NTFS drops trailing dots and spaces, separates streams by colons, and offers git~1 as a short name; a backslash separates there.
  return plain.split('\\').some((piece) => /^(\.git|git~\d+)[. ]*(:.*)?$/.test(piece));
}

/** Throws `UNSAFE_TREE` naming the first entries that break the path rules. */
export function assertSafePaths(entries: readonly TreeEntry[]): void {
  const bad = entries.flatMap(({ path }) => {
    const problem = pathProblem(path);
    return problem === null ? [] : [`${JSON.stringify(path)} ${problem}`];
  });
  if (bad.length > 0) throw new GitError('UNSAFE_TREE', `${bad.slice(0, 5).join('; ')}.`);
}

/** Symbolic links among the entries whose target is absolute or leaves the tree. */
export async function escapingLinks(gitDir: string, entries: readonly TreeEntry[]): Promise<string[]> {
  const found: string[] = [];
  for (const entry of entries.filter(({ mode }) => mode === '120000')) {
    const target = (await readBlob({ gitDir, blob: entry.id, maxBytes: 64 << 10 })).toString('utf8');
    if (leavesTree(entry.path, target)) found.push(entry.path);
  }
  return found;
}

/**
 * `..` counts only at the beginning, where the directories above are real ones; after a name it could climb out of another link's
 * target, so it is taken for an escape.
 */
function leavesTree(path: string, target: string): boolean {
  if (target.startsWith('/')) return true;
  const depth = path.split('/').length - 1;
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const climbs = parts.findIndex((part) => part !== '..');
  const names = climbs === -1 ? [] : parts.slice(climbs);
  return parts.length - names.length > depth || names.some((part) => part === '..' || isDotGit(part));
}
