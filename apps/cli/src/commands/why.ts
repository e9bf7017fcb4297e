import { exitCodes } from '../failure.js';
import { findTaskId, unknownTask } from '../ledger/find-task.js';
import type { Session } from '../session.js';
import { openLedger } from '../system/connect.js';
import { plain } from '../terminal/text.js';
import { reasonLines } from '../terminal/verdict.js';

/** `plumb why`: why a task waits, what it does, or what its verdict rests on. */
export async function why(session: Session, [task = '']: string[]): Promise<number> {
  const ledger = openLedger(session);
  const found = await ledger.why(await findTaskId(ledger, task));
  if (found === undefined) throw unknownTask(task);
  session.document(found);
  session.say(`${session.palette.bold(found.subject)} is ${plain(found.state)}`);
  const reasons = found.reasons.map(({ code, message }) => ({ check: plain(code), summary: message }));
  for (const line of reasonLines(session.palette, reasons)) session.say(line);
  return exitCodes.ok;
}
