import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CheckResult } from '@plumbline/domain';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GateStage, project, type Files } from './gate.fixture.js';
import { scopeCheck } from './checks/scope.js';
import { testsCheck } from './checks/tests.js';

let stage: GateStage;
beforeAll(async () => {
  stage = await GateStage.open(base);
});
afterAll(() => stage.close());

/** Base's own tests, also by require and by the context of a test: all of them need the function to be right. */
const base: Files = {
  ...project,
  'src/required.test.cts':
    "const { test } = require('node:test');\nconst { total } = require('./price.ts');\ntest('by require', () => require('node:assert').equal(total(10, 2), 12));\n",
  'src/context.test.ts':
    "import { test } from 'node:test';\nimport { total } from './price.ts';\ntest('by context', (t) => t.assert.equal(total(10, 2), 12));\n",
  'package.json': JSON.stringify({
    ...{ name: 'shop', version: '1.0.0', private: true, type: 'module' },
    scripts: { build: 'node build.mjs', test: 'node --test "src/**/*.test.*ts"' },
  }),
};

const testsOf = async (files: Files, on = stage, more = {}): Promise<CheckResult> => {
  const run = await on.gate(files, { checks: [testsCheck], ...more });
  const [result] = run.results;
  if (result === undefined) throw new Error('no result');
  return result;
};
const texts = (result: CheckResult) => [result.summary, ...result.findings.map(({ message }) => message)].join('\n');

/** The function is broken; what stands before it tries to hide that from base's own, unchanged tests. */
const brokenAfter = (trick: string): Files => ({
  'src/price.ts': `${trick}\nexport const total = (net: number, tax: number): number => net - tax;\n`,
});
const emptyTests =
  "import { describe, it, test } from 'node:test';\ntest('adds tax', () => {});\ndescribe('zero', () => { it('keeps the net', () => {}); });\n";

/** What production code does when a test imports it. */
const inProcess: Record<string, string> = {
  'replaces what assert does':
    "import assert from 'node:assert/strict';\nfor (const key of Object.keys(assert)) try { (assert as never as Record<string, unknown>)[key] = () => {}; } catch {}",
  'replaces what node:test runs': `import { createRequire, syncBuiltinESMExports } from 'node:module';
const t = createRequire(import.meta.url)('node:test');
for (const key of ['test', 'it']) { const real = t[key]; try { t[key] = (name: string) => real(name, () => {}); } catch {} }
try { syncBuiltinESMExports(); } catch {}`,
  'mocks assert':
    "import assert from 'node:assert/strict';\nimport { mock } from 'node:test';\ntry { mock.method(assert, 'equal', () => {}); } catch {}",
  'rewrites what is reported on standard output': `import { deserialize, serialize } from 'node:v8';
const write = process.stdout.write;
process.stdout.write = function (this: unknown, chunk: Buffer, ...rest: unknown[]) {
  if (typeof chunk === 'string') return Reflect.apply(write, process.stdout, [chunk, ...rest]);
  const text = Buffer.from(chunk).toString('latin1');
  if (!text.includes('test:fail')) return Reflect.apply(write, process.stdout, [chunk, ...rest]);
  const { v8: _, ...none } = { v8: 1 }; void none; void deserialize; void serialize;
  return true;
} as never;
process.on('exit', () => { process.exitCode = 0; });`,
  'lets another program take the place of the test':
    "(process as never as { execve(f: string, a: string[], e: object): void }).execve?.('/bin/true', ['true'], {});",
  'takes the runner over through its inspector': `import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
writeFileSync('/tmp/take.mjs', \`
process.kill(\${process.ppid}, 'SIGUSR1');
const until = Date.now() + 3000;
for (;;) {
  try {
    const [{ webSocketDebuggerUrl }] = await (await fetch('http://127.0.0.1:9229/json', { signal: AbortSignal.timeout(1000) })).json();
    const socket = new WebSocket(webSocketDebuggerUrl);
    await Promise.race([new Promise((done) => socket.addEventListener('open', done)), new Promise((done) => setTimeout(done, 1000))]);
    socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression: 'process.exit(42)' } }));
    await new Promise((done) => setTimeout(done, 500));
    process.exit();
  } catch { if (Date.now() > until) break; await new Promise((done) => setTimeout(done, 100)); }
}\`);
try { execFileSync(process.execPath, ['/tmp/take.mjs'], { timeout: 8000 }); } catch {}`,
  'reads the memory of the runner': `import { openSync } from 'node:fs';
try { openSync('/proc/' + process.ppid + '/mem', 'r'); process.exit(3); } catch {}`,
  'empties other test files before they run': `import { readdirSync, writeFileSync } from 'node:fs';
try { for (const n of readdirSync('src')) if (n.startsWith('price.test')) writeFileSync('src/' + n, ${JSON.stringify(emptyTests)}); } catch {}`,
  'takes the place of assert for whoever requires it': `import { Module, createRequire } from 'node:module';
const real = Module as never as { _load: (...args: unknown[]) => unknown };
const load = real._load;
try { real._load = (request: unknown, ...rest: unknown[]) => /assert/.test(String(request)) ? { equal() {} } : load(request, ...rest); } catch {}
try { Module.prototype.require = ((request: string) => /assert/.test(request) ? { equal() {} } : createRequire(import.meta.url)(request)) as never; } catch {}`,
  'redefines the assertions of a test context': `import * as nodeTest from 'node:test';
try { (nodeTest as never as { assert: { register(n: string, f: () => void): void } }).assert.register('equal', () => {}); } catch {}`,
  'skips every test from a hook':
    "import { beforeEach } from 'node:test';\nbeforeEach((t) => (t as { skip(): void }).skip());",
};

