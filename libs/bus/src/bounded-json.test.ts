import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseJson, PROTOTYPE_KEYS, type JsonResult } from './bounded-json.js';

const LIMITS = { maxBytes: 1_000, maxDepth: 4, forbiddenKeys: PROTOTYPE_KEYS };
const parse = (text: string): JsonResult => parseJson(new TextEncoder().encode(text), LIMITS);

describe('a stranger’s JSON', () => {
  it('is read up to the limits exactly', () => {
    expect(parse('[[[[]]]]')).toMatchObject({ ok: true });
    expect(parse('[[[[[]]]]]')).toEqual({ ok: false, problem: 'nested 5 deep, expected at most 4' });
    expect(parse(`"${'x'.repeat(998)}"`)).toMatchObject({ ok: true });
    expect(parse(`"${'x'.repeat(999)}"`)).toEqual({ ok: false, problem: '1001 bytes, expected at most 1000' });
  });

  it('does not count brackets in strings, whatever their escapes', () => {
    expect(parse(String.raw`["[[[[[[\"[[[[[\\"]`)).toMatchObject({ ok: true });
    expect(parse(String.raw`["\\",[[[[1]]]]]`)).toMatchObject({ ok: false });
  });

  it('finds forbidden keys at any depth and under escapes, but not as values', () => {
    expect(parse('{"a":[{"__proto__":1}]}')).toEqual({ ok: false, problem: 'forbidden key "__proto__"' });
    expect(parse('{"\\u005f_proto__":1}')).toMatchObject({ ok: false });
    expect(parse('{"a":"__proto__"}')).toMatchObject({ ok: true });
  });

  it('agrees with JSON.parse on everything within the limits', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), (value) => {
        const text = JSON.stringify(value);
        fc.pre(text.length < 300 && !/__proto__|constructor|prototype/.test(text));
        expect(parse(text)).toEqual({ ok: true, value: JSON.parse(text) as unknown });
      }),
      { seed: 7 },
    );
  });

  it('never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const result = parseJson(bytes, LIMITS);
        expect(result.ok || result.problem.length > 0).toBe(true);
      }),
      { seed: 7 },
    );
  });
});
