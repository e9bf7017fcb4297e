import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkResultSchema } from './check.js';
import { namedPaths, scopeCheck } from './issue-paths.js';

const base = [
  'README.md',
  'Makefile',
  'package.json',
  'src/price.ts',
  'src/price.test.ts',
  'src/rice.ts',
  'src/cart/index.ts',
  'src/user/index.ts',
  'src/user/Account.tsx',
  'lib/util.py',
  'app/[id]/page.tsx',
  'docs/guide.md',
  'tests/test_util.py',
];
const named = (text: string): string[] => namedPaths(text, base).paths;

describe('the files an issue names', () => {
  it.each<[string, string, string[]]>([
    ['a path', 'Totals in src/price.ts are wrong.', ['src/price.ts']],
    ['in back-ticks', 'Look at `src/price.ts`!', ['src/price.ts']],
    ['a unique name', 'The bug is in price.ts, I think', ['src/price.ts']],
    ['a unique suffix', 'user/index.ts exports too much', ['src/user/index.ts']],
    ['an ambiguous name', 'index.ts exports too much', []],
    ['another case', 'account.tsx is wrong', ['src/user/Account.tsx']],
    ['a line', 'src/price.ts:12 and lib/util.py:3:7', ['src/price.ts', 'lib/util.py']],
    ['lines', '`src/price.ts:12-30` and lib/util.py#L3-L9', ['src/price.ts', 'lib/util.py']],
    ['a dot at the end', 'It is src/price.ts.', ['src/price.ts']],
    ['brackets', '(src/price.ts), [src/rice.ts]', ['src/price.ts', 'src/rice.ts']],
    ['a dotted start', './src/price.ts', ['src/price.ts']],
    ['a diff prefix', 'in b/src/price.ts', ['src/price.ts']],
    ['backslashes', 'src\\price.ts', ['src/price.ts']],
    ['odd names in back-ticks', 'broken: `app/[id]/page.tsx`', ['app/[id]/page.tsx']],
    ['no extension', 'the Makefile is wrong', ['Makefile']],
    ['a link', '[the module](src/price.ts) is wrong', ['src/price.ts']],
    ['an address', 'https://example.org/blob/main/src/price.ts and www.x.org/src/price.ts', []],
    ['versions and words', 'v1.2.3, node.js, e.g. this, and/or, 3.5, i.e. that', []],
    ['a longer name', 'rprice.ts or src/price.tsx or price.ts.bak', []],
    ['parents', '../src/price.ts and src/../src/price.ts', []],
    ['dependencies', 'node_modules/x/src/price.ts', []],
    ['fenced code', 'x\n```\nsrc/price.ts\n```\ny', []],
    ['a quotation', '> src/price.ts\n\nx', []],
    ['a comment', 'x <!-- src/price.ts --> y', []],
    ['stack frames', 'Fails:\n    at total (src/price.ts:12:3)\n  File "lib/util.py", line 3\n', []],
    ['what is to be left alone', 'Fix src/rice.ts but do not touch src/price.ts or lib/util.py.', ['src/rice.ts']],
    ['what must not change', 'src/price.ts must not be changed. Mend src/rice.ts', ['src/rice.ts']],
    ['what stays', 'leave `src/price.ts` alone', []],
    ['exceptions', 'Change all but README.md and except src/price.ts', ['README.md']],
    ['what is named and left alone', 'src/price.ts is slow. Never change src/price.ts', []],
    ['what is left alone under another name', 'Fix src/price.ts. Do not modify `price.ts`.', []],
    ['an example', 'Do it in src/rice.ts, similar to src/price.ts', ['src/rice.ts']],
    ['an example with e.g.', 'as elsewhere, e.g. src/price.ts', []],
    ['a fault that sounds like a prohibition', 'It does not work in src/price.ts', ['src/price.ts']],
    ['nothing', '', []],
  ])('%s', (_what, text, paths) => {
    expect(named(text)).toEqual(paths);
  });
  it('reports what looks like a file and is none', () => {
    expect(namedPaths('Create src/tax.ts and `vat.ts`; see node.js', base)).toEqual({
      paths: [],
      unresolved: ['src/tax.ts', 'vat.ts'],
    });
  });
  it('only ever names files of base, each once, whatever the text', () => {
    const piece = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 12 }),
      fc.constantFrom(
        ...base,
        'price.ts',
        'a/',
        '`',
        '\n',
        ' ',
        '<!--',
        '```',
        'do not touch ',
        '__proto__',
        'constructor/toString.ts',
      ),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const { paths, unresolved } = namedPaths(pieces.join(' '), base);
        expect(paths.every((path) => base.includes(path))).toBe(true);
        expect(new Set(paths).size).toBe(paths.length);
        expect(unresolved.every((name) => !base.includes(name))).toBe(true);
      }),
      { seed: 10, numRuns: 500 },
    );
  });
  it('finds every file that is plainly named', () => {
    fc.assert(
      fc.property(
        fc.subarray(
          base.filter((path) => !path.includes('[')),
          { minLength: 1 },
        ),
        (some) => {
          expect(named(`Please mend ${some.join(' and ')}`)).toEqual(some);
        },
      ),
      { seed: 11, numRuns: 200 },
    );
  });
  const many = Array.from({ length: 20_000 }, (_, i) => `src/m${i}/index.ts`);
  it.each([
    ['mentions', 'a/index.ts '.repeat(6_000)],
    ['many names', Array.from({ length: 5_000 }, (_, i) => `x${i}/index.ts`).join(' ')],
    ['slashes', '/'.repeat(65_000)],
    ['dots', 'a.'.repeat(32_000)],
    ['back-ticks', '`a'.repeat(32_000)],
    ['negations', 'do not a b '.repeat(6_000)],
    ['spaces', `at ${' '.repeat(65_000)}`],
    ['digits', `a:${'1'.repeat(65_000)}`],
    ['frames', `  at ${':1'.repeat(30_000)}\n`.repeat(2)],
  ])('takes linear time on %s', (_what, text) => {
    const from = performance.now();
    namedPaths(text, many);
    expect(performance.now() - from).toBeLessThan(2_500);
  });
});

