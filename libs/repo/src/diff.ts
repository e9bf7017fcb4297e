import { git } from './git.js';
import { GitError } from './git-error.js';
import { assertObjectId } from './object-store.js';
import { splitNul } from './tree-entries.js';

/** One changed path. Renames are not guessed: they are a deletion and an addition. Ids are all zeros where there is no file. */
export interface TreeChange {
  readonly path: string;
  /** Added, modified (content or permission), deleted, or type changed (file, link, submodule). */
  readonly status: 'A' | 'M' | 'D' | 'T';
  readonly oldMode: string;
  readonly newMode: string;
  readonly oldBlob: string;
  readonly newBlob: string;
}

export interface Hunk {
  /** H1, H2, … over the whole diff, in order. */
  readonly id: string;
  readonly path: string;
  readonly oldStart: number;
  readonly oldLines: number;
  readonly newStart: number;
  readonly newLines: number;
  /** Each with its leading ' ', '+' or '-'; a missing final line break is the line '\ No newline at end of file'. */
  readonly lines: readonly string[];
}

export interface FileDiff extends TreeChange {
  readonly binary: boolean;
  readonly hunks: readonly Hunk[];
}

interface Range {
  readonly gitDir: string;
  /** Commit or tree. */
  readonly base: string;
  readonly head: string;
}

/** What differs between two trees, sorted by path as git sorts; empty when they are the same. */
export async function diffTrees(range: Range): Promise<TreeChange[]> {
  assertObjectId(range.base);
  assertObjectId(range.head);
  const args = ['diff-tree', '-r', '-z', '--raw', '--no-renames', '--no-abbrev', range.base, range.head];
  const fields = splitNul(await git(args, { gitDir: range.gitDir }));
  const changes: TreeChange[] = [];
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const [oldMode = '', newMode = '', oldBlob = '', newBlob = '', status] = (fields[index] ?? '')
      .replace(/^:/, '')
      .split(' ');
    if (status !== 'A' && status !== 'M' && status !== 'D' && status !== 'T') {
      throw new GitError('FAILED', `git diff-tree answered an unexpected status: ${fields[index]}.`);
    }
    changes.push({ path: fields[index + 1] ?? '', status, oldMode, newMode, oldBlob, newBlob });
  }
  return changes;
}

/**
 * The same differences with their lines. `context` is the number of unchanged lines around each hunk: 0 for facts, 3 for people.
 * Attributes of the repository cannot make a text binary or rewrite it. Throws `TOO_LARGE` above `maxBytes` (default 32 MiB).
 */
export async function diffHunks(
  range: Range & { readonly context: number; readonly maxBytes?: number },
): Promise<FileDiff[]> {
  const changes = await diffTrees(range);
  const args = [
    'diff-tree',
    '-r',
    '-p',
    '--no-ext-diff',
    '--no-textconv',
    '--no-color',
    '--no-renames',
    '--no-indent-heuristic',
  ];
  args.push(
    '--diff-algorithm=myers',
    `--unified=${Math.trunc(range.context)}`,
    '--full-index',
    '--submodule=short',
    range.base,
    range.head,
  );
  const patch = await git(args, { gitDir: range.gitDir, maxBytes: range.maxBytes ?? 32 << 20 });
  const sections = patchSections(patch.toString('utf8'));
  let nextId = 1;
  let at = 0;
  const files = changes.map((change) => {
    // A changed type is written as a deletion followed by an addition.
    const own = sections.slice(at, (at += change.status === 'T' ? 2 : 1));
    const hunks = own
      .flatMap((section) => section.hunks)
      .map((hunk) => ({ id: `H${nextId++}`, path: change.path, ...hunk }));
    return { ...change, binary: own.some(({ binary }) => binary), hunks };
  });
  if (at !== sections.length)
    throw new GitError('FAILED', `git wrote ${sections.length} patches for ${at} expected ones.`);
  return files;
}

type Section = { binary: boolean; hunks: Omit<Hunk, 'id' | 'path'>[] };

/** Splits a patch by counting the lines each hunk announces, so file contents cannot pose as headers. Names are not read at all. */
function patchSections(patch: string): Section[] {
  const sections: Section[] = [];
  const lines = patch.split('\n');
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index] ?? '';
    if (line.startsWith('diff --git ')) sections.push({ binary: false, hunks: [] });
    const section = sections.at(-1);
    if (section === undefined) continue;
    if (line.startsWith('Binary files ')) section.binary = true;
    const header = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (header === null) continue;
    const [oldStart = 0, oldLines = 1, newStart = 0, newLines = 1] = header
      .slice(1)
      .map((n) => (n === undefined ? undefined : Number(n)));
    const body = hunkBody(lines, index + 1, oldLines, newLines);
    section.hunks.push({ oldStart, oldLines, newStart, newLines, lines: body });
    index += body.length;
  }
  return sections;
}

function hunkBody(lines: readonly string[], from: number, oldLines: number, newLines: number): string[] {
  const body: string[] = [];
  let oldLeft = oldLines;
  let newLeft = newLines;
  for (let index = from; index < lines.length; index += 1) {
    const line = lines[index] ?? '';
    const isMark = line.startsWith('\\');
    if (oldLeft === 0 && newLeft === 0 && !isMark) break;
    if (line.startsWith('-') || line.startsWith(' ')) oldLeft -= 1;
    if (line.startsWith('+') || line.startsWith(' ')) newLeft -= 1;
    body.push(line);
  }
  return body;
}
