import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvalidInputError } from './errors.js';
import { eventIdOf } from './event-id.js';
import { checkedInstant, checkedName, jsonText } from './json-text.js';

describe('jsonText', () => {
  it('accepts exactly the values whose strings Postgres can hold', () => {
    const anyText = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom('\0', '\ud800', '\udfff', '\\', 'u', '0', '"', 'a', '\n', '\u0001', '😀') }),
    );
    fc.assert(
      fc.property(anyText, anyText, (key, value) => {
        const storable = [key, value].every((text) => text.isWellFormed() && !text.includes('\0'));
        const attempt = (): string => jsonText({ [key]: [value] }, 'data');
        if (storable) expect(JSON.parse(attempt())).toEqual({ [key]: [value] });
        else expect(attempt).toThrow(InvalidInputError);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([undefined, () => 1, 10n, Symbol('x')])('refuses what has no JSON form: %s', (value) => {
    expect(() => jsonText(value, 'streams[0].events[2].data')).toThrow(
      /^streams\[0\]\.events\[2\]\.data: has no JSON form/,
    );
  });

  it('refuses a cycle', () => {
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;
    expect(() => jsonText(cycle, 'data')).toThrow(InvalidInputError);
  });
});

describe('checks', () => {
  it('refuse names that no column can hold', () => {
    for (const name of ['', 'a\0b', '\ud800', 'x'.repeat(513), 7])
      expect(() => checkedName(name, 'n')).toThrow(InvalidInputError);
    expect(checkedName('task-1', 'n')).toBe('task-1');
  });

  it('refuse instants that Postgres would read otherwise or lose digits of', () => {
    for (const at of [
      '2026-01-31',
      'now',
      'infinity',
      '0000-01-01T00:00:00Z',
      '2026-01-31T12:00:00.1234567Z',
      '2026-13-01T00:00:00Z',
    ]) {
      expect(() => checkedInstant(at, 'at')).toThrow(InvalidInputError);
    }
    expect(checkedInstant('2026-01-31T12:00:00.123456+02:00', 'at')).toBe('2026-01-31T12:00:00.123456+02:00');
  });
});

describe('eventIdOf', () => {
  it('is the UUID version 5 of the index in the command', () => {
    // uuid5('6ba7b810-9dad-11d1-80b4-00c04fd430c8', '0'), computed with another implementation.
    expect(eventIdOf('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 0)).toBe('6af613b6-569c-5c22-9c37-2ed93f31d3af');
  });
});