describe('the scope check', () => {
  const check = (body: string, changed: string[]) => scopeCheck({ title: 'A fault', body }, base, changed);
  it.each<[string, string, string[], string]>([
    ['the named file', 'src/price.ts is wrong', ['src/price.ts'], 'pass'],
    ['its test', 'src/price.ts is wrong', ['src/price.test.ts'], 'pass'],
    ['another file', 'src/price.ts is wrong', ['src/rice.ts'], 'fail'],
    ['only the README', 'src/price.ts is wrong', ['README.md'], 'fail'],
    ['a copy of it elsewhere', 'src/price.ts is wrong', ['other/src/price.ts'], 'fail'],
    ['nothing', 'src/price.ts is wrong', [], 'fail'],
    ['a new file that the issue names', 'src/price.ts lacks `src/tax.ts`', ['src/tax.ts'], 'pass'],
    ['a new document that the issue names', 'src/price.ts lacks `src/notes.md`', ['src/notes.md'], 'fail'],
    ['no file named', 'It is wrong', ['src/rice.ts'], 'not-applicable'],
    ['only a new file named', 'Write src/tax.ts', ['src/rice.ts'], 'not-applicable'],
  ])('%s', (_what, body, changed, outcome) => {
    const result = check(body, changed);
    expect(result.outcome).toBe(outcome);
    expect(result.predicate === undefined).toBe(outcome !== 'not-applicable');
    expect(result.overlap.length > 0).toBe(outcome === 'pass');
  });
  it('says which predicate showed that it does not apply', () => {
    expect(check('It is wrong', []).predicate).toBe('the issue names no file');
    expect(check('Write src/tax.ts', []).predicate).toBe('the issue names no file of base (src/tax.ts is none)');
  });
  it('reads the title too', () => {
    expect(scopeCheck({ title: 'price.ts is wrong', body: '' }, base, []).named).toEqual(['src/price.ts']);
  });
  it('fits into a check result, however long the names', () => {
    const long = Array.from({ length: 9 }, (_, i) => `src/${'d'.repeat(250)}/f${i}.ts`);
    const result = scopeCheck({ title: 'x', body: long.join(' ') }, long, []);
    expect(result.outcome).toBe('fail');
    expect(checkResultSchema.shape.summary.safeParse(result.summary).success).toBe(true);
    const none = scopeCheck({ title: 'x', body: long.join(' ') }, [], []);
    expect(checkResultSchema.shape.predicate.safeParse(none.predicate).success).toBe(true);
  });
});
