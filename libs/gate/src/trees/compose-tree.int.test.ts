import { readBlob, listTree } from '@plumbline/repo';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GateStage, project, type Files } from '../gate.fixture.js';
import { composeTree } from './compose-tree.js';

let stage: GateStage;
const base: Files = {
  ...project,
  'package-lock.json': '{}\n',
  'tsconfig.json': '{"strict":true}\n',
  'config/tsconfig.base.json': '{}\n',
  'test/fixtures/tsconfig.json': '{}\n',
  'sub/package.json': '{"scripts":{"test":"node --test"}}\n',
};
beforeAll(async () => {
  stage = await GateStage.open(base);
});
afterAll(() => stage.close());

const compose = async (files: Files, named: readonly string[] = ['build.mjs']) => {
  const change = await stage.change(files);
  const composed = await composeTree({ gitDir: change.gitDir, base: change.base, head: change.tree, named });
  const entries = await listTree({ gitDir: change.gitDir, tree: composed.tree });
  const text = async (path: string): Promise<string | undefined> => {
    const entry = entries.find((candidate) => candidate.path === path);
    return entry === undefined ? undefined : (await readBlob({ gitDir: change.gitDir, blob: entry.id })).toString();
  };
  return { ...composed, text, own: change.tree };
};

describe('the tree that is run', () => {
  it("is the change's own when it leaves the harness alone, byte for byte", async () => {
    const { tree, own, replaced } = await compose({
      'src/price.ts': 'x',
      'src/new/deep/file.ts': 'y',
      'src.a': 'z',
      'src-b/c': 'w',
    });
    expect([tree, replaced]).toEqual([own, []]);
  });

  it("has base's scripts and the change's dependencies and module type", async () => {
    const manifest = {
      name: 'x',
      type: 'commonjs',
      dependencies: { a: '1' },
      scripts: { test: 'true', evil: 'x' },
      jest: { x: 1 },
    };
    const { text, replaced } = await compose({
      'package.json': JSON.stringify(manifest),
      'sub/package.json': '{"scripts":{"test":"true"}}',
    });
    expect(JSON.parse((await text('package.json')) ?? '')).toEqual({
      ...{ name: 'x', type: 'commonjs', dependencies: { a: '1' } },
      scripts: { build: 'node build.mjs', test: 'node --test "src/**/*.test.ts"' },
    });
    expect(JSON.parse((await text('sub/package.json')) ?? '')).toEqual({ scripts: { test: 'node --test' } });
    expect(replaced).toEqual(['package.json', 'sub/package.json']);
  });

  it('has the harness of base: changed files back, deleted ones there, new ones gone', async () => {
    const { text, replaced } = await compose({
      ...{
        'tsconfig.json': '{}',
        'package-lock.json': null,
        'build.mjs': 'process.exit(0)',
        '.npmrc': 'x=y',
        'vitest.config.ts': 'x',
      },
      ...{ 'test/fixtures/tsconfig.json': '{"mine":1}', node_modules: { link: 'src' } },
    });
    expect(await text('tsconfig.json')).toBe('{"strict":true}\n');
    expect(await text('package-lock.json')).toBe('{}\n');
    expect(await text('build.mjs')).toBe(project['build.mjs']);
    for (const path of ['.npmrc', 'vitest.config.ts', 'node_modules']) expect(await text(path)).toBeUndefined();
    expect(await text('test/fixtures/tsconfig.json')).toBe('{"mine":1}');
    expect(replaced).toHaveLength(6);
  });

  it('lets the harness have its place when the change puts a link or a folder there', async () => {
    const linked = await compose({ config: { link: 'src' } });
    expect(await linked.text('config/tsconfig.base.json')).toBe('{}\n');
    const folder = await compose({ 'build.mjs': null, 'build.mjs/a.txt': 'a' });
    expect(await folder.text('build.mjs')).toBe(project['build.mjs']);
    expect(await folder.text('build.mjs/a.txt')).toBeUndefined();
  });
});
