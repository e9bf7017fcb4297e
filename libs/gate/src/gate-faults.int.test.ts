import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodeToolchain, type RunResult, type Sandbox } from '@plumbline/sandbox';
import { shippedPolicies, type CheckResult } from '@plumbline/domain';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildCheck } from './checks/build.js';
import { scopeCheck } from './checks/scope.js';
import { testsCheck } from './checks/tests.js';
import { createFastGate } from './fast-gate.js';
import { GateStage, issue, type Files } from './gate.fixture.js';
import { GateInfraError } from './gate-infra-error.js';
import { assertDiskSpace } from './runners/sandbox-run.js';

let stage: GateStage;
beforeAll(async () => {
  stage = await GateStage.open();
});
afterAll(() => stage.close());

const broken: Files = { 'src/price.ts': 'export const total = (net: number, tax: number): number => net - tax;\n' };
const nothing: RunResult = {
  ...{ outcome: 'not-started', payloadRan: false, exitCode: null, signal: null, stdout: '', stderr: '' },
  ...{ truncated: false, oomKills: 0, durationMs: 1 },
};
const answering = (result: Partial<RunResult>): Sandbox => ({
  kind: 'bubblewrap',
  isolation: 'none of this machine',
  run: () => Promise.resolve({ ...nothing, ...result }),
});

describe('a fault of the machine', () => {
  it.each<[string, Partial<RunResult>]>([
    ['no bubblewrap', { fault: { kind: 'infra', what: 'bubblewrap could not be started: ENOENT' } }],
    ['no space for the sandbox', { fault: { kind: 'infra', what: 'No space left on device' } }],
    ['a killed sandbox', { fault: { kind: 'unknown', what: 'bubblewrap was killed by SIGKILL from outside' } }],
  ])('never fails the change: %s', async (_name, result) => {
    const told: CheckResult[] = [];
    const gate = stage.gate(broken, { sandbox: answering(result), onCheck: async (entry) => void told.push(entry) });
    await expect(gate).rejects.toBeInstanceOf(GateInfraError);
    expect(told.map(({ check, outcome }) => [check, outcome])).toEqual([['scope', 'pass']]);
    expect(stage.leftovers()).toEqual([]);
  });

  it('is a missing toolchain too', async () => {
    const mount = { host: join(stage.root, 'absent'), inside: '/opt/node', mode: 'ro' as const };
    const gate = stage.gate(broken, { toolchain: { mount, pathEntry: '/opt/node/bin' }, checks: [testsCheck] });
    await expect(gate).rejects.toBeInstanceOf(GateInfraError);
  });

  it('is a work folder that cannot be made, or a disk that is all but full', async () => {
    const file = join(stage.root, 'file');
    writeFileSync(file, '');
    await expect(stage.gate(broken, { workDir: join(file, 'below') })).rejects.toBeInstanceOf(GateInfraError);
    await expect(assertDiskSpace(stage.root, () => Promise.resolve((32 << 20) - 1))).rejects.toBeInstanceOf(
      GateInfraError,
    );
    await expect(assertDiskSpace(stage.root, () => Promise.resolve(32 << 20))).resolves.toBeUndefined();
  });

  it('is told to a coder as an error, never as red', async () => {
    mkdirSync(stage.workDir, { recursive: true });
    const gate = createFastGate({ sandbox: answering({}), toolchain: null, workDir: stage.workDir });
    const input = {
      ...(await stage.change(broken)),
      policy: shippedPolicies.strict,
      signal: new AbortController().signal,
    };
    expect(await gate(input)).toMatchObject({ outcome: 'error' });
  });
});

describe('stopping and going on', () => {
  it('throws the reason it was stopped for', async () => {
    const controller = new AbortController();
    const gate = stage.gate(broken, {
      signal: controller.signal,
      onCheck: async () => controller.abort(new Error('lease lost')),
    });
    await expect(gate).rejects.toThrow('lease lost');
  });

  it('takes results of this rule and tree from before and finds the others', async () => {
    const first = await stage.gate(broken);
    const started: string[] = [];
    const again = async (finished: readonly CheckResult[]) => {
      started.length = 0;
      const run = await stage.gate(broken, { finished, onStart: ({ id }) => void started.push(id) });
      expect(run.concluded).toEqual(first.concluded);
      return [...started];
    };
    expect(await again(first.results.slice(0, 2))).toEqual(['tests']);
    expect(await again(first.results.map((entry) => ({ ...entry, tree: '0'.repeat(40) })))).toEqual([
      'scope',
      'build',
      'tests',
    ]);
    expect(await again(first.results.map((entry) => ({ ...entry, version: 99 })))).toEqual(['scope', 'build', 'tests']);
  });
});

describe('scope', () => {
  it('stops a change that is sound and elsewhere, and does not apply where no file is named', async () => {
    const files = { 'src/other.test.ts': "import test from 'node:test';\n\ntest('other', () => {});\n// more\n" };
    const trap = await stage.gate(files, { checks: [scopeCheck, buildCheck] });
    expect(trap.concluded.map(({ outcome }) => outcome)).toEqual(['fail', 'pass']);
    expect(trap.results[0]?.findings).toEqual([
      { path: 'src/price.ts', message: 'named by the issue, not touched by the change' },
    ]);
    const free = await stage.gate(files, { checks: [scopeCheck], issue: { ...issue, body: 'Round to cents.' } });
    expect(free.results[0]).toMatchObject({ outcome: 'not-applicable', predicate: 'the issue names no file' });
  });
});

describe('the fast gate', () => {
  it('is red with short findings, then green, running base once', async () => {
    let runs = 0;
    const counting: Sandbox = {
      kind: 'bubblewrap',
      isolation: 'counted',
      run: (spec) => ((runs += 1), stage.sandbox.run(spec)),
    };
    const gate = createFastGate({
      sandbox: counting,
      toolchain: nodeToolchain(process.execPath),
      workDir: stage.workDir,
    });
    const input = async (files: Files) => ({
      ...{
        ...(await stage.change(files)),
        issue,
        policy: shippedPolicies.strict,
        signal: new AbortController().signal,
      },
    });
    const red = await gate(await input(broken));
    expect(red).toMatchObject({ outcome: 'red' });
    if (red.outcome === 'red') {
      expect(red.findings[0]).toMatch(/^tests: 1 test failed: src\/price\.test\.ts > adds tax/);
      expect(red.findings[1]).toMatch(/^src\/price\.test\.ts:5: adds tax/);
    }
    expect(runs).toBe(4);
    const mended = { 'src/price.ts': 'export const total = (net: number, tax: number): number => tax + net;\n' };
    expect(await gate(await input(mended))).toEqual({ outcome: 'green' });
    expect(runs).toBe(6);
    expect(readFileSync(join(stage.origin, 'src/price.ts'), 'utf8')).toContain('net + tax');
  });
});
