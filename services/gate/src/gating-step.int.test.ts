import { existsSync, readdirSync } from 'node:fs';
import { StepStopped } from '@plumbline/bus';
import { StepFault, type PlumblineEvent } from '@plumbline/domain';
import { nodeToolchain, openSandbox, type Sandbox } from '@plumbline/sandbox';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { gateFailed, gatingHandler } from './gating-step.js';
import { TaskStage } from './task-stage.fixture.js';

const files = {
  'package.json': JSON.stringify({ type: 'module', scripts: { test: 'node --test' } }),
  'src/price.ts': 'export const total = (net: number, tax: number): number => net - tax;\n',
  'src/sum.test.ts': "import test from 'node:test';\ntest('sum', () => {});\n",
};
const mended = { 'src/price.ts': 'export const total = (net: number, tax: number): number => net + tax;\n' };
const id = 'gating.1.1';
let sandbox: Sandbox;
let stage: TaskStage;
beforeAll(async () => {
  sandbox = await openSandbox();
});
beforeEach(async () => {
  stage = await TaskStage.open(files);
  await stage.snapshot();
});
afterEach(() => stage.close());

const handle = (step = stage.held(id), over: { sandbox?: Sandbox } = {}): Promise<PlumblineEvent[]> =>
  gatingHandler({
    ...{ artifacts: stage.artifacts, sandbox, toolchain: nodeToolchain(process.execPath) },
    ...{ metrics: stage.metrics(), workDir: stage.workDir, ...over },
  })(step);
const finish = async () => {
  for (const event of await handle()) stage.push(event);
};
const fault = (result: Promise<unknown>): Promise<unknown> =>
  result.then(
    () => 'no fault',
    (error: unknown) => error,
  );

describe('a gating step', () => {
  it('records each check as it concludes, with evidence that is stored, then the whole', async () => {
    await stage.propose(stage.change(mended));
    await finish();
    const change = stage.state.attempts[0]?.change;
    expect(stage.history.slice(-4).map(({ type }) => type)).toEqual([
      ...['check.concluded', 'check.concluded', 'check.concluded', 'gate.concluded'],
    ]);
    const [gate] = stage.of('gate.concluded');
    expect(gate).toMatchObject({ base: change?.base, head: change?.head, tree: change?.tree, step: id, attempt: 1 });
    expect(gate?.concluded).toEqual(
      stage.of('check.concluded').map(({ result: { check, outcome } }) => ({ check, outcome })),
    );
    expect(gate?.concluded.map(({ outcome }) => outcome)).toEqual(['pass', 'not-applicable', 'pass']);
    const evidence = stage.of('check.concluded').flatMap(({ result }) => result.evidence);
    expect(evidence.length).toBeGreaterThan(0);
    expect(evidence.every(({ digest }) => stage.stored.has(digest))).toBe(true);
    expect(readdirSync(stage.workDir)).toEqual([]);
    expect(stage.counted.get('plumb_gate_checks_total tests pass')).toBe(1);
  });

  it('goes on where an earlier holder of the step stopped', async () => {
    await stage.propose(stage.change(mended));
    const controller = new AbortController();
    const first = stage.held(id, controller);
    const record = first.record;
    first.record = async (key, events) => {
      await record(key, events);
      if (key === 'check-build') controller.abort(new StepStopped('shutdown'));
    };
    expect(await fault(handle(first))).toBeInstanceOf(StepStopped);
    expect(stage.of('check.concluded').map(({ result }) => result.check)).toEqual(['scope', 'build']);
    await finish();
    expect(stage.of('check.concluded').map(({ result }) => result.check)).toEqual(['scope', 'build', 'tests']);
    expect(stage.of('gate.concluded')[0]?.concluded).toHaveLength(3);
  });

  it.each<[string, () => Promise<void>]>([
    [
      'announces another tree',
      () => stage.propose(stage.change(mended), { tree: stage.git('rev-parse', 'main^{tree}') }),
    ],
    ['brings a link out of the tree', () => stage.propose(linked(stage))],
    ['is a merge', () => stage.propose(merged(stage))],
    ['lies about its base', () => stage.propose(stage.change(mended), { base: '1'.repeat(40) })],
    [
      'brings damaged objects',
      async () =>
        stage.propose(stage.change(mended), { bundle: await stage.artifacts.put(Buffer.from('PACKx'), 'x/y') }),
    ],
  ])('blames a proposal that %s, by provenance alone', async (_name, propose) => {
    await propose();
    await finish();
    const [gate] = stage.of('gate.concluded');
    expect(gate?.concluded).toEqual([{ check: 'provenance', outcome: 'fail' }]);
    expect(gate?.tree).toBe(stage.state.attempts[0]?.change?.tree);
    expect(stage.of('check.concluded')[0]?.result).toMatchObject({
      check: 'provenance',
      outcome: 'fail',
      tree: gate?.tree,
    });
  });

  it('blames the machine for its own faults, and nobody else', async () => {
    const nothing = {
      payloadRan: false,
      exitCode: null,
      signal: null,
      stdout: '',
      stderr: '',
      truncated: false,
      oomKills: 0,
    };
    const dead: Sandbox = {
      ...{ kind: 'bubblewrap', isolation: 'none' },
      run: () =>
        Promise.resolve({
          ...nothing,
          outcome: 'not-started',
          durationMs: 0,
          fault: { kind: 'infra', what: 'no namespaces' },
        }),
    };
    await stage.propose(stage.change(mended));
    const dying = await fault(handle(stage.held(id), { sandbox: dead }));
    expect(dying).toMatchObject({ name: 'StepFault', code: 'GATE_ERROR' });
    expect(gateFailed(stage.held(id), (dying as StepFault).code, 'x')).toMatchObject({
      type: 'gate.failed',
      data: { attempt: 1 },
    });
    const pack = stage.state.snapshot?.pack.digest ?? '';
    const bytes = stage.stored.get(pack) ?? Buffer.of();
    stage.stored.delete(pack);
    expect(await fault(handle())).toMatchObject({ code: 'ARTIFACT_UNAVAILABLE' });
    stage.stored.set(pack, bytes);
    expect(stage.of('gate.concluded')).toEqual([]);
    expect(existsSync(stage.workDir) ? readdirSync(stage.workDir) : []).toEqual([]);
  });
});

function linked(on: TaskStage): string {
  const outside = on.change({ 'target.txt': '/etc/passwd' });
  on.git('checkout', '-q', '--detach', outside);
  on.git('update-index', '--add', '--cacheinfo', `120000,${on.git('rev-parse', 'HEAD:target.txt')},src/link`);
  on.git('commit', '-q', '-m', 'link');
  const head = on.git('rev-parse', 'HEAD');
  on.git('checkout', '-q', '-f', 'main');
  return head;
}

function merged(on: TaskStage): string {
  const other = on.change({ 'other.txt': 'x\n' });
  on.git('checkout', '-q', '--detach', on.change(mended));
  on.git('merge', '-q', '--no-ff', '-m', 'merge', other);
  const head = on.git('rev-parse', 'HEAD');
  on.git('checkout', '-q', '-f', 'main');
  return head;
}
