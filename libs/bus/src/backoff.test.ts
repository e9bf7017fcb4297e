import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs } from './backoff.js';

const SETTINGS = { baseMs: 1_000, capMs: 60_000 };

describe('backoff', () => {
  it('doubles up to the cap', () => {
    const delays = [1, 2, 3, 6, 7, 8, 1_000].map((n) => backoffMs(n, SETTINGS, () => 0.999999));
    expect(delays).toEqual([1_000, 2_000, 4_000, 32_000, 60_000, 60_000, 60_000]);
  });

  it('stays between half and all of it, for any count', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -5, max: 1e9 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (n, luck) => {
          const delay = backoffMs(n, SETTINGS, () => luck);
          const full = backoffMs(n, SETTINGS, () => 1);
          expect(delay).toBeGreaterThanOrEqual(full / 2);
          expect(delay).toBeLessThanOrEqual(Math.min(full, 60_000));
        },
      ),
      { seed: 7 },
    );
  });
});
