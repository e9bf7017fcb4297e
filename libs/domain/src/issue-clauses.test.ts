import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { splitClauses } from './issue-clauses.js';

const texts = (body: string): string[] =>
  splitClauses({ title: 'T', body })
    .map((clause) => clause.text)
    .slice(1);

describe('clauses of an issue', () => {
  it.each<[string, string, string[]]>([
    ['nothing', '', []],
    ['sentences', 'One thing. Another thing! A third? yes.', ['One thing.', 'Another thing!', 'A third? yes.']],
    ['abbreviations', 'Use a list, e.g. `a`. Done.', ['Use a list, e.g. `a`.', 'Done.']],
    ['wrapped lines', 'One\nthing.\n\nTwo', ['One thing.', 'Two']],
    ['lists and tasks', '- a\n* b\n1. c\n2) d\n- [x] e\n  f', ['a', 'b', 'c', 'd', 'e f']],
    ['fences', 'a\n```ts\nb. C.\n```\nd', ['a', 'd']],
    ['longer fences', '````\na\n```\nb\n````\nc', ['c']],
    ['tildes within back-ticks', '```\n~~~\n```\nc', ['c']],
    ['headings, quotations and tables', '# H\n> Q\n| a |\nx', ['x']],
    ['comments', 'a <!-- b. C. --> d', ['a  d']],
    ['a comment that never ends', 'a <!-- b', ['a <!-- b']],
    ['only marks', '---\n***\n!!!', []],
  ])('%s', (_what, body, expected) => {
    expect(texts(body)).toEqual(expected);
  });
  it('are never none, never many, never long, and always the same', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 3000 }), (body) => {
        const clauses = splitClauses({ title: '  ', body });
        expect(clauses[0]).toEqual({ id: 'C1', text: '(no title)' });
        expect(clauses.length).toBeLessThanOrEqual(40);
        for (const clause of clauses) expect(clause.text.length).toBeLessThanOrEqual(400);
        expect(splitClauses({ title: '  ', body })).toEqual(clauses);
      }),
      { seed: 5, numRuns: 300 },
    );
  });
  it('join what is beyond the fortieth', () => {
    const body = Array.from({ length: 60 }, (_, i) => `- item ${i}`).join('\n');
    const all = splitClauses({ title: 'T', body });
    expect(all.length).toBe(40);
    expect(all[39]?.text).toContain('item 38 item 39 item 40');
  });
  it.each([
    '<!--'.repeat(16_000),
    '. '.repeat(32_000),
    ' '.repeat(65_000),
    '`'.repeat(65_000),
    '- '.repeat(32_000),
    'A.\t'.repeat(20_000),
  ])('come in linear time', (body) => {
    const from = performance.now();
    splitClauses({ title: 'T', body });
    expect(performance.now() - from).toBeLessThan(2_500);
  });
});
