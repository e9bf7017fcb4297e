import { CliError } from '../failure.js';
import { plain } from '../terminal/text.js';
import type { TaskDocument } from './documents.js';
import type { LedgerApi } from './ledger-api.js';

const wholeId = /^t-[0-9a-z]{26}$/;

/** The task an id or a unique beginning of one means, with or without its `t-`. Throws CliError for none, several, and what is no id. */
export async function findTask(ledger: LedgerApi, given: string): Promise<TaskDocument> {
  const wanted = given.trim().toLowerCase();
  const found = wanted === '' ? undefined : await ledger.task(wanted);
  if (found === undefined) throw unknownTask(given);
  return found;
}

/** The id that {@link findTask} finds; a whole id is taken as it is, without asking. */
export async function findTaskId(ledger: LedgerApi, given: string): Promise<string> {
  const wanted = given.trim().toLowerCase();
  return wholeId.test(wanted) ? wanted : (await findTask(ledger, wanted)).task.id;
}

/** There is no such task. */
export function unknownTask(given: string): CliError {
  return new CliError(
    `There is no task ${plain(given) || 'without an id'}.`,
    '`plumb list` shows the tasks there are.',
  );
}
