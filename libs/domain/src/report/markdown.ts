import type { ReportDocument } from './document.js';
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

/**
 * A report as Markdown (GitHub's, which has tables). Pure. Titles, reasons and names are foreign: none of them can format, link, name a
 * person or an issue, or end the cell it stands in.
 */
export function reportMarkdown(report: ReportDocument, look: { readonly at: (instant: string) => string }): string {
  const { batch, window, waiting, tasks, models, totals } = report;
  const title = batch === null ? 'Report' : `Batch ${foreign(batch.name)}`;
  const from = window.since === null ? '' : `from ${look.at(window.since)} `;
  const out = [`# ${title}`, '', `_${from}until ${look.at(window.until)}_`, '', `**${verdictSentence(report)}**`];
  for (const sentence of batchSentences(report)) out.push('', foreign(sentence));
  if (waiting.length > 0) out.push('', '## Waits for you');
  for (const { task, key, title: given, since, attempt, reasons, commands } of waiting) {
    out.push('', `### ${key === undefined ? '' : `${foreign(key)}: `}${foreign(given)}`, '');
    out.push(`\`${task}\`, since ${look.at(since)}, after attempt ${attempt}`, '');
    for (const reason of reasons.slice(0, 5)) out.push(`- ${foreign(reason)}`);
    if (reasons.length > 5) out.push(`- and ${reasons.length - 5} more`);
    out.push('', '```sh', ...commands, '```');
  }
  if (tasks.length > 0) {
    out.push('', '## Tasks', '');
    const rows = tasks.map((task) => [
      `**${task.verdict ?? 'no verdict'}**`,
      `\`${task.id.slice(0, 10)}\``,
      `${task.key === undefined ? '' : `${foreign(task.key)}: `}${foreign(task.title)}`,
      foreign(task.because),
      grouped(task.attempts),
      lasting(task.times.wallMs - task.times.humanMs),
      task.branch === null ? '' : foreign(task.branch),
    ]);
    out.push(...table(['verdict', 'task', 'issue', 'because', 'attempts', 'time', 'branch'], rows));
    out.push('', '## Cost', '');
    out.push(`${plural(totals.attempts, 'attempt')}, done in ${lasting(totals.spanMs)} from first to last.`);
    const parts = timeParts(totals.times).map(({ name, ms }) => `${name} ${lasting(ms)}`);
    const spent = parts.length === 0 ? '' : ` (${parts.join(', ')})`;
    out.push(`Time of all tasks together: ${lasting(totals.times.wallMs)}${spent}.`, '');
    const costs = models.map((row) => [
      foreign(row.model),
      foreign(row.seat),
      tokens(row.promptTokens, row),
      tokens(row.completionTokens, row),
      grouped(row.steps),
      lasting(row.heldMs),
    ]);
    if (costs.length === 0) out.push('No model was asked.');
    else out.push(...table(['model', 'seat', 'tokens read', 'tokens written', 'steps', 'at work'], costs));
  }
  out.push('', '## Machines', '');
  for (const sentence of faultSentences(report)) out.push(`- ${foreign(sentence)}`);
  for (const { text, good } of systemSentences(report)) out.push(`- ${good ? '' : '⚠ '}${foreign(text)}`);
  return `${out.join('\n')}\n`;
}

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string[] =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`);

/**
 * Foreign text as nothing but text: what can mean something in Markdown or HTML is escaped (CommonMark, "Backslash escapes"). Hosts make
 * links of bare addresses, names of people and numbers of issues even so: a word joiner behind the mark stops them.
 */
function foreign(text: string): string {
  return oneLine(text)
    .replace(/[\\`*_{}[\]<>#|~$&!]/g, '\\$&')
    .replace(/^[-+=]/, '\\$&')
    .replace(/^(\d+)(?=[.)])/, '$1\\')
    .replace(/:(?=\/\/)|@|#|\bwww(?=\.)|\bGH(?=-\d)/gi, '$&\u2060');
}
