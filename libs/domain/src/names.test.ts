import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cut } from './cut.js';
import {
  parseStepId,
  stepId,
  stepIdSchema,
  stepKinds,
  streamEntity,
  taskIdSchema,
  taskStream,
  nodeStream,
} from './names.js';
import { policySchema, shippedPolicies } from './policy.js';
import { seededRandom } from './seeded.js';

describe('names', () => {
  it('of steps are read back as they were written', () => {
    const name = fc.record({
      kind: fc.constantFrom(...stepKinds),
      attempt: fc.nat(9999),
      try: fc.nat(9999),
      seat: fc.constantFrom(undefined, 'concluder', 'drift-specialist'),
    });
    fc.assert(
      fc.property(name, ({ seat, ...rest }) => {
        const parts = { ...rest, ...(seat === undefined ? {} : { seat }) };
        expect(parseStepId(stepId(parts))).toEqual(parts);
      }),
      { seed: 13 },
    );
  });
  it.each([
    '',
    'coding',
    'coding.1',
    'coding.1.1.',
    'coding.1.1.Seat',
    'coding.-1.1',
    'coding.1.1.a.b',
    'x.1.1',
    'coding.1.1\n',
    'coding.12345.1',
  ])('%j is no step', (id) => {
    expect(stepIdSchema.safeParse(id).success).toBe(false);
    expect(() => parseStepId(id)).toThrow('not a step id');
  });
  it('of streams lead back to what they are about', () => {
    const id = `t-${'0'.repeat(26)}`;
    expect(taskIdSchema.safeParse(id).success).toBe(true);
    expect(streamEntity(taskStream(id))).toEqual({ category: 'task', id });
    expect(streamEntity(nodeStream('studio-2'))).toEqual({ category: 'node', id: 'studio-2' });
    expect(streamEntity('fleet')).toEqual({ category: 'fleet', id: 'fleet' });
  });
});

describe('small things', () => {
  it('cuts texts to their length, and no pair in half', () => {
    expect([cut('abc', 3), cut('abcd', 3), cut('a\u{1f600}b', 3), cut('\u{1f600}\u{1f600}', 3)]).toEqual([
      'abc',
      'ab…',
      'a…',
      '\u{1f600}…',
    ]);
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 2, max: 20 }), (text, max) => {
        expect(cut(text, max).length).toBeLessThanOrEqual(max);
        expect(cut(text, max).isWellFormed()).toBe(true);
      }),
      { seed: 14 },
    );
  });
  it('draws the same luck from the same seed, spread over [0, 1)', () => {
    const [a, b] = [seededRandom('x'), seededRandom('x')];
    const drawn = Array.from({ length: 1000 }, a);
    expect(Array.from({ length: 1000 }, b)).toEqual(drawn);
    expect(drawn.every((n) => n >= 0 && n < 1)).toBe(true);
    for (let tenth = 0; tenth < 10; tenth++)
      expect(drawn.filter((n) => Math.floor(n * 10) === tenth).length).toBeGreaterThan(70);
    expect(seededRandom('y')()).not.toBe(drawn[0]);
  });
});

describe('policies', () => {
  it.each(Object.values(shippedPolicies))('$name is valid', (policy) => {
    expect(policySchema.parse(policy)).toEqual(policy);
  });
  const panel = (seats: number, approvalsMin: number, familiesMin: number) => ({
    ...shippedPolicies.strict,
    panel: {
      seats: Array.from({ length: seats }, (_, i) => ({ seat: `s${i}`, canVouch: i > 0 })),
      approvalsMin,
      familiesMin,
    },
  });
  it.each([
    ['more approvals than seats that vouch', panel(3, 3, 1)],
    ['more families than approvals', panel(3, 1, 2)],
    [
      'a seat twice',
      {
        ...shippedPolicies.strict,
        panel: {
          ...shippedPolicies.strict.panel,
          seats: [
            { seat: 'a', canVouch: true },
            { seat: 'a', canVouch: true },
          ],
        },
      },
    ],
    ['a required check that only advises', { ...shippedPolicies.strict, effects: { tests: 'advise' } }],
    ['an unknown check', { ...shippedPolicies.strict, required: ['vibes'] }],
  ])('cannot ask for %s', (_what, policy) => {
    expect(policySchema.safeParse(policy).success).toBe(false);
  });
  it('can ask for what its seats can give', () => {
    expect(policySchema.safeParse(panel(3, 2, 2)).success).toBe(true);
  });
});
