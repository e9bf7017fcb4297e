/** The middle of the values, the mean of the two middle ones of an even number. Throws on none: nothing measured has no middle. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('no values: there is no median');
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted.length >> 1;
  const [low, high] = [sorted[sorted.length % 2 === 1 ? upper : upper - 1], sorted[upper]];
  return ((low as number) + (high as number)) / 2;
}

/** The smallest and the largest of the values. */
export interface Spread {
  min: number;
  max: number;
}

/** Throws on no values. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error('no values: there is no spread');
  return { min: Math.min(...values), max: Math.max(...values) };
}

/**
 * Ours over the baseline, round by round: what disturbs a machine for a while disturbs both halves of a round. Throws unless both have
 * one value per round, and when a baseline did nothing in a round.
 */
export function ratiosOf(ours: readonly number[], baseline: readonly number[]): number[] {
  if (ours.length !== baseline.length || ours.length === 0) {
    throw new Error(`${ours.length} rounds of ours and ${baseline.length} of the baseline: expected as many of both`);
  }
  return ours.map((value, round) => {
    const bare = baseline[round] as number;
    if (!(bare > 0)) throw new Error(`the baseline of round ${round + 1} is ${bare}: expected more than nothing`);
    return value / bare;
  });
}

/** A number with `digits` significant digits: what a noisy measurement can carry. */
export function significant(value: number, digits: number): number {
  return Number(value.toPrecision(digits));
}
