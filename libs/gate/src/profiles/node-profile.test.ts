import { describe, expect, it } from 'vitest';
import { nodeProfile } from './node-profile.js';
import { expandScript, globPattern, wordsOf } from './script.js';

const paths = [
  'package.json',
  'build.mjs',
  'tools/gen.js',
  'setup.mjs',
  'test/a.js',
  'src/a.test.ts',
  'src/deep/b.test.mts',
  'src/a.ts',
];
const profile = (scripts: Record<string, string>) => nodeProfile({ scripts }, paths);
const matched = (test: string) => {
  const { tests } = profile({ test });
  return tests.kind === 'node-test'
    ? paths.filter((path) => tests.patterns.some((pattern) => pattern.test(path)))
    : tests.why;
};

describe('the test command of base', () => {
  it('says which files are tests', () => {
    expect(matched('node --test')).toEqual(['test/a.js', 'src/a.test.ts', 'src/deep/b.test.mts']);
    expect(matched('node --test "src/**/*.test.ts"')).toEqual(['src/a.test.ts']);
    expect(matched("node --test './src/**/*.test.{ts,mts}'")).toEqual(['src/a.test.ts', 'src/deep/b.test.mts']);
    expect(matched('node --test src')).toEqual(['src/a.test.ts', 'src/deep/b.test.mts', 'src/a.ts']);
  });

  it('keeps the options of node and drops those of reports', () => {
    const { tests, harnessFiles } = profile({
      test: 'A=1 node --import ./setup.mjs --conditions=x --test-reporter spec --test src/*.ts',
    });
    expect(tests).toMatchObject({
      kind: 'node-test',
      execArgv: ['--import', './setup.mjs', '--conditions=x'],
      env: { A: '1' },
      prepare: [],
    });
    expect(harnessFiles).toEqual(['setup.mjs']);
  });

  it.each([
    'node --test | cat',
    'node --test; true',
    'node --test || true',
    'node --test $FILES',
    'node -e 1 --test',
    'node --test --test-shard=1/2',
    'node --test ../x',
    'node --test "[a].js"',
    'jest',
    'node --test && true',
  ])('is not run when it is not understood: %s', (test) => expect(profile({ test }).tests.kind).toBe('not-runnable'));

  it('runs what comes before it, with the files of base that this names', () => {
    const { tests, build, harnessFiles } = profile({
      ...{ prebuild: 'node tools/gen.js src/a.ts', build: 'node build.mjs', test: 'npm run -s build && node --test' },
    });
    expect(tests).toMatchObject({ prepare: ['node tools/gen.js src/a.ts', 'node build.mjs'] });
    expect(build).toEqual({ kind: 'commands', commands: ['node tools/gen.js src/a.ts', 'node build.mjs'] });
    expect(harnessFiles).toEqual(['tools/gen.js', 'build.mjs']);
  });
});

describe('scripts', () => {
  it('are refused when they call themselves or do not exist', () => {
    expect(expandScript('a', { a: 'npm run b', b: 'npm run a' })).toMatchObject({ ok: false });
    expect(expandScript('a', {})).toMatchObject({ ok: false });
  });

  it('are split at && outside quotes only', () => {
    expect(expandScript('a', { a: `echo "x && y" && echo 'z'` })).toEqual({
      ok: true,
      commands: ['echo "x && y"', "echo 'z'"],
    });
  });

  it('are words only where no shell is needed', () => {
    expect(wordsOf(`node --x="a b" 'c d'e`)).toEqual(['node', '--x=a b', 'c de']);
    for (const text of ['a $b', 'a `b`', 'a > b', 'a & b', 'a\\ b', 'a "b']) expect(wordsOf(text)).toBeNull();
  });

  it('name files by patterns that stay inside', () => {
    expect(globPattern('a/*.js')?.test('a/b/c.js')).toBe(false);
    expect(globPattern('**/*.js')?.test('c.js')).toBe(true);
    expect(globPattern('a.js')?.test('abjs')).toBe(false);
    for (const text of ['../a', '/a', 'a/[b]', '!(a)', '']) expect(globPattern(text)).toBeNull();
  });
});
