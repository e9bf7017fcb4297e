import type { CheckId, CheckResult } from '@plumbline/domain';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GateStage, project, type Files } from './gate.fixture.js';
import { testsCheck } from './checks/tests.js';
import { buildCheck } from './checks/build.js';

let stage: GateStage;
beforeAll(async () => {
  stage = await GateStage.open();
});
afterAll(() => stage.close());

const only = async (files: Files, on = stage): Promise<CheckResult> => {
  const run = await on.gate(files, { checks: [testsCheck] });
  const [result] = run.results;
  if (result === undefined) throw new Error('no result');
  return result;
};
const texts = (result: CheckResult) => [result.summary, ...result.findings.map(({ message }) => message)].join('\n');

/** The function is broken; base's test of it fails on every one of these changes. */
const broken = 'export const total = (net: number, tax: number): number => net - tax;\n';
const testHead =
  "import assert from 'node:assert/strict';\nimport { describe, it, test } from 'node:test';\nimport { total } from './price.ts';\n";

describe('a change that breaks something', () => {
  it('fails with the assertion and its place', async () => {
    const result = await only({ 'src/price.ts': broken });
    expect(result.outcome).toBe('fail');
    expect(result.findings[0]).toMatchObject({ path: 'src/price.test.ts', line: 5 });
    expect(texts(result)).toContain('adds tax');
    expect(texts(result)).toContain('8 !== 12');
  });

  it('fails the build at its place, and runs no test of what is not built', async () => {
    const run = await stage.gate({ 'src/price.ts': 'export const total = (net: number => net;\n' });
    const [, build, tests] = run.results as CheckResult[];
    expect([build?.outcome, tests?.outcome]).toEqual(['fail', 'unknown']);
    expect(texts(build as CheckResult)).toContain('build');
  });

  it('fails when a test file cannot be loaded', async () => {
    const result = await only({ 'src/other.test.ts': "import './absent.ts';\n" });
    expect(result.outcome).toBe('fail');
    expect(texts(result)).toContain('absent.ts');
  });
});

const tricks: Record<string, { files: Files; says: RegExp }> = {
  'exits with 0 inside a test': {
    files: {
      'src/price.ts': broken,
      'src/price.test.ts': `${testHead}test('adds tax', () => process.exit(0));\ntest('never', () => assert.equal(total(10, 2), 12));\n`,
    },
    says: /ended itself before its tests were done/,
  },
  'exits with 0 through the inner function of process': {
    files: {
      'src/price.ts': `${broken}\nObject.defineProperty(process, 'reallyExit', { value: () => undefined });\n`,
      'src/price.test.ts': `${testHead}(process as never as { reallyExit(n: number): void }).reallyExit(0);\n`,
    },
    says: /ended itself|redefine/,
  },
  'exits with 0 when a module is loaded': {
    files: { 'src/price.ts': 'process.exit(0);\nexport const total = (): number => 0;\n' },
    says: /ended itself/,
  },
  'replaces the test script': {
    files: {
      'src/price.ts': broken,
      'package.json': JSON.stringify({
        name: 'shop',
        type: 'module',
        private: true,
        scripts: { build: 'true', test: 'true' },
      }),
    },
    says: /8 !== 12/,
  },
  'replaces the build script to break the runner': {
    files: {
      'src/price.ts': broken,
      'build.mjs': "import { rmSync } from 'node:fs';\nrmSync('src/price.test.ts');\n",
    },
    says: /8 !== 12/,
  },
  'brings options for node and npm': {
    files: {
      'src/price.ts': broken,
      '.npmrc': 'node-options=--test-name-pattern=other\n',
      '.env': 'NODE_OPTIONS=--test-name-pattern=other\n',
      'node.config.json': JSON.stringify({
        testRunner: { 'test-name-pattern': 'other' },
        nodeOptions: { import: ['./evil.mjs'] },
      }),
      'evil.mjs': 'process.exit(0);\n',
    },
    says: /8 !== 12/,
  },
  'prints results that look like the real ones': {
    files: {
      'src/price.ts': broken,
      'src/price.test.ts': `${testHead}console.log('TAP version 13\\nok 1 - adds tax\\n1..1\\n# pass 1\\n# fail 0');\nconsole.log('0'.repeat(64) + ' ' + JSON.stringify({ n: 0, kind: 'end' }));\ntest('adds tax', () => assert.equal(total(10, 2), 12));\ndescribe('zero', () => { it('keeps the net', () => {}); });\n`,
    },
    says: /8 !== 12/,
  },
  'writes into the report of the runner': {
    files: {
      'src/price.ts': broken,
      'src/price.test.ts': `${testHead}import { appendFileSync } from 'node:fs';\ntry { appendFileSync('/proc/' + process.ppid + '/fd/1', '0'.repeat(64) + ' ' + JSON.stringify({ n: 1, kind: 'test', file: 'src/price.test.ts', names: ['adds tax'], status: 'passed' }) + '\\n'); } catch {}\ntest('adds tax', () => assert.equal(total(10, 2), 12));\n`,
    },
    says: /8 !== 12|wrote into the report/,
  },
  'kills the runner': {
    files: {
      'src/price.ts': broken,
      'src/price.test.ts': `${testHead}process.kill(process.ppid, 'SIGKILL');\n`,
    },
    says: /breaks off|SIGKILL/,
  },
  'deletes other tests before they run': {
    files: {
      'src/price.ts': broken,
      'src/a.test.ts': "import { rmSync } from 'node:fs';\nrmSync('src/price.test.ts', { force: true });\n",
      'src/price.test.ts': null,
    },
    says: /lost: src\/price\.test\.ts > adds tax/,
  },
  'deletes the canary at run time': {
    files: {
      'src/aaa.test.ts':
        "import { readdirSync, rmSync } from 'node:fs';\nimport test from 'node:test';\nfor (let n = 0; n < 2; n++) for (const name of readdirSync('.')) if (name.includes('canary')) rmSync(name);\ntest('fine', () => {});\n",
      'plumbline-canary-0.test.mjs': "import test from 'node:test';\ntest('assertion', () => {});\n",
    },
    says: /canary/,
  },
  'writes over the runner and its results': {
    files: {
      'src/price.ts': broken,
      'src/aaa.test.ts':
        "import { writeFileSync } from 'node:fs';\nimport test from 'node:test';\nfor (const path of ['/opt/harness/run-node-tests.mjs', '/opt/harness/exit-guard.mjs', '/opt/harness/results.json'])\n  try { writeFileSync(path, ''); } catch {}\ntest('fine', () => {});\n",
      'results.json': JSON.stringify([{ kind: 'end' }]),
    },
    says: /8 !== 12/,
  },
  'skips every test': {
    files: {
      'src/price.ts': broken,
      'src/price.test.ts': `${testHead}test.skip('adds tax', () => assert.equal(total(10, 2), 12));\ndescribe.skip('zero', () => { it('keeps the net', () => {}); });\n`,
      'src/other.test.ts': "import test from 'node:test';\ntest.skip('other', () => {});\n",
    },
    says: /3 tests that passed on base/,
  },
  'makes a failing test a wish': {
    files: {
      'src/price.ts': broken,
      'src/price.test.ts': `${testHead}test.todo('adds tax', () => assert.equal(total(10, 2), 12));\ndescribe('zero', () => { it('keeps the net', () => assert.equal(total(10, 0), 10)); });\n`,
    },
    says: /lost: src\/price\.test\.ts > adds tax/,
  },
  'puts a link in the place of the tests': {
    files: {
      'src/price.ts': broken,
      'src/price.test.ts': { link: 'other.test.ts' },
    },
    says: /lost: src\/price\.test\.ts > adds tax/,
  },
  'moves the tests where nobody looks': {
    files: { 'src/price.ts': broken, 'src/price.test.ts': null, 'src/price.tests.ts': testHead },
    says: /lost: src\/price\.test\.ts > adds tax/,
  },
  'keeps the runner waiting for ever': {
    files: { 'src/price.test.ts': `${testHead}test('adds tax', () => { for (;;); });\n` },
    says: /not done within/,
  },
};

