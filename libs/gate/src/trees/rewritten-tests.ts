import { createHash } from 'node:crypto';
import { lstat, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { listTree } from '@plumbline/repo';

const isTest = (path: string): boolean =>
  /(^|\/)(tests?|__tests__|specs?)\//.test(path) ||
  /(^|\/)(test-[^/]*|test|[^/]*[._-](test|spec))\.[cm]?[jt]sx?$/.test(path);

/** The test files of a tree that are not in its export as the tree has them: changed, replaced or gone. Sorted. */
export async function rewrittenTests(options: {
  readonly gitDir: string;
  readonly tree: string;
  readonly treeDir: string;
}): Promise<string[]> {
  const { gitDir, tree, treeDir } = options;
  const found: string[] = [];
  for (const { path, mode, id } of await listTree({ gitDir, tree }))
    if (mode !== '160000' && isTest(path) && (await blobOf(join(treeDir, path), mode, id)) !== id) found.push(path);
  return found.sort();
}

/** What git would call the contents of a file or link (gitformat-loose); null when it is not there, or not of that kind. */
async function blobOf(file: string, mode: string, like: string): Promise<string | null> {
  try {
    const stats = await lstat(file);
    const isLink = mode === '120000';
    // Opening anything else, say a pipe, could wait for ever.
    if (isLink ? !stats.isSymbolicLink() : !stats.isFile()) return null;
    const bytes = isLink ? Buffer.from(await readlink(file)) : await readFile(file);
    return createHash(like.length === 64 ? 'sha256' : 'sha1')
      .update(`blob ${bytes.length}\0`)
      .update(bytes)
      .digest('hex');
  } catch {
    return null;
  }
}
