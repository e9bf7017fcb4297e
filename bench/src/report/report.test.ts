import { benchDocumentSchema } from '@plumbline/domain';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { reportOf, unmetOf } from './document.js';
import { markdownOf, withFigures } from './markdown.js';
import { resultOf, type Measurement, type Target } from './measurement.js';
import { median, ratiosOf, significant, spreadOf } from './statistics.js';
import { tableOf } from './table.js';

const measured = (target?: Target): Measurement => ({
  name: 'append/single',
  unit: 'events/s',
  rounds: [900, 1_200, 600],
  baseline: { name: 'INSERT', rounds: [1_000, 2_000, 800] },
  ...(target === undefined ? {} : { target }),
});

describe('statistics', () => {
  it('has the middle of any number of values, in any order', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(() => median([])).toThrow('no values');
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1_000, max: 1_000 }), { minLength: 1 }), (values) => {
        const middle = median(values);
        expect(values.filter((value) => value < middle).length).toBeLessThanOrEqual(values.length / 2);
        expect(values.filter((value) => value > middle).length).toBeLessThanOrEqual(values.length / 2);
        const { min, max } = spreadOf(values);
        expect(min <= middle && middle <= max).toBe(true);
      }),
    );
  });

  it('divides round by round, and refuses rounds that have no partner or did nothing', () => {
    expect(ratiosOf([900, 1_200], [1_000, 2_000])).toEqual([0.9, 0.6]);
    expect(() => ratiosOf([1], [1, 2])).toThrow('as many of both');
    expect(() => ratiosOf([], [])).toThrow('as many of both');
    expect(() => ratiosOf([1, 2], [1, 0])).toThrow('round 2');
    expect(() => spreadOf([])).toThrow('no values');
  });

  it('keeps as many digits as a measurement carries', () => {
    expect([12_345, 0.59964, 199.96].map((value) => significant(value, 3))).toEqual([12_300, 0.6, 200]);
  });
});

describe('a result', () => {
  it('has the median of the ratios, not the ratio of the medians, and their spread', () => {
    expect(resultOf(measured())).toEqual({
      name: 'append/single',
      value: 900,
      unit: 'events/s',
      baseline: { name: 'INSERT', value: 1_000 },
      ratio: 0.75,
      rounds: 3,
      spread: { min: 0.6, max: 0.9 },
    });
  });

  it('spreads over its values where nothing is compared', () => {
    expect(resultOf({ name: 'x', unit: 'ms', rounds: [5, 1, 3] })).toMatchObject({
      value: 3,
      spread: { min: 1, max: 5 },
    });
  });

  it.each<[Target, boolean, object]>([
    [{ of: 'ratio', atLeast: 0.75 }, true, { target: 0.75, targetOf: 'ratio', targetIs: 'at-least' }],
    [{ of: 'ratio', atLeast: 0.751 }, false, {}],
    [{ of: 'value', atLeast: 900 }, true, { target: 900, targetOf: 'value' }],
    [{ of: 'value', atLeast: 901 }, false, {}],
    [{ of: 'value', atMost: 900 }, true, { targetIs: 'at-most' }],
    [{ of: 'value', atMost: 899 }, false, {}],
  ])('meets %o: %s', (target, met, more) => {
    expect(resultOf(measured(target))).toMatchObject({ met, ...more });
  });

  it('is judged by the figures it shows', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.001, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 9 }),
        fc.constantFrom<Target>(
          { of: 'ratio', atLeast: 0.6 },
          { of: 'value', atLeast: 40 },
          { of: 'value', atMost: 50 },
        ),
        (rounds, target) => {
          const result = resultOf({
            ...measured(target),
            rounds,
            baseline: { name: 'b', rounds: rounds.map(() => 70) },
          });
          const shown = result.targetOf === 'ratio' ? result.ratio : result.value;
          const reached = (shown ?? Number.NaN) - (result.target ?? Number.NaN);
          expect(result.met).toBe(result.targetIs === 'at-most' ? reached <= 0 : reached >= 0);
        },
      ),
    );
  });

  it('cannot be held against a ratio that it does not have', () => {
    expect(() => resultOf({ name: 'x', unit: 'ms', rounds: [1], target: { of: 'ratio', atLeast: 1 } })).toThrow(
      'no baseline',
    );
  });
});

describe('a report', () => {
  const report = reportOf('append', { cpu: 'a', cores: 2 }, [
    measured({ of: 'ratio', atLeast: 0.6 }),
    { ...measured({ of: 'value', atMost: 50 }), name: 'latency' },
  ]);

  it('is the document of the contract, and says what was missed', () => {
    expect(benchDocumentSchema.parse(report)).toMatchObject({ schema: 'plumbline.bench/1', bench: 'append' });
    expect(unmetOf(report).map(({ name }) => name)).toEqual(['latency']);
    expect(() => reportOf('x', {}, [measured(), measured()])).toThrow('append/single');
  });

  it('tells a person the same', () => {
    const text = tableOf(report, { colour: false });
    expect(text).toContain('cpu a · cores 2');
    expect(text).toMatch(/append\/single +900 events\/s +1,000 \(INSERT\) +0.75× +0.6–0.9 +≥ 0.6× +yes/);
    expect(text).toMatch(/latency .* ≤ 50 +no/);
    expect(text).toContain('Not reached: latency.');
    expect(text).not.toContain('\u001b');
    expect(tableOf(report, { colour: true })).toContain('\u001b[31m');
    expect(tableOf(reportOf('x', {}, [measured()]), { colour: false })).toContain('Every target was reached.');
  });

  it('replaces the figures of a page and nothing around them', () => {
    const figures = markdownOf(report, new Date('2026-11-21T10:00:00Z'));
    expect(figures).toContain('Measured 2026-11-21');
    expect(figures).toContain('| append/single | 900 events/s | 1,000 (INSERT) | 0.75× | 0.6–0.9 | ≥ 0.6× | yes |');
    const page = `# Before\n\n${figures.replace('900', '1')}\n\nafter $& $1\n`;
    const renewed = withFigures(page, figures);
    expect(renewed).toBe(`# Before\n\n${figures}\n\nafter $& $1\n`);
    expect(withFigures(renewed, figures)).toBe(renewed);
    expect(() => withFigures('# Nothing', figures)).toThrow('put them where the figures belong');
  });
});
