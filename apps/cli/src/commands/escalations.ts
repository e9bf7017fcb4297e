import { exitCodes } from '../failure.js';
import type { Session } from '../session.js';
import { openLedger } from '../system/connect.js';
import { columnsMax, cut, plain } from '../terminal/text.js';

/** `plumb escalations`: what waits for a human, with what was tried and why it was not enough. */
export async function escalations(session: Session): Promise<number> {
  const document = await openLedger(session).escalations();
  session.document(document);
  const { palette } = session;
  for (const { task: taskId, title, reasons, tried } of document.escalations) {
    session.say(`${palette.accent(taskId.slice(0, 10))}  ${palette.bold(cut(plain(title), columnsMax - 12))}`);
    for (const { attempt, model, verdict } of tried) {
      session.say(
        palette.dim(`  attempt ${attempt} by ${plain(model ?? 'no model')}: ${plain(verdict ?? 'no verdict')}`),
      );
    }
    for (const reason of reasons) session.say(`  ${palette.warn('•')} ${cut(plain(reason), columnsMax - 4)}`);
    const short = taskId.slice(0, 8);
    session.say(palette.dim(`  plumb rule ${short} --go|--no-go --why … · plumb retry ${short} --why …\n`));
  }
  if (document.escalations.length === 0) session.say('Nothing waits for a human.');
  return exitCodes.ok;
}
