import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createPalette, wantsColour } from './palette.js';
import { bytes, columns, columnsMax, cut, duration, length, plain, wrap } from './text.js';

describe('text from elsewhere', () => {
  it('cannot move the cursor, forge a line or turn the writing round', () => {
    expect(plain('a\u001b[2J\u001b]0;title\u0007b\r\nGO\u202Ec')).toBe('ab GO c');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(plain(text)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/);
      }),
    );
  });

  it('is cut and wrapped to its width', () => {
    expect(cut('abcdef', 4)).toBe('abc…');
    expect(cut('abcd', 4)).toBe('abcd');
    expect(wrap('one two three', 7)).toEqual(['one two', 'three']);
    expect(wrap('', 7)).toEqual(['']);
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, width) => {
        for (const line of wrap(text, width)) expect(length(line)).toBeLessThanOrEqual(Math.max(width, 1));
        expect(Array.from(cut(text, width)).length).toBeLessThanOrEqual(width);
        const words = text.split(/\s+/).join('');
        expect(wrap(plain(text), width).join('').replaceAll(' ', '')).toBe(plain(words).replaceAll(' ', ''));
      }),
    );
  });
});

it('columns line up and no line is wider than the limit', () => {
  expect(
    columns(
      [
        ['a', 'bb', 'c'],
        ['aaa', 'b', 'c'],
      ],
      0,
    ),
  ).toEqual(['a    bb  c', 'aaa  b   c']);
  const palette = createPalette(true);
  const [painted] = columns([[palette.good('✓'), 'x'.repeat(300)]]);
  expect(length(painted!)).toBe(columnsMax);
  expect(columns([])).toEqual([]);
});

it('durations and sizes read well at every scale', () => {
  expect([0, 40, 12_345, 59_999, 245_000, 12_000_000].map(duration)).toEqual([
    '0.0 s',
    '0.0 s',
    '12.3 s',
    '60.0 s',
    '4 min 05 s',
    '3 h 20 min',
  ]);
  expect([0, 812, 4_300, 1_610_612_736].map(bytes)).toEqual(['0 B', '812 B', '4.2 KiB', '1.5 GiB']);
});

describe('colour', () => {
  it('is for terminals, and never against NO_COLOR', () => {
    expect(wantsColour({ isTTY: true }, {})).toBe(true);
    expect(wantsColour({ isTTY: true }, { NO_COLOR: '' })).toBe(true);
    expect(wantsColour({ isTTY: true }, { NO_COLOR: '1' })).toBe(false);
    expect(wantsColour({ isTTY: true }, { TERM: 'dumb' })).toBe(false);
    expect(wantsColour({}, {})).toBe(false);
  });

  it('leaves text alone where it is not wanted', () => {
    expect(createPalette(false).bad('NO-GO')).toBe('NO-GO');
    expect(createPalette(true).bad('NO-GO')).toContain('\u001b[');
  });
});
