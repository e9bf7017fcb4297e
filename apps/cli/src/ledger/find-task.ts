import { CliError } from '../failure.js';
import { cut, plain } from '../terminal/text.js';
import type { LedgerApi } from './ledger-api.js';

const wholeId = /^t-[0-9a-z]{26}$/;
const shown = 5;

/** The task an id or a unique beginning of one means, with or without its `t-`. Throws CliError for none and for several. */
export async function findTaskId(ledger: LedgerApi, given: string): Promise<string> {
  const wanted = given.toLowerCase();
  if (wholeId.test(wanted)) return wanted;
  const { tasks } = await ledger.tasks();
  const prefix = wanted.startsWith('t-') ? wanted : `t-${wanted}`;
  const fitting = wanted === '' ? [] : tasks.filter(({ id }) => id.startsWith(prefix));
  const [first, second] = fitting;
  if (first === undefined) throw unknownTask(given);
  if (second === undefined) return first.id;
  throw new CliError(`${fitting.length} tasks begin with ${prefix}.`, 'Give more of the id.', {
    detail: fitting.slice(0, shown).map(({ id, title }) => `${id}  ${cut(plain(title), 60)}`),
  });
}

/** There is no such task. */
export function unknownTask(given: string): CliError {
  return new CliError(`There is no task ${plain(given)}.`, '`plumb list` shows the tasks there are.');
}
