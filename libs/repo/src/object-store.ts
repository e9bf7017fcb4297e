import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError } from './git-error.js';
import { git } from './git.js';

export type ObjectFormat = 'sha1' | 'sha256';

/**
 * Outranks every .gitattributes of a repository: no filters, no line-ending or encoding conversion, no keyword expansion, nothing left
 * out of an export, and no file hidden from a diff by being declared binary. `!` means "as if never mentioned".
 * git from 2.43 reads attributes from HEAD's tree in bare stores too, so diffs need this even where nothing is checked out.
 */
const NEUTRAL_ATTRIBUTES =
  '* -text !eol !crlf !filter !ident !working-tree-encoding !diff !merge !export-ignore !export-subst !delta !conflict-marker-size\n';

/** Makes an empty store of our own: no template, no hooks, no remotes, attributes neutralised. */
export async function createStore(gitDir: string, objectFormat: ObjectFormat): Promise<void> {
  await mkdir(gitDir, { recursive: true, mode: 0o700 });
  await git([
    'init',
    '--quiet',
    '--bare',
    '--template=',
    '--initial-branch=work',
    `--object-format=${objectFormat}`,
    gitDir,
  ]);
  await mkdir(join(gitDir, 'info'), { recursive: true });
  await writeFile(join(gitDir, 'info', 'attributes'), NEUTRAL_ATTRIBUTES);
}

/** Stores a pack after checking each object. `shallow` names commits whose parents are absent by design. */
export async function addPack(gitDir: string, packPath: string): Promise<void> {
  await git(['index-pack', '--stdin', '--fsck-objects'], { gitDir, inputFile: packPath, timeoutMs: 600_000 });
}

/** Records that history ends at `base`, so that `git log` stops there without complaint. */
export async function setShallow(gitDir: string, base: string): Promise<void> {
  await writeFile(join(gitDir, 'shallow'), `${base}\n`);
}

/** Ids of all objects a store holds, reachable or not. */
export async function allObjects(gitDir: string): Promise<Set<string>> {
  const text = await git(['cat-file', '--batch-all-objects', '--batch-check=%(objectname)', '--unordered'], { gitDir });
  return new Set(text.toString('latin1').split('\n').filter(Boolean));
}

/** Throws when a store holds anything that is not reachable from `tip`, or lacks something that is. */
export async function assertOnlyReachable(gitDir: string, tip: string): Promise<void> {
  const text = await git(['rev-list', '--objects', '--no-object-names', '--end-of-options', tip], { gitDir });
  const reachable = new Set(text.toString('latin1').split('\n').filter(Boolean));
  const extra = [...(await allObjects(gitDir))].filter((id) => !reachable.has(id));
  if (extra.length > 0)
    throw new GitError(
      'CORRUPT',
      `The pack holds ${extra.length} objects that ${tip} does not need, e.g. ${extra[0]}.`,
    );
}

/** A full object id; everything handed to git as an id passes through here, so no id can be an option or a reference. */
export function assertObjectId(id: string): void {
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(id))
    throw new GitError('UNKNOWN_REVISION', `${JSON.stringify(id)} is not a full object id.`);
}

export function formatOf(id: string): ObjectFormat {
  return id.length === 64 ? 'sha256' : 'sha1';
}
