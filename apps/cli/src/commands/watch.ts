import { exitCodes } from '../failure.js';
import { eventLine } from '../ledger/event-line.js';
import { findTaskId } from '../ledger/find-task.js';
import { exitCodeOf, followTask } from '../ledger/follow.js';
import type { LedgerApi } from '../ledger/ledger-api.js';
import type { Session } from '../session.js';
import { openLedger } from '../system/connect.js';
import { eventText } from '../terminal/event-text.js';
import { paintVerdict, reasonLines } from '../terminal/verdict.js';

/** `plumb watch`: follows a task until nothing more happens by itself; the exit code is its verdict's. */
export async function watch(session: Session, [task = '']: string[]): Promise<number> {
  const ledger = openLedger(session);
  return followToVerdict(session, ledger, await findTaskId(ledger, task), {});
}

/** Follows a task to its rest, printing what happens, its verdict, and what a person may do next. Returns the exit code. */
export async function followToVerdict(
  session: Session,
  ledger: LedgerApi,
  taskId: string,
  options: { justSubmitted?: boolean },
): Promise<number> {
  const { palette } = session;
  const progress = await followTask(
    ledger,
    taskId,
    (event) => {
      session.document({ schema: 'plumbline.event/1', ...event }, { line: true });
      if (eventLine(event).tone !== 'quiet') session.say(eventText(palette, event));
    },
    { ...options, signal: session.signal },
  );
  const code = exitCodeOf(progress);
  const short = taskId.slice(0, 8);
  session.say();
  session.say(progress.verdict === undefined ? palette.warn('no verdict') : paintVerdict(palette, progress.verdict));
  for (const line of reasonLines(palette, progress.reasons)) session.say(line);
  if (progress.branch !== undefined) session.say(`  branch ${palette.bold(progress.branch)} was published`);
  if (progress.escalation !== undefined && code !== exitCodes.ok) {
    session.say(
      palette.dim(`  It waits for a human: plumb rule ${short} --go|--no-go --why …, or plumb retry ${short} --why …`),
    );
  }
  session.say(palette.dim(`  Everything about it: plumb show ${short}`));
  return code;
}
