import type { CheckResult, Clause, Issue } from '@plumbline/domain';
import type { ShownDiff } from './shown-diff.js';

const findingsMax = 20;

/**
 * The message a reviewer answers: issue, numbered clauses, numbered hunks, what the deterministic checks found. Blinded: nothing of who
 * made the change or what was said of it. Foreign text is marked line by line, so that none of it can pose as a heading or a number.
 */
export function questionOf(given: {
  readonly issue: Issue;
  readonly clauses: readonly Clause[];
  readonly diff: ShownDiff;
  readonly checks: readonly CheckResult[];
}): string {
  const { issue, clauses, diff, checks } = given;
  const parts = [
    '# Issue',
    quoted(`${issue.title}\n\n${issue.body}`),
    '# Clauses',
    clauses.map(({ id, text }) => `${id}: ${oneLine(text)}`).join('\n'),
    '# Change',
    diff.text,
  ];
  if (diff.unseen.length > 0)
    parts.push(
      '# Not shown',
      `You have not seen all of the change. Missing: ${diff.unseen.slice(0, 200).map(oneLine).join(', ')}.`,
    );
  parts.push('# Checks', checks.length === 0 ? 'None were recorded.' : checks.map(checkText).join('\n'));
  return parts.join('\n\n').toWellFormed();
}

function checkText({ check, outcome, summary, findings }: CheckResult): string {
  const shown = findings.slice(0, findingsMax).map(({ path, line, message }) => {
    const place = path === undefined ? '' : `${oneLine(path)}${line === undefined ? '' : `:${line}`}: `;
    return `  > ${place}${oneLine(message).slice(0, 300)}`;
  });
  const more = findings.length > findingsMax ? [`  > and ${findings.length - findingsMax} more`] : [];
  return [`- ${check}: ${outcome}: ${oneLine(summary)}`, ...shown, ...more].join('\n');
}

const quoted = (text: string): string =>
  text
    // Every character that is shown, or may be read, as the end of a line.
    .split(/\r\n|[\n\r\v\f\u0085\u2028\u2029]/)
    .map((line) => `> ${line}`)
    .join('\n');
const oneLine = (text: string): string => text.replace(/[\s\u0085]+/g, ' ').trim();
