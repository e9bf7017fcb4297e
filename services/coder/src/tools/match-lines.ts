/** Where a text to be replaced stands in a file: character range, and what to put there instead. */
export type Match =
  | {
      readonly found: 'once';
      readonly start: number;
      readonly end: number;
      readonly replacement: string;
      readonly how: string;
    }
  | { readonly found: 'often'; readonly lines: readonly number[] }
  | { readonly found: 'never'; readonly nearest: number | null };

interface Line {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/**
 * Finds `old` in `text`: as it stands; else line by line without trailing space; else with one indentation added to, or taken from, every
 * line. Only a match at exactly one place counts at any rung: an edit is never guessed between two places.
 */
export function findMatch(text: string, old: string, replacement: string): Match {
  const exact = placesOf(text, old);
  if (exact.length === 1) {
    const start = exact[0] ?? 0;
    return { found: 'once', start, end: start + old.length, replacement, how: 'exact' };
  }
  if (exact.length > 1) return { found: 'often', lines: exact.map((at) => lineAt(text, at)) };
  const lines = linesOf(text);
  const wanted = old.replace(/\n$/, '').split('\n');
  const rungs: [
    string,
    (line: string, want: string, state: { indent?: string }) => boolean,
    (r: string, i: string) => string,
  ][] = [
    ['trailing space ignored', (line, want) => line.trimEnd() === want.trimEnd(), (r) => r],
    ['indentation added', (line, want, state) => indentedBy(line, want, state), (r, indent) => reindent(r, '', indent)],
    [
      'indentation removed',
      (line, want, state) => indentedBy(want, line, state),
      (r, indent) => reindent(r, indent, ''),
    ],
  ];
  for (const [how, same, adapt] of rungs) {
    const hits = windows(lines, wanted, same);
    if (hits.length > 1) return { found: 'often', lines: hits.map(({ at }) => at + 1) };
    const [hit] = hits;
    if (hit !== undefined)
      return lineMatch(text, lines, hit.at, wanted.length, adapt(replacement, hit.indent), old, how);
  }
  return { found: 'never', nearest: nearestWindow(lines, wanted) };
}

function lineMatch(
  text: string,
  lines: Line[],
  at: number,
  count: number,
  replacement: string,
  old: string,
  how: string,
): Match {
  const first = lines[at];
  const last = lines[at + count - 1];
  if (first === undefined || last === undefined) throw new RangeError('a match outside the file');
  const crlf =
    text.slice(first.start, last.end).includes('\r\n') || text.slice(last.start, last.end + 1).endsWith('\r\n');
  const ended = old.endsWith('\n');
  // Without its line end the last line keeps its own carriage return.
  const keepsReturn = !ended && last.text.endsWith('\r');
  const end = ended ? Math.min(last.end + 1, text.length) : last.end - (keepsReturn ? 1 : 0);
  const fitted = crlf ? replacement.replace(/\r?\n/g, '\r\n') : replacement;
  return { found: 'once', start: first.start, end, replacement: fitted, how };
}

/** True when `deep` is `flat` behind one indentation, the same for all lines of the window. Blank lines fit anything. */
function indentedBy(deep: string, flat: string, state: { indent?: string }): boolean {
  if (flat.trim() === '' || deep.trim() === '') return flat.trim() === deep.trim();
  const tail = flat.trimEnd();
  const line = deep.trimEnd();
  if (!line.endsWith(tail)) return false;
  const indent = line.slice(0, line.length - tail.length);
  if (indent === '' || indent.trim() !== '') return false;
  state.indent ??= indent;
  return state.indent === indent;
}

function reindent(text: string, remove: string, add: string): string {
  return text
    .split('\n')
    .map((line) => (line.trim() === '' ? line : add + (line.startsWith(remove) ? line.slice(remove.length) : line)))
    .join('\n');
}

function windows(
  lines: Line[],
  wanted: string[],
  same: (line: string, want: string, state: { indent?: string }) => boolean,
): { at: number; indent: string }[] {
  const hits: { at: number; indent: string }[] = [];
  // Blank lines alone would match almost anywhere.
  if (wanted.every((line) => line.trim() === '')) return hits;
  for (let at = 0; at + wanted.length <= lines.length; at += 1) {
    const state: { indent?: string } = {};
    if (wanted.every((want, n) => same(lines[at + n]?.text ?? '', want, state)))
      hits.push({ at, indent: state.indent ?? '' });
  }
  return hits;
}

/** First line (from 1) of the place that shares most lines with what was looked for; null when none shares any. */
function nearestWindow(lines: Line[], wanted: string[]): number | null {
  const words = new Set(wanted.map((line) => line.trim()).filter((line) => line !== ''));
  let best = 0;
  let bestAt: number | null = null;
  let score = 0;
  const scoreOf = (line: Line | undefined): number => (line !== undefined && words.has(line.text.trim()) ? 1 : 0);
  for (let at = 0; at < lines.length; at += 1) {
    score += scoreOf(lines[at]) - scoreOf(lines[at - wanted.length]);
    if (score > best) [best, bestAt] = [score, Math.max(0, at - wanted.length + 1) + 1];
  }
  return bestAt ?? nearestLine(lines, wanted.find((line) => line.trim() !== '') ?? '');
}

/** The line that shares most words with the first one looked for. */
function nearestLine(lines: Line[], want: string): number | null {
  const words = new Set(want.match(/\w{3,}/g) ?? []);
  const shared = lines.map(({ text }) => new Set((text.match(/\w{3,}/g) ?? []).filter((word) => words.has(word))).size);
  const most = shared.reduce((a, b) => Math.max(a, b), 0);
  return most === 0 ? null : shared.indexOf(most) + 1;
}

function linesOf(text: string): Line[] {
  const lines: Line[] = [];
  for (let start = 0; start <= text.length;) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    if (found >= 0 || end > start) lines.push({ text: text.slice(start, end), start, end });
    if (found < 0) break;
    start = end + 1;
  }
  return lines;
}

function placesOf(text: string, old: string): number[] {
  const places: number[] = [];
  for (let at = text.indexOf(old); at >= 0; at = text.indexOf(old, at + 1)) places.push(at);
  return places;
}

const lineAt = (text: string, at: number): number => text.slice(0, at).split('\n').length;