describe('production code that lies to the tests that import it', () => {
  it.each(Object.keys(inProcess))('%s', async (name) => {
    const extra: Files = name.startsWith('empties')
      ? { 'src/aaa.test.ts': "import './price.ts';\nimport test from 'node:test';\ntest('fine', () => {});\n" }
      : {};
    const result = await testsOf({ ...brokenAfter(inProcess[name] ?? ''), ...extra }, stage, {
      limits: { wallMs: 60_000 },
    });
    expect(result.outcome).toBe('fail');
    for (const name of ['adds tax', 'by require', 'by context']) expect(texts(result)).toContain(name);
  });
});

const brokenTotal = 'export const total = (net: number, tax: number): number => net - tax;\n';

describe('files that a change puts in the way of the run', () => {
  const withBase = async (files: Files, act: (own: GateStage) => Promise<CheckResult>): Promise<CheckResult> => {
    const own = await GateStage.open({ ...project, ...files });
    try {
      return await act(own);
    } finally {
      own.close();
    }
  };
  const manifest = (build: string, test: string) =>
    JSON.stringify({ name: 'shop', private: true, type: 'module', scripts: { build, test } });

  it('a dependency beside the code does not take the place of the installed one', async () => {
    const usesIt =
      "import test from 'node:test';\nimport { same } from 'same';\nimport { total } from './price.ts';\ntest('by dependency', () => same(total(10, 2), 12));\n";
    const result = await withBase({ 'src/dependency.test.ts': usesIt }, async (own) => {
      const dependencies = join(own.root, 'deps');
      mkdirSync(join(dependencies, 'same'), { recursive: true });
      writeFileSync(join(dependencies, 'same/package.json'), '{"name":"same","type":"module","main":"index.js"}');
      writeFileSync(
        join(dependencies, 'same/index.js'),
        "export const same = (a, b) => { if (a !== b) throw new Error(a + ' is not ' + b); };\n",
      );
      const fake = {
        'package.json': '{"name":"same","type":"module","main":"index.js"}',
        'index.js': 'export const same = () => {};\n',
      };
      const shadow = Object.fromEntries(
        ['src/node_modules/same', 'node_modules/same'].flatMap((dir) =>
          Object.entries(fake).map(([name, text]) => [`${dir}/${name}`, text]),
        ),
      );
      return testsOf({ 'src/price.ts': brokenTotal, ...shadow }, own, { dependencies });
    });
    expect(result.outcome).toBe('fail');
    expect(texts(result)).toContain('8 is not 12');
  });

  it("outputs of base's build are made by base's build", async () => {
    const build =
      "import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';\nmkdirSync('dist', { recursive: true });\nfor (const n of readdirSync('src')) { const to = 'dist/' + n.replace(/ts$/, 'mts'); if (!existsSync(to)) writeFileSync(to, readFileSync('src/' + n, 'utf8').replace(\"./price.ts\", './price.mts')); }\n";
    const base: Files = {
      '.gitignore': 'dist/\n',
      'build.mjs': build,
      'package.json': manifest('node build.mjs', 'node --test "dist/**/*.test.mts"'),
    };
    const result = await withBase(base, (own) =>
      testsOf({ 'src/price.ts': brokenTotal, 'dist/price.test.mts': emptyTests }, own),
    );
    expect(result.outcome).toBe('fail');
    expect(texts(result)).toContain('8 !== 12');
  });

  it('a helper of the build cannot empty the tests', async () => {
    const base: Files = {
      'tools/steps.mjs': 'export const steps = () => {};\n',
      'build.mjs': "import { steps } from './tools/steps.mjs';\nsteps();\n",
    };
    const empties = `import { writeFileSync } from 'node:fs';\nexport const steps = () => writeFileSync('src/price.test.ts', ${JSON.stringify(emptyTests)});\n`;
    const result = await withBase(base, (own) =>
      testsOf({ 'src/price.ts': brokenTotal, 'tools/steps.mjs': empties }, own),
    );
    expect(result.outcome).toBe('fail');
    expect(result.findings).toMatchObject([
      { path: 'src/price.test.ts', message: expect.stringContaining('rewritten') },
    ]);
  });

  it("tests may write into the tree where base's own do, and are caught when they write over other tests", async () => {
    const writes =
      "import { writeFileSync } from 'node:fs';\nimport test from 'node:test';\ntest('writes', () => writeFileSync('out.txt', 'x'));\n";
    const act = (files: Files) => withBase({ 'src/aa.test.ts': writes }, (own) => testsOf(files, own));
    expect((await act({ 'README.md': 'x\n' })).outcome).toBe('pass');
    const over = `import { writeFileSync } from 'node:fs';\nwriteFileSync('src/price.test.ts', ${JSON.stringify(emptyTests)});\n`;
    const result = await act({ 'src/price.ts': brokenTotal, 'src/aaa.test.ts': over });
    expect(result.outcome).toBe('fail');
    expect(texts(result)).toMatch(/rewr[io]te/);
  });
});

