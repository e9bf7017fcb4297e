import { exitCodes } from '../failure.js';
import type { Session } from '../session.js';
import { openLedger } from '../system/connect.js';
import { plain } from '../terminal/text.js';

/** `plumb audit`: has the ledger read the whole log and verify positions, versions and hash chain. */
export async function audit(session: Session): Promise<number> {
  const ledger = openLedger(session);
  const result = await session.progress.step('Reading the whole log', () => ledger.audit());
  session.document(result);
  const { palette } = session;
  for (const { number, afterPosition, startedAt, why } of result.epochs ?? [])
    session.say(`Epoch ${number} began after position ${afterPosition} at ${startedAt}: ${plain(why)}.`);
  if (result.ok) {
    session.say(
      `${palette.good('✓')} ${result.events} events, positions dense, versions in order, chain unbroken up to ${result.headPosition}.`,
    );
    return exitCodes.ok;
  }
  const bad = result.firstBad;
  const where =
    bad === undefined || bad === null
      ? 'The log is not sound.'
      : `The first bad position is ${bad.position}: ${plain(bad.what)}.`;
  session.say(`${palette.bad('✗')} ${where}`);
  session.say(
    `${palette.accent('→')} Nothing from there on can be trusted: restore the database from a backup that audits well.`,
  );
  return exitCodes.refused;
}
