/** Runs one round of something and returns its figure. */
export type Contestant = () => Promise<number>;

/**
 * Interleaves: every round runs every contestant once, every other round in the opposite order, so that what drifts (a warming cache, a
 * growing table, a neighbour on the machine) meets all of them alike. Returns the figures of each, by round.
 */
export async function interleave<Name extends string>(
  rounds: number,
  contestants: Readonly<Record<Name, Contestant>>,
  onStep: (what: string) => void = () => undefined,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(contestants) as Name[];
  const figures = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? names : [...names].reverse()) {
      onStep(`round ${round + 1} of ${rounds}: ${name}`);
      figures[name].push(await contestants[name]());
    }
  }
  return figures;
}
