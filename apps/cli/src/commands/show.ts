import { exitCodes } from '../failure.js';
import type { TaskDocument } from '../ledger/documents.js';
import { findTask } from '../ledger/find-task.js';
import type { Session } from '../session.js';
import { openLedger } from '../system/connect.js';
import type { Palette } from '../terminal/palette.js';
import { columns, columnsMax, cut, plain } from '../terminal/text.js';
import { paintVerdict, reasonLines } from '../terminal/verdict.js';

/** `plumb show`: a task with its attempts, verdict, escalations and timeline. */
export async function show(session: Session, [task = '']: string[]): Promise<number> {
  const ledger = openLedger(session);
  const found = await findTask(ledger, task);
  session.document(found);
  for (const line of taskLines(found, session.palette)) session.say(line);
  return exitCodes.ok;
}

/** A task for people, at most 100 columns wide. */
export function taskLines(document: TaskDocument, palette: Palette): string[] {
  const { task, verdict, attempts, escalations, timeline } = document;
  const repository = typeof task.repository === 'string' ? task.repository : task.repository.url;
  const open = escalations.filter((escalation) => escalation.open === true);
  return [
    palette.bold(cut(plain(task.issue.title), columnsMax)),
    `  ${palette.dim('task')}  ${task.id}  ${palette.dim('state')}  ${plain(task.state)}`,
    `  ${palette.dim('repo')}  ${cut(`${plain(repository)}${task.base === undefined ? '' : ` at ${plain(task.base)}`}`, columnsMax - 8)}`,
    '',
    ...(verdict === undefined || verdict === null
      ? [palette.dim('No verdict yet.')]
      : [`Verdict ${paintVerdict(palette, verdict.verdict)}`, ...reasonLines(palette, verdict.reasons)]),
    ...attempts.flatMap((attempt) => attemptLines(attempt, palette)),
    ...(open.length === 0 ? [] : ['', palette.warn('Waits for a human')]),
    ...open.flatMap(({ reasons }) => (reasons ?? []).map((reason) => `  ${cut(plain(reason), columnsMax - 2)}`)),
    '',
    palette.bold('Timeline'),
    ...timeline.map(({ position, at, type, summary }) => {
      const time = /T(\d\d:\d\d:\d\d)/.exec(at)?.[1] ?? at;
      const head = `  ${String(position).padStart(6)}  ${time}  ${cut(type, 26).padEnd(26)}  `;
      return palette.dim(head) + cut(plain(summary), columnsMax - head.length);
    }),
  ];
}

function attemptLines(attempt: TaskDocument['attempts'][number], palette: Palette): string[] {
  const { n, model, node, change, ended, checks, reviews } = attempt;
  const by = [model, node].flatMap((part) => (part === undefined || part === null ? [] : [plain(part)]));
  const head = change?.head === undefined ? '' : `  change ${plain(change.head).slice(0, 10)}`;
  const mark = (outcome: string): string =>
    outcome === 'pass'
      ? palette.good('✓')
      : outcome === 'fail'
        ? palette.bad('✗')
        : palette.dim(outcome === 'not-applicable' ? '–' : '?');
  const rows = checks.map(({ check, outcome, summary }) => [
    `${mark(outcome)} ${plain(check)}`,
    plain(summary ?? outcome),
  ]);
  return [
    '',
    `${palette.bold(`Attempt ${n}`)}  ${palette.dim(by.join(' on '))}${head}`,
    ...(ended === undefined || ended === null
      ? []
      : [`  ${palette.warn(plain(ended.code))} ${cut(plain(ended.detail ?? ''), 70)}`]),
    ...columns(rows),
    ...reviews.map(({ seat, model: reviewer, decision }) =>
      cut(
        `  review by ${plain(seat)}${reviewer === undefined ? '' : ` (${plain(reviewer)})`}: ${plain(decision ?? 'none')}`,
        columnsMax,
      ),
    ),
  ];
}
