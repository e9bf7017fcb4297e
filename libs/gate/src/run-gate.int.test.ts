import type { CheckId, CheckResult } from '@plumbline/domain';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GateStage, type Files } from './gate.fixture.js';
import type { GateRun } from './run-gate.js';

let stage: GateStage;
beforeAll(async () => {
  stage = await GateStage.open();
});
afterAll(() => stage.close());

const result = (run: GateRun, check: CheckId): CheckResult => {
  const found = run.results.find((entry) => entry.check === check);
  if (found === undefined) throw new Error(`no result of ${check}`);
  return found;
};
const rounded = 'export const total = (net: number, tax: number): number => Math.round((net + tax) * 100) / 100;\n';
const honest: Files = {
  'src/price.ts': rounded,
  'src/rounding.test.ts':
    "import assert from 'node:assert/strict';\nimport test from 'node:test';\nimport { total } from './price.ts';\n\ntest('rounds', () => assert.equal(total(0.1, 0.2), 0.3));\n",
};

describe('an honest change', () => {
  it('passes every check, about its own tree, and leaves nothing on the disk', async () => {
    const told: string[] = [];
    const run = await stage.gate(honest, { onCheck: async ({ check }) => void told.push(check) });
    expect(run.concluded).toEqual([
      { check: 'scope', outcome: 'pass' },
      { check: 'build', outcome: 'pass' },
      { check: 'tests', outcome: 'pass' },
    ]);
    expect(told).toEqual(['scope', 'build', 'tests']);
    expect(run.results.every(({ tree }) => tree === run.subject.tree)).toBe(true);
    expect(run.environment['composedTree']).toBe(run.subject.tree);
    expect(result(run, 'tests').summary).toBe("4 tests passed, none of base's 3 lost");
    expect(run.hunks.map(({ id, path }) => [id, path])).toEqual([
      ['H1', 'src/price.ts'],
      ['H2', 'src/rounding.test.ts'],
    ]);
    expect([run.changeClass, run.languages]).toEqual([['test', 'code'], ['typescript']]);
    expect(stage.leftovers()).toEqual([]);
  });

  it('may start processes and threads that exit with 0, and replace process.exit for its own tests', async () => {
    const run = await stage.gate({
      ...honest,
      'src/child.mjs': 'process.exit(0);\n',
      'src/exits.test.mjs': [
        "import assert from 'node:assert/strict';",
        "import { fork } from 'node:child_process';",
        "import { once } from 'node:events';",
        "import test from 'node:test';",
        "import { Worker } from 'node:worker_threads';",
        "const child = new URL('./child.mjs', import.meta.url);",
        "test('fork', async () => assert.deepEqual((await once(fork(child), 'exit'))[0], 0));",
        "test('thread', async () => assert.deepEqual((await once(new Worker(child), 'exit'))[0], 0));",
        "test('mock', (t) => { const exit = t.mock.method(process, 'exit', () => {}); process.exit(3); assert.equal(exit.mock.callCount(), 1); });",
        '',
      ].join('\n'),
      'src/exits.test.ts': "import './exits.test.mjs';\n",
    });
    expect(result(run, 'tests')).toMatchObject({ outcome: 'pass', summary: "7 tests passed, none of base's 3 lost" });
  });
});
