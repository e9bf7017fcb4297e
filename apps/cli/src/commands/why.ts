import { exitCodes } from '../failure.js';
import { findTask, unknownTask } from '../ledger/find-task.js';
import type { Session } from '../session.js';
import { openLedger } from '../system/connect.js';
import { plain } from '../terminal/text.js';
import { reasonLines } from '../terminal/verdict.js';

/** `plumb why`: why a task waits, what it does, or what its verdict rests on. */
export async function why(session: Session, [given = '']: string[]): Promise<number> {
  const ledger = openLedger(session);
  const { task } = await findTask(ledger, given);
  const reasons = await ledger.why(task.id);
  if (reasons === undefined) throw unknownTask(given);
  session.document({ schema: 'plumbline.why/1', subject: task.id, state: task.state, reasons });
  session.say(`${session.palette.bold(task.id)} is ${plain(task.state)}`);
  const lines = reasons.map(({ code, message }) => ({ check: plain(code), summary: message }));
  for (const line of reasonLines(session.palette, lines)) session.say(line);
  return exitCodes.ok;
}
