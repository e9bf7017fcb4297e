import { git } from './git.js';
import { GitError } from './git-error.js';
import { assertObjectId } from './object-store.js';

export interface TreeEntry {
  readonly path: string;
  /** As git writes it: 100644, 100755, 120000 (symbolic link), 160000 (submodule). */
  readonly mode: string;
  readonly id: string;
}

/** Every file of a tree or commit, in git's order. Throws `UNSAFE_TREE` on names that are not UTF-8, which could not be told apart. */
export async function listTree(options: { readonly gitDir: string; readonly tree: string }): Promise<TreeEntry[]> {
  assertObjectId(options.tree);
  const output = await git(['ls-tree', '-r', '-z', '--full-tree', options.tree], { gitDir: options.gitDir });
  return splitNul(output).map((record) => {
    const tab = record.indexOf('\t');
    const [mode = '', , id = ''] = record.slice(0, tab).split(' ');
    return { path: record.slice(tab + 1), mode, id };
  });
}

/** Contents of one blob; throws `TOO_LARGE` above `maxBytes` (default 16 MiB). */
export async function readBlob(options: {
  readonly gitDir: string;
  readonly blob: string;
  readonly maxBytes?: number;
}): Promise<Buffer> {
  assertObjectId(options.blob);
  return git(['cat-file', 'blob', options.blob], { gitDir: options.gitDir, maxBytes: options.maxBytes ?? 16 << 20 });
}

/** NUL-separated records; throws when the bytes are not UTF-8. */
export function splitNul(output: Buffer): string[] {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(output).split('\0').slice(0, -1);
  } catch {
    throw new GitError('UNSAFE_TREE', 'A file name is not valid UTF-8.');
  }
}
