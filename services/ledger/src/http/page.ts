import type { Cursors } from './cursor.js';
import { ApiProblem } from './problems.js';

type Filters = Readonly<Record<string, unknown>>;

/** The position that a cursor goes on from, undefined without one. Refuses one that is not of this list with these filters. */
export function placeOf(
  cursors: Cursors,
  list: string,
  filters: Filters,
  cursor: string | undefined,
): number | undefined {
  if (cursor === undefined) return undefined;
  const place = cursors.read(list, filters, cursor);
  if (place !== undefined) return place;
  const expected = 'the `next` of an answer to the same query, unchanged';
  throw new ApiProblem('invalid-request', `cursor: got one that was not given for this query, expected ${expected}`, {
    problems: [{ field: 'cursor', value: JSON.stringify(cursor), expected }],
  });
}

/** A page of rows of which one more than `limit` was asked for, with the cursor of what follows while something does. */
export function pageOf<Row>(
  cursors: Cursors,
  list: string,
  filters: Filters,
  found: readonly Row[],
  limit: number,
  position: (row: Row) => string,
): { rows: readonly Row[]; next: { next?: string } } {
  const last = found.length > limit ? found[limit - 1] : undefined;
  const next = last === undefined ? {} : { next: cursors.write(list, filters, Number(position(last))) };
  return { rows: found.slice(0, limit), next };
}
