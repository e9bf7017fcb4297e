import { ApiProblem } from './problems.js';

/** The position a stream goes on after. A position that the log never reached belongs to another log: waiting for it would lose events. */
export function startOf(
  given: { readonly after: number; readonly 'last-event-id'?: number | undefined },
  head: number,
): number {
  const afterPos = given['last-event-id'] ?? given.after;
  if (afterPos <= head) return afterPos;
  throw new ApiProblem('ahead-of-the-log', `the log ends at position ${head}, events after ${afterPos} were asked for`);
}
