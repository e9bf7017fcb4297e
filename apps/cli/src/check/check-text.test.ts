import { checkDocumentSchema, type CheckDocument } from '@plumbline/domain';
import { describe, expect, it } from 'vitest';
import { createPalette } from '../terminal/palette.js';
import { columnsMax, length } from '../terminal/text.js';
import { checkLines, exitCodeOfVerdict } from './check-text.js';

const sha = 'a'.repeat(40);
const document: CheckDocument = {
  schema: 'plumbline.check/1',
  verdict: 'NO-GO',
  subject: { base: sha, head: 'b'.repeat(40), tree: sha, changeClass: ['behaviour'], languages: ['typescript'] },
  reasons: [
    {
      check: 'scope',
      effect: 'block',
      summary: 'the issue names src/receipt.ts and the change does not touch it '.repeat(4),
      evidence: [],
    },
  ],
  checks: [
    { check: 'tests', outcome: 'pass', effect: 'block', durationMs: 5, summary: 'all pass', findings: [] },
    {
      check: 'types',
      outcome: 'not-applicable',
      effect: 'block',
      durationMs: 0,
      summary: 'no tsconfig',
      predicate: 'p',
      findings: [],
    },
    {
      check: 'scope',
      outcome: 'fail',
      effect: 'block',
      durationMs: 1,
      summary: 'touches none',
      findings: Array.from({ length: 7 }, (_, at) => ({
        path: `src/${'deep/'.repeat(20)}${at}.ts`,
        line: 1,
        message: `\u001b[2J${'not named '.repeat(30)}`,
      })),
    },
  ],
  advice: ['name a file'],
  environment: { sandbox: 'bubblewrap', isolation: 'all', toolchains: { node: '24' } },
  durationMs: 1_234,
};

describe('a judged change', () => {
  it('is a document of the contract, shown within the terminal with nothing foreign in control', () => {
    expect(checkDocumentSchema.safeParse(document).success).toBe(true);
    const lines = checkLines(document, createPalette(false));
    for (const line of lines) expect(length(line)).toBeLessThanOrEqual(columnsMax);
    const text = lines.join('\n');
    expect(text).not.toContain('\u001b');
    expect(text).toMatch(/✓ tests +all pass/);
    expect(text).toMatch(/– 1 checks do not apply/);
    expect(text).toMatch(/and 2 more of scope/);
    expect(text).toMatch(/NO-GO {2}1\.2 s[^]*scope {2}the issue names/);
  });

  it.each([
    ['GO', 0],
    ['GO-WAIVED', 0],
    ['NO-GO', 1],
    ['INCOMPLETE', 3],
  ] as const)('%s exits with %i', (verdict, code) => {
    expect(exitCodeOfVerdict(verdict)).toBe(code);
  });
});
