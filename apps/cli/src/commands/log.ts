import { exitCodes } from '../failure.js';
import type { EventDocument } from '../ledger/documents.js';
import { findTaskId, unknownTask } from '../ledger/find-task.js';
import { readLog } from '../ledger/follow.js';
import type { LedgerApi } from '../ledger/ledger-api.js';
import type { Session } from '../session.js';
import { openLedger } from '../system/connect.js';
import { eventText } from '../terminal/event-text.js';

/** `plumb log`: the events of all tasks or of one, oldest first; with `--follow` until it is interrupted. */
export async function log(
  session: Session,
  [task]: string[],
  options: { follow?: boolean; after?: number },
): Promise<number> {
  const ledger = openLedger(session);
  const id = task === undefined ? undefined : await findTaskId(ledger, task);
  const after = options.after ?? 0;
  const follow = options.follow === true;
  const events =
    id === undefined
      ? readLog(ledger, { after, follow, signal: session.signal })
      : taskLog(ledger, id, { after, follow });
  for await (const event of events) {
    session.document({ schema: 'plumbline.event/1', ...event }, { line: true });
    const about = id === undefined ? `${(event.task ?? '').slice(0, 8).padEnd(8)}  ` : '';
    session.say(eventText(session.palette, event, `${String(event.position).padStart(6)}  ${about}`));
  }
  return exitCodes.ok;
}

async function* taskLog(
  ledger: LedgerApi,
  id: string,
  options: { after: number; follow: boolean },
): AsyncGenerator<EventDocument, void> {
  let { after } = options;
  for (;;) {
    const page = await ledger.taskEvents(id, { after, waitMs: options.follow ? 20_000 : 0 });
    if (page === undefined) throw unknownTask(id);
    const fresh = page.events.filter(({ position }) => position > after);
    yield* fresh;
    after = fresh.at(-1)?.position ?? after;
    if (fresh.length === 0 && !options.follow) return;
  }
}
