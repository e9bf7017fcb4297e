import { CliError } from '../failure.js';
import { plain } from '../terminal/text.js';
import type { LedgerApi } from './ledger-api.js';

const wholeId = /^t-[0-9a-z]{26}$/;

/** The task an id or a unique beginning of one means, with or without its `t-`. Throws CliError for none, several, and what is no id. */
export async function findTaskId(ledger: LedgerApi, given: string): Promise<string> {
  const wanted = given.trim().toLowerCase();
  if (wholeId.test(wanted)) return wanted;
  if (wanted === '') throw unknownTask('without an id');
  const found = await ledger.task(wanted);
  if (found === undefined) throw unknownTask(given);
  return found.task.id;
}

/** There is no such task. */
export function unknownTask(given: string): CliError {
  return new CliError(`There is no task ${plain(given)}.`, '`plumb list` shows the tasks there are.');
}
