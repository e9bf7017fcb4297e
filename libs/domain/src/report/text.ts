import type { ReportDocument, ReportTask } from './document.js';
import {
  batchSentences,
  faultSentences,
  grouped,
  lasting,
  oneLine,
  plural,
  systemSentences,
  timeParts,
  tokens,
  verdictSentence,
} from './words.js';

/** How a part of the text is to look; `plain` terminals leave it as it is. */
export type ReportTone = 'title' | 'good' | 'bad' | 'warn' | 'quiet' | 'command';

export interface ReportLook {
  /** An instant as the reader is to see it. */
  readonly at: (instant: string) => string;
  readonly paint?: (tone: ReportTone, text: string) => string;
  /** Widest line; default 100. Commands are never broken. */
  readonly columns?: number;
}

/** A report as lines of text for people. Pure; foreign text keeps no control characters. */
export function reportText(report: ReportDocument, look: ReportLook): string[] {
  const paint = look.paint ?? ((_tone, text) => text);
  const width = look.columns ?? 100;
  const out: string[] = [];
  const heading = (title: string): void => void out.push('', paint('title', title));
  const wrapped = (text: string, indent: number, tone?: ReportTone): void => {
    for (const line of wrap(text, width - indent))
      out.push(' '.repeat(indent) + (tone === undefined ? line : paint(tone, line)));
  };
  const { since, until } = report.window;
  const from = since === null ? (report.batch === null ? 'from the beginning' : '') : `from ${look.at(since)}`;
  const title = report.batch === null ? 'Report' : `Batch ${report.batch.name}`;
  out.push(`${paint('title', title)} ${paint('quiet', [from, `until ${look.at(until)}`].filter(Boolean).join(' '))}`);
  wrapped(verdictSentence(report), 0);
  for (const sentence of batchSentences(report)) wrapped(sentence, 0, 'warn');

  if (report.waiting.length > 0) heading('Waits for you');
  for (const { task, key, title: given, since: at, reasons, attempt, commands } of report.waiting) {
    wrapped(`${task.slice(0, 10)}  ${key === undefined ? '' : `${oneLine(key)}: `}${oneLine(given)}`, 2);
    wrapped(`since ${look.at(at)}, after attempt ${attempt}`, 4, 'quiet');
    for (const reason of reasons.slice(0, 5)) wrapped(`• ${oneLine(reason)}`, 4);
    if (reasons.length > 5) out.push(`    • and ${reasons.length - 5} more`);
    for (const command of commands) out.push(`    ${paint('command', command)}`);
  }

  if (report.tasks.length > 0) heading('Tasks');
  for (const task of report.tasks) taskLines(task, wrapped, (line) => out.push(line), paint, width);

  if (report.tasks.length > 0) costLines(report, heading, wrapped, (line) => out.push(line));

  heading('Machines');
  for (const sentence of faultSentences(report)) wrapped(sentence, 2);
  for (const { text, good } of systemSentences(report)) wrapped(text, 2, good ? undefined : 'warn');
  return out;
}

const tones: Readonly<Record<string, ReportTone>> = { GO: 'good', 'GO-WAIVED': 'good', 'NO-GO': 'bad' };

function taskLines(
  task: ReportTask,
  wrapped: (text: string, indent: number, tone?: ReportTone) => void,
  push: (line: string) => void,
  paint: NonNullable<ReportLook['paint']>,
  width: number,
): void {
  const verdict = task.verdict ?? 'no verdict';
  const name = `${task.id.slice(0, 10)}  ${task.key === undefined ? '' : `${oneLine(task.key)}: `}${oneLine(task.title)}`;
  const [first = '', ...more] = wrap(name, width - 14);
  push(`  ${paint(tones[verdict] ?? 'warn', verdict.padEnd(12))}${first}`);
  for (const line of more) push(`${' '.repeat(14)}${line}`);
  wrapped(oneLine(task.because), 14);
  const facts = [
    plural(task.attempts, 'attempt'),
    lasting(task.times.wallMs - task.times.humanMs),
    ...(task.baseCommit === null ? [] : [`base ${task.baseCommit.slice(0, 10)}`]),
    ...(task.state === 'closed' || task.state === 'awaiting-ruling' ? [] : [`now ${task.state}`]),
    ...(task.branch === null ? [] : [`branch ${oneLine(task.branch)}`]),
  ];
  wrapped(facts.join(', '), 14, 'quiet');
}

function costLines(
  report: ReportDocument,
  heading: (title: string) => void,
  wrapped: (text: string, indent: number) => void,
  push: (line: string) => void,
): void {
  heading('Cost');
  const { totals, models } = report;
  wrapped(`${plural(totals.attempts, 'attempt')}, done in ${lasting(totals.spanMs)} from first to last.`, 2);
  const parts = timeParts(totals.times).map(({ name, ms }) => `${name} ${lasting(ms)}`);
  wrapped(
    `Time of all tasks together: ${lasting(totals.times.wallMs)}${parts.length === 0 ? '' : ` (${parts.join(', ')})`}.`,
    2,
  );
  if (models.length === 0) {
    push('  No model was asked.');
    return;
  }
  const rows = models.map((row) => [
    oneLine(row.model, 40),
    row.seat,
    tokens(row.promptTokens, row),
    tokens(row.completionTokens, row),
    grouped(row.steps),
    lasting(row.heldMs),
  ]);
  for (const line of table([['model', 'seat', 'tokens read', 'tokens written', 'steps', 'at work'], ...rows]))
    push(`  ${line}`);
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, cell.length)));
  return rows.map((row) =>
    row
      .map((cell, at) => (at < 2 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

/** `text` broken at spaces into lines of at most `width` characters; longer words are broken too. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/ (?! )/)) {
    const points = [...word];
    const joined = line === '' ? word : `${line} ${word}`;
    if ([...joined].length <= width) {
      line = joined;
      continue;
    }
    if (line !== '') lines.push(line);
    while (points.length > width) lines.push(points.splice(0, width).join(''));
    line = points.join('');
  }
  return line === '' && lines.length > 0 ? lines : [...lines, line];
}
