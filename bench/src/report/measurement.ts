import type { BenchDocument } from '@plumbline/domain';
import { median, ratiosOf, significant, spreadOf, type Spread } from './statistics.js';

/** What a figure has to reach: the ratio to its baseline, or the value itself. */
export type Target =
  | { readonly of: 'ratio'; readonly atLeast: number }
  | { readonly of: 'value'; readonly atLeast: number }
  | { readonly of: 'value'; readonly atMost: number };

/** One thing that was measured, with a value per round. */
export interface Measurement {
  /** `<bench>/<what>`, unique in a run. */
  readonly name: string;
  readonly unit: string;
  readonly rounds: readonly number[];
  /** Measured in the same rounds, interleaved. */
  readonly baseline?: { readonly name: string; readonly rounds: readonly number[] };
  readonly target?: Target;
}

/** A result of the document, with what its reader needs beyond the contract: the spread over the rounds and which way the target lies. */
export type BenchResult = BenchDocument['results'][number] & {
  rounds: number;
  /** Of `ratio` where there is a baseline, else of `value`. */
  spread: Spread;
  targetOf?: 'ratio' | 'value';
  targetIs?: 'at-least' | 'at-most';
};

const digits = 3;

/**
 * Medians over the rounds. `met` is judged on the figures as they are printed, so that nobody can read one thing and be told another; a
 * ratio is the median of the rounds' ratios, not the ratio of the medians.
 */
export function resultOf(measurement: Measurement): BenchResult {
  const { name, unit, rounds, baseline, target } = measurement;
  const value = significant(median(rounds), digits);
  const ratios = baseline === undefined ? undefined : ratiosOf(rounds, baseline.rounds);
  const ratio = ratios === undefined ? undefined : significant(median(ratios), digits);
  const { min, max } = spreadOf(ratios ?? rounds);
  return {
    name,
    value,
    unit,
    ...(baseline === undefined || ratio === undefined
      ? {}
      : { baseline: { name: baseline.name, value: significant(median(baseline.rounds), digits) }, ratio }),
    ...(target === undefined ? {} : judged(target, value, ratio, name)),
    rounds: rounds.length,
    spread: { min: significant(min, digits), max: significant(max, digits) },
  };
}

function judged(
  target: Target,
  value: number,
  ratio: number | undefined,
  name: string,
): Required<Pick<BenchResult, 'target' | 'met' | 'targetOf' | 'targetIs'>> {
  const figure = target.of === 'ratio' ? ratio : value;
  if (figure === undefined) throw new Error(`${name} has a target for its ratio and no baseline`);
  if ('atMost' in target)
    return { target: target.atMost, met: figure <= target.atMost, targetOf: target.of, targetIs: 'at-most' };
  return { target: target.atLeast, met: figure >= target.atLeast, targetOf: target.of, targetIs: 'at-least' };
}
