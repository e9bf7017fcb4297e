import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findMatch } from './match-lines.js';

const apply = (text: string, old: string, replacement: string): string => {
  const match = findMatch(text, old, replacement);
  if (match.found !== 'once') throw new Error(match.found);
  return text.slice(0, match.start) + match.replacement + text.slice(match.end);
};

describe('an edit', () => {
  it('replaces the exact text, inside a line too', () => {
    expect(apply('a = 1;\nb = 2;\n', 'b = 2', 'b = 3')).toBe('a = 1;\nb = 3;\n');
  });

  it('forgives trailing space, and leaves the lines around alone', () => {
    expect(apply('if (x) {  \n  y();\t\n}\nz();', 'if (x) {\n  y();', 'if (w) {\n  y();')).toBe(
      'if (w) {\n  y();\n}\nz();',
    );
  });

  it('forgives one indentation for all lines, in either direction, and gives it to what is new', () => {
    expect(apply('{\n    if (x)\n      y();\n}\n', 'if (x)\n  y();', 'if (w)\n  v();')).toBe(
      '{\n    if (w)\n      v();\n}\n',
    );
    expect(apply('if (x)\n  y();\n', '  if (x)\n    y();\n', '  if (w)\n    v();\n')).toBe('if (w)\n  v();\n');
  });

  it('does not forgive an indentation that differs from line to line', () => {
    expect(findMatch('  a();\n    b();\n', 'a();\nb();', 'c();').found).toBe('never');
  });

  it('keeps the line ends of the file', () => {
    expect(apply('a;\r\nb; \r\nc;\r\n', 'a;\nb;', 'x;\ny;')).toBe('x;\r\ny;\r\nc;\r\n');
    expect(apply('a;\r\nb; \r\nc;\r\n', 'a;\nb;\n', 'x;\ny;\n')).toBe('x;\r\ny;\r\nc;\r\n');
  });

  it('never chooses between two places, on any rung', () => {
    expect(findMatch('a\nb\na\n', 'a', 'c')).toEqual({ found: 'often', lines: [1, 3] });
    expect(findMatch('a;  \nb\na; \n', 'a;\n', 'c')).toEqual({ found: 'often', lines: [1, 3] });
    expect(findMatch('  a();\n    a();\n', '\ta();', 'c')).toMatchObject({ found: expect.not.stringMatching('once') });
  });

  it('finds overlapping places', () => {
    expect(findMatch('aaa', 'aa', 'b').found).toBe('often');
  });

  it('answers a miss with the nearest place', () => {
    const text = 'one();\ntwo();\nthree();\nfour();\n';
    expect(findMatch(text, 'two();\nthree(1);\nfour();', '')).toEqual({ found: 'never', nearest: 2 });
    expect(findMatch(text, 'nothing alike', '')).toEqual({ found: 'never', nearest: null });
  });

  it('blank lines alone are no place', () => {
    expect(findMatch('a\n \n\t\nb\n', '  \n  \n  ', 'x').found).toBe('never');
  });

  it('replaces what it says and nothing else', () => {
    const line = fc.constantFrom('', 'a', 'b', '  a', '  b', '    a', 'a ', 'b\t', '\ta');
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), fc.array(line, { minLength: 1, maxLength: 4 }), (lines, wanted) => {
        const text = lines.join('\n');
        const old = wanted.join('\n');
        if (old === '') return;
        const match = findMatch(text, old, 'NEW');
        if (match.found !== 'once') return;
        const replaced = text.slice(match.start, match.end);
        const words = (value: string): string[] =>
          value
            .split('\n')
            .map((part) => part.trim())
            .filter((part) => part !== '');
        expect(words(replaced)).toEqual(words(old));
      }),
      { numRuns: 2_000, seed: 11 },
    );
  });
});
