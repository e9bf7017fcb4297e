/** Growing delays between tries. */
export interface Backoff {
  readonly baseMs: number;
  readonly capMs: number;
}

/**
 * The delay before the try after the n-th (n from 1), in milliseconds: doubling from `baseMs`, capped at `capMs`, then spread
 * over its upper half by `random` (0 ≤ random() < 1) so that replicas do not come back together.
 */
export function backoffMs(n: number, { baseMs, capMs }: Backoff, random: () => number): number {
  const full = Math.min(capMs, baseMs * 2 ** Math.min(Math.max(n, 1) - 1, 30));
  return Math.round(full / 2 + (full / 2) * random());
}