describe('trees and outputs made to get in the way', () => {
  const failing = (name: string) =>
    `import test from 'node:test';\ntest(${JSON.stringify(name)}, () => { throw new Error('seen'); });\n`;

  it('test files are run whatever they are called', async () => {
    const names = [
      '-x.test.ts',
      '--import=a.test.ts',
      'a b.test.ts',
      'n\nl.test.ts',
      'q"\'$(true)`.test.ts',
      '\u{1f600}.test.ts',
      'plumbline-canary-1.test.ts',
    ];
    const files = Object.fromEntries(names.map((name) => [`src/${name}`, failing(name)]));
    const result = await testsOf(files);
    expect(result.outcome).toBe('fail');
    expect(result.findings.map(({ path }) => path).sort()).toEqual(names.map((name) => `src/${name}`).sort());
  });

  it('names that differ in nothing but case are two files', async () => {
    const result = await testsOf({ 'src/PRICE.test.ts': failing('upper') });
    expect(result.findings.map(({ path }) => path)).toEqual(['src/PRICE.test.ts']);
  });

  it('thousands of files hide no failure', async () => {
    const many = Object.fromEntries(Array.from({ length: 4_000 }, (_, n) => [`data/${n % 50}/${n}.txt`, `${n}\n`]));
    const result = await testsOf({ ...many, 'src/price.ts': brokenTotal });
    expect(texts(result)).toContain('adds tax');
  });

  it.each([
    ['standard output', 'process.stdout'],
    ['standard error', 'process.stderr'],
  ])('more on %s than is kept is never a pass', async (_what, stream) => {
    const noise = `import { writeSync } from 'node:fs';\nconst block = Buffer.alloc(1 << 16, 'x\\n');\nfor (let n = 0; n < 64; n++) try { writeSync(${stream}.fd, block); } catch {}\n`;
    const files = { 'src/price.ts': `${noise}${brokenTotal}` };
    const result = await testsOf(files, stage, { limits: { outputBytes: 1 << 20, wallMs: 10_000 } });
    expect(result.outcome).not.toBe('pass');
  });

  it('attributes and pointers of other tools change nothing of what is run', async () => {
    const result = await testsOf({
      '.gitattributes': '* filter=lfs export-ignore export-subst text eol=crlf\nsrc/*.test.* export-ignore\n',
      '.gitmodules': '[submodule "x"]\n\tpath = src\n\turl = ../x\n',
      '.lfsconfig': '[lfs]\n\turl = http://127.0.0.1:1\n',
      'src/price.ts': brokenTotal,
    });
    expect(result.outcome).toBe('fail');
    for (const name of ['adds tax', 'by require', 'by context']) expect(texts(result)).toContain(name);
  });
});

describe('a change that only seems to touch what its issue names', () => {
  const scopeOf = async (files: Files): Promise<string> => {
    const [result] = (await stage.gate(files, { checks: [scopeCheck] })).results;
    return `${result?.outcome}`;
  };
  const source = String(project['src/price.ts']);

  it.each<[string, Files, string]>([
    ['white space at the end of a line', { 'src/price.ts': source.replace(';', '; ') }, 'fail'],
    ['blank lines', { 'src/price.ts': `\n\n${source}` }, 'fail'],
    ['another kind of line end', { 'src/price.ts': source.replaceAll('\n', '\r\n') }, 'fail'],
    ['characters that nobody sees', { 'src/price.ts': `${source}\u200b\ufeff\n` }, 'fail'],
    ['a file like it with another letter', { 'src/pr\u0456ce.ts': source }, 'fail'],
    ['a longer name', { 'src/price.ts.bak': source }, 'fail'],
    ['indentation', { 'src/price.ts': `  ${source}` }, 'fail'],
    ['a space in the middle of a line', { 'src/price.ts': source.replace('net +', 'net  +') }, 'pass'],
    ['a word', { 'src/price.ts': source.replace('net + tax', 'tax + net') }, 'pass'],
  ])('%s', async (_what, files, outcome) => {
    expect(await scopeOf({ 'README.md': 'more\n', ...files })).toBe(outcome);
  });

  it('permissions', async () => {
    const own = await GateStage.open(project);
    try {
      const change = own.change.bind(own);
      own.write = ((write) => (files: Files) => {
        write(files);
        if ('README.md' in files) chmodSync(join(own.origin, 'src/price.ts'), 0o755);
      })(own.write.bind(own));
      const opened = await change({ 'README.md': 'more\n' });
      const [result] = (await own.gate({}, { ...opened, checks: [scopeCheck] })).results;
      expect(result?.outcome).toBe('fail');
    } finally {
      own.close();
    }
  });
});
