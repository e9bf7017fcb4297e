import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkDocumentSchema, shippedPolicies } from '@plumbline/domain';
import { nodeToolchain } from '@plumbline/sandbox';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GateStage, issue } from './gate.fixture.js';
import { runCheck, type CheckRequest } from './run-check.js';

let stage: GateStage;
beforeAll(async () => {
  stage = await GateStage.open();
});
afterAll(() => stage.close());

const check = (more: Partial<CheckRequest>) =>
  runCheck({
    ...{ repo: stage.origin, base: 'main', head: 'WORKTREE', issue, policy: shippedPolicies.standard },
    ...{ sandbox: stage.sandbox, toolchain: nodeToolchain(process.execPath), signal: new AbortController().signal },
    workDir: join(stage.root, 'check'),
    ...more,
  });
/** Every file below the repository, .git included, with size and time of change. */
const fingerprint = () => {
  const list = execFileSync('find', [stage.origin, '-printf', '%p %s %T@ %m\n']).toString().split('\n').sort();
  return list.join('\n');
};
const mended = 'export const total = (net: number, tax: number): number => tax + net;\n';

describe('plumb check', () => {
  it('judges the work tree as it is, untracked files too, and writes nothing there', async () => {
    stage.write({
      'src/price.ts': mended,
      'src/extra.test.ts': "import test from 'node:test';\ntest('extra', () => {});\n",
    });
    const before = fingerprint();
    const document = await check({});
    expect(checkDocumentSchema.parse(document)).toEqual(document);
    expect(document).toMatchObject({ verdict: 'GO', reasons: [] });
    expect(document.checks.find(({ check: id }) => id === 'tests')?.summary).toBe(
      "4 tests passed, none of base's 3 lost",
    );
    expect(fingerprint()).toBe(before);
    stage.write({ 'src/price.ts': 'export const total = (): number => 0;\n' });
    expect(await check({})).toMatchObject({ verdict: 'NO-GO' });
    stage.git('checkout', '-q', '-f', 'main');
    stage.git('clean', '-q', '-f', '-d');
  });

  it('judges a revision, about its real commit and tree', async () => {
    stage.git('checkout', '-q', '-b', 'mend', 'main');
    const head = stage.commit({ 'src/price.ts': mended, 'docs/a.md': 'text\n' });
    stage.git('checkout', '-q', 'main');
    const document = await check({ head: 'mend' });
    const tree = stage.git('rev-parse', `${head}^{tree}`);
    expect(document.subject).toEqual({
      base: stage.git('rev-parse', 'main'),
      head,
      tree,
      changeClass: ['docs', 'code'],
      languages: ['typescript'],
    });
    expect(document.verdict).toBe('GO');
  });

  it('withholds GO for a check that was left out, and for an unchanged tree proves nothing wrong', async () => {
    const document = await check({ head: 'mend', skip: ['tests'] });
    expect(document.verdict).toBe('INCOMPLETE');
    expect(document.reasons).toMatchObject([{ check: 'tests', effect: 'unknown' }]);
  });

  it('names what it cannot read', async () => {
    await expect(check({ base: 'nowhere' })).rejects.toMatchObject({ code: 'UNKNOWN_REVISION' });
    const empty = join(stage.root, 'empty');
    mkdirSync(empty);
    writeFileSync(join(empty, 'a'), '');
    await expect(check({ repo: empty })).rejects.toMatchObject({ code: 'NOT_A_REPOSITORY' });
  });
});
