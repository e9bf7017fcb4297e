import type { Palette } from '../terminal/palette.js';
import { cut, columnsMax, duration } from '../terminal/text.js';
import { paintVerdict, reasonLines } from '../terminal/verdict.js';
import type { EventDocument } from '../ledger/documents.js';
import { eventLine } from '../ledger/event-line.js';
import { paintTone } from '../terminal/event-text.js';
import { logState, type DemoFindings } from './outcome.js';
import { demoTasks, type DemoTask } from './tasks.js';

/** One line of the live timeline; undefined for events that only keep the books. */
export function timelineLine(
  palette: Palette,
  event: EventDocument,
  task: DemoTask | undefined,
  elapsedMs: number,
): string | undefined {
  const line = eventLine(event);
  if (line.tone === 'quiet') return undefined;
  const at = demoTasks.findIndex(({ name }) => name === task?.name);
  const name = (task?.name ?? 'fleet').padEnd(6);
  const painted = at < 0 ? palette.dim(name) : palette.nth(at, name);
  const text = cut(line.text, columnsMax - 20);
  return `  ${palette.dim(duration(elapsedMs).padStart(9))}  ${painted} ${paintTone(palette, { ...line, text })}`;
}

/** Both verdicts with their reasons, and what became of each. */
export function verdictLines(palette: Palette, findings: DemoFindings, changes: ReadonlyMap<string, string>): string[] {
  return findings.tasks.flatMap(({ name, id, progress }, at) => {
    const promise = demoTasks.find((task) => task.name === name)?.promise ?? '';
    const { verdict, branch, reasons } = progress;
    const open = findings.escalations.some(({ task }) => task === id);
    return [
      '',
      `${palette.nth(at, palette.bold(name))}  ${paintVerdict(palette, verdict ?? 'no verdict')}  ${palette.dim(findings.scripted ? promise : '')}`.trimEnd(),
      ...reasonLines(palette, reasons),
      branch === undefined
        ? '  nothing was published'
        : `  branch ${palette.bold(branch)} is at the origin${changes.has(branch) ? ` (${changes.get(branch) ?? ''})` : ''}`,
      ...(open ? [`  ${palette.warn('an escalation waits for a human')}`] : []),
    ];
  });
}

/** The state of the log in one line. */
export function logLine(palette: Palette, { audit }: DemoFindings): string {
  const { events, positions, chain } = logState(audit);
  const mark = audit.ok ? palette.good('✓') : palette.bad('✗');
  return `${mark} log: ${events} events, positions ${positions}, hash chain ${chain}`;
}

/** Where to look further, when the files were kept or how to keep them. */
export function furtherLines(
  palette: Palette,
  tasks: readonly DemoTask[],
  kept: { home: string; origin: string } | undefined,
): string[] {
  if (kept === undefined) {
    return [
      palette.dim('Everything was cleaned up. `plumb demo --keep` leaves log, artifacts and repository to look into;'),
      palette.dim('`plumb up --model-url http://HOST:PORT` starts the system for repositories of yours.'),
    ];
  }
  const trap = tasks.find(({ name }) => name === 'trap')?.id?.slice(0, 8) ?? 'TASK';
  const command = (text: string, what: string): string => `  ${text.padEnd(50)}${palette.dim(what)}`;
  return [
    'Look further:',
    `  export PLUMB_HOME=${kept.home}`,
    command('plumb up', 'start it again on the same log'),
    command(`plumb show ${trap}`, 'attempts, checks, reviews, verdict'),
    command('plumb log · plumb audit · plumb escalations', 'every event; is it whole; what waits'),
    `  git -C ${kept.origin} log --oneline --all`,
    command('curl -H "authorization: Bearer TOKEN" API/tasks', 'API and TOKEN are in run.json'),
    command('plumb down --purge', 'delete it'),
  ].map((line) => line.trimEnd());
}
