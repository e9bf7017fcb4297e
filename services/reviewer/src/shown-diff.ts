import { StepFault, type HunkRef } from '@plumbline/domain';
import { diffHunks, readBlob, type FileDiff, type Hunk } from '@plumbline/repo';

const contextLines = 3;
const blobBytesMax = 4 << 20;

/** A diff as the reviewer is shown it, and what it is not shown. */
export interface ShownDiff {
  readonly text: string;
  /** Ids of hunks, and paths of files without lines, that are not in `text`. */
  readonly unseen: readonly string[];
}

/**
 * Renders the changed regions with the ids that the gate gave them, within a budget. What does not fit, and what has no lines to show
 * (binaries, modes), is named and never left out in silence. @throws StepFault when the numbering is not the gate's
 */
export async function showDiff(options: {
  readonly gitDir: string;
  readonly base: string;
  readonly head: string;
  readonly numbered: readonly HunkRef[];
  readonly charsMax: number;
}): Promise<ShownDiff> {
  const { gitDir, base, head, numbered, charsMax } = options;
  const files = await diffHunks({ gitDir, base, head, context: 0 });
  assertSameNumbers(
    files.flatMap(({ hunks }) => hunks),
    numbered,
  );
  const issued = new Set(numbered.map(({ id }) => id));
  const parts: string[] = [];
  const unseen: string[] = [];
  let left = charsMax;
  for (const file of files) {
    const header = `## ${printable(file.path)} (${describe(file)})`;
    if (file.hunks.length === 0) {
      unseen.push(file.path);
      parts.push(`${header}\nHas no lines to show.`);
      continue;
    }
    const around = await newLines(gitDir, file);
    const shown: string[] = [];
    for (const hunk of file.hunks) {
      const text = `${hunk.id} ${printable(hunk.path)}:${hunk.newStart}\n${withContext(hunk, around)}`;
      if (text.length <= left && issued.has(hunk.id)) {
        left -= text.length;
        shown.push(text);
      } else {
        unseen.push(hunk.id);
        shown.push(
          `${hunk.id} ${printable(hunk.path)}:${hunk.newStart}\n(not shown: ${hunk.lines.length} lines, too large)`,
        );
      }
    }
    parts.push([header, ...shown].join('\n'));
  }
  return { text: parts.join('\n\n'), unseen };
}

/** An answer about `H7` is worth nothing if the rails take `H7` for another place. */
function assertSameNumbers(found: readonly Hunk[], numbered: readonly HunkRef[]): void {
  const key = ({ id, path, oldStart, oldLines, newStart, newLines }: HunkRef): string =>
    JSON.stringify([id, path, oldStart, oldLines, newStart, newLines]);
  const at = numbered.findIndex((ref, index) => found[index] === undefined || key(ref) !== key(found[index]));
  if (at >= 0 || (numbered.length < found.length && numbered.length < 5_000))
    throw new StepFault(
      'HARNESS_BUG',
      `hunks are numbered in another way than the gate did, from ${numbered[at]?.id ?? `H${numbered.length + 1}`} on`,
    );
}

function describe({ status, binary, oldMode, newMode }: FileDiff): string {
  const what = { A: 'added', M: 'modified', D: 'deleted', T: 'type changed' }[status];
  const mode = status === 'M' && oldMode !== newMode ? `, mode ${oldMode} → ${newMode}` : '';
  return `${what}${binary ? ', binary' : ''}${mode}`;
}

async function newLines(gitDir: string, file: FileDiff): Promise<string[]> {
  if (file.status !== 'M') return [];
  try {
    return (await readBlob({ gitDir, blob: file.newBlob, maxBytes: blobBytesMax })).toString('utf8').split('\n');
  } catch {
    // Context helps reading; the hunks are what is judged.
    return [];
  }
}

/** A hunk with the unchanged lines around it, so that it can be read; every line keeps its mark. */
function withContext(hunk: Hunk, lines: readonly string[]): string {
  // git counts a pure deletion from the line before it.
  const first = hunk.newLines === 0 ? hunk.newStart + 1 : hunk.newStart;
  const before = lines.slice(Math.max(0, first - 1 - contextLines), first - 1);
  const after = lines.slice(first - 1 + hunk.newLines, first - 1 + hunk.newLines + contextLines);
  const plain = (line: string): string => ` ${line}`;
  return [...before.map(plain), ...hunk.lines, ...after.map(plain)].map(asOneLine).join('\n');
}

/** A line of the diff in which nothing else ends a line: what follows would stand there without its mark. A final CR belongs to the file. */
const asOneLine = (line: string): string =>
  line.replace(/[\v\f\u0085\u2028\u2029]|\r(?!$)/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** A path that cannot pose as anything else in the text. */
const printable = (path: string): string =>
  /[\u0000-\u001f\u007f\u2028\u2029]/.test(path) ? JSON.stringify(path) : path;