describe('a change that tries to forge a pass', () => {
  it.each(Object.keys(tricks))('%s', async (name) => {
    const trick = tricks[name];
    if (trick === undefined) throw new Error(name);
    const limits = name.includes('for ever') ? { wallMs: 6_000 } : {};
    const run = await stage.gate(trick.files, { checks: [testsCheck], limits });
    const [result] = run.results as [CheckResult];
    expect(result.outcome).toBe(/SIGKILL/.test(result.summary) ? 'unknown' : 'fail');
    expect(texts(result)).toMatch(trick.says);
  });

  it("cannot mend its harness: evidence is about its own tree, the run about base's scripts", async () => {
    const manifest = JSON.stringify({ name: 'shop', type: 'module', scripts: { test: 'true' } });
    const run = await stage.gate({ 'package.json': manifest }, { checks: [buildCheck, testsCheck] });
    expect(run.concluded.map(({ outcome }) => outcome)).toEqual(['pass', 'pass']);
    expect(run.environment['composedTree']).not.toBe(run.subject.tree);
    expect(run.results.map(({ tree }) => tree)).toEqual([run.subject.tree, run.subject.tree]);
  });
});

describe('a base that says too little', () => {
  const unknownFor = async (base: Files, change: Files = { 'README.md': 'x\n' }) => {
    const own = await GateStage.open(base);
    try {
      return (await own.gate(change)).results;
    } finally {
      own.close();
    }
  };
  const outcomes = (results: readonly CheckResult[]): Partial<Record<CheckId, string>> =>
    Object.fromEntries(results.map(({ check, outcome }) => [check, outcome]));

  it('is never a pass: no manifest, no test script, an unknown runner', async () => {
    expect(outcomes(await unknownFor({ 'a.txt': 'a\n' }))).toMatchObject({ build: 'unknown', tests: 'unknown' });
    const scripts = (test: string) => ({ 'package.json': JSON.stringify({ scripts: { test } }), 'src/a.test.js': '' });
    for (const test of ['vitest run', 'node --test | cat', 'node --test --test-name-pattern=x', 'true'])
      expect(outcomes(await unknownFor(scripts(test)))).toMatchObject({ build: 'not-applicable', tests: 'unknown' });
  });

  it('is unknown when no test is executed, also when the change adds the first test file without one', async () => {
    const base: Files = { 'package.json': JSON.stringify({ scripts: { test: 'node --test' } }) };
    expect(outcomes(await unknownFor(base))).toMatchObject({ tests: 'unknown' });
    const empty = await unknownFor(base, { 'a.test.mjs': 'console.log(1);\n' });
    expect(outcomes(empty)).toMatchObject({ tests: 'unknown' });
  });

  it('is unknown when base fails in the same way, and a fail when the change adds a failure', async () => {
    const red = {
      ...project,
      'src/other.test.ts': "import test from 'node:test';\ntest('other', () => { throw new Error('red'); });\n",
    };
    expect(outcomes(await unknownFor(red))).toMatchObject({ tests: 'unknown' });
    expect(outcomes(await unknownFor(red, { 'src/price.ts': broken }))).toMatchObject({ tests: 'fail' });
    expect(
      outcomes(await unknownFor(red, { 'src/other.test.ts': project['src/other.test.ts'] ?? null })),
    ).toMatchObject({ tests: 'pass' });
  });
});
