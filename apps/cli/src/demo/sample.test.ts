import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  evidenceRail,
  reviewBrief,
  reviewSchema,
  scopeOverlap,
  submissionSchema,
  type HunkRef,
  type Review,
} from '@plumbline/domain';
import { loadScenarios, startScriptedModel } from '@plumbline/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkout } from '../system/checkout.js';
import { parseIssue } from '../system/issue.js';
import { branchesOf, makeOrigin } from './sample-repository.js';

const run = promisify(execFile);
const sample = join(checkout, 'apps', 'cli', 'sample');
const issue = (name: string) => parseIssue(readFileSync(join(sample, 'issues', name), 'utf8'));
const scenarios = loadScenarios(join(sample, 'scenarios'));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'plumb-sample-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function copyOfSample(name: string): string {
  const copy = join(folder, name);
  cpSync(join(sample, 'repository'), copy, { recursive: true });
  return copy;
}

/** The sample's own test command. */
async function runTests(cwd: string): Promise<{ passed: boolean; output: string }> {
  try {
    const { stdout } = await run(process.execPath, ['--test', 'src/**/*.test.ts'], {
      cwd,
      env: { PATH: process.env['PATH'] },
    });
    return { passed: true, output: stdout };
  } catch (error) {
    return { passed: false, output: (error as { stdout: string }).stdout };
  }
}

interface Edit {
  path: string;
  old: string;
  new: string;
}

/** The edits of a coder's scenario, as its model would send them. */
async function editsOf(title: string): Promise<Edit[]> {
  const server = await startScriptedModel({ scenarios });
  try {
    const messages: unknown[] = [{ role: 'user', content: `Solve this issue.\n\n# ${title}` }];
    const edits: Edit[] = [];
    for (let turn = 0; turn < 20; turn += 1) {
      const message = await ask(server.url, 'scripted/coder', messages);
      for (const { function: call } of message.tool_calls ?? []) {
        if (call.name === 'str_replace') edits.push(JSON.parse(call.arguments) as Edit);
        if (call.name === 'submit') return edits;
      }
      messages.push({ role: 'assistant', content: message.content }, { role: 'tool', content: 'done' });
    }
    throw new Error('the scenario never submits');
  } finally {
    await server.stop();
  }
}

interface Message {
  content: string;
  tool_calls?: { function: { name: string; arguments: string } }[];
}

async function ask(url: string, model: string, messages: unknown[]): Promise<Message> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model, messages }),
  });
  const body = (await response.json()) as { choices: { message: Message }[]; error?: { message: string } };
  if (!response.ok) throw new Error(body.error?.message);
  return body.choices[0]!.message;
}

function apply(cwd: string, edits: readonly Edit[]): void {
  for (const edit of edits) {
    const path = join(cwd, edit.path);
    const parts = readFileSync(path, 'utf8').split(edit.old);
    expect(parts, `${edit.path} holds what the scenario replaces, once`).toHaveLength(2);
    writeFileSync(path, parts.join(edit.new));
  }
}

const isTest = ({ path }: Edit): boolean => path.endsWith('.test.ts');
const fixIssue = issue('lost-cent.md');
const trapIssue = issue('long-names.md');

describe('the sample repository', () => {
  it('passes its own tests and builds', async () => {
    const copy = copyOfSample('base');
    expect(await runTests(copy)).toMatchObject({ passed: true });
    await run(process.execPath, ['build.mjs'], { cwd: copy });
    const script = `const m = await import('./dist/receipt.js'); console.log(typeof m.printReceipt)`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: copy });
    expect(stdout.trim()).toBe('function');
  });

  it('becomes the same commits every time, whoever makes it', async () => {
    const first = await makeOrigin(join(sample, 'repository'), join(folder, 'one'));
    process.env['GIT_AUTHOR_DATE'] = '2001-01-01T00:00:00Z';
    const second = await makeOrigin(join(sample, 'repository'), join(folder, 'two')).finally(
      () => delete process.env['GIT_AUTHOR_DATE'],
    );
    expect([...(await branchesOf(first))]).toEqual([...(await branchesOf(second))]);
    expect([...(await branchesOf(first)).keys()]).toEqual(['main']);
    const { stdout } = await run('git', ['log', '--format=%an %s', 'main'], { cwd: first });
    expect(stdout.trim().split('\n')).toEqual([
      'Corner Shop Discounts and receipts',
      'Corner Shop Baskets, money and tax',
    ]);
  });
});

describe('the fix', () => {
  it('has tests that fail on base, and a change that makes them pass', async () => {
    const edits = await editsOf(fixIssue.title);
    expect(edits.map(({ path }) => path).sort()).toEqual(['src/discount.test.ts', 'src/discount.ts']);
    const onlyTests = copyOfSample('fix-tests-only');
    apply(onlyTests, edits.filter(isTest));
    const before = await runTests(onlyTests);
    expect(before.passed).toBe(false);
    expect(before.output).toMatch(/not ok|✖/);
    const both = copyOfSample('fix');
    apply(both, edits);
    expect(await runTests(both)).toMatchObject({ passed: true });
  });

  it('touches what the issue names', async () => {
    const changed = (await editsOf(fixIssue.title)).map(({ path }) => path);
    expect(scopeOverlap(['src/discount.ts'], changed).overlap).not.toEqual([]);
  });
});

describe('the trap', () => {
  it('is clean, tested, and passes', async () => {
    const edits = await editsOf(trapIssue.title);
    const copy = copyOfSample('trap');
    apply(copy, edits);
    expect(await runTests(copy)).toMatchObject({ passed: true });
    const onlyTests = copyOfSample('trap-tests-only');
    apply(onlyTests, edits.filter(isTest));
    expect(await runTests(onlyTests)).toMatchObject({ passed: false });
  });

  it('touches nothing that its issue names', async () => {
    expect(trapIssue.body).toContain('`src/receipt.ts`');
    const changed = (await editsOf(trapIssue.title)).map(({ path }) => path);
    expect(scopeOverlap(['src/receipt.ts'], changed)).toEqual({ overlap: [], applies: true });
  });
});

describe('the reviewers', () => {
  const hunksOf = (paths: string[]): HunkRef[] =>
    paths.map((path, at) => ({ id: `H${at + 1}`, path, oldStart: 1, oldLines: 1, newStart: 1, newLines: 2 }));

  /** What a reviewer answers to a prompt with numbered clauses and hunks, as a review. */
  async function review(about: { title: string; body: string }, seed: number, paths: string[]) {
    const context = { taskId: `t-${seed}`, attempt: 1, issue: about, hunks: hunksOf(paths) };
    const { clauses } = reviewBrief(about, { taskId: context.taskId, attempt: 1, seat: 'concluder' });
    const prompt = [
      `# ${about.title}`,
      ...clauses.map(({ id, text }) => `${id}: ${text}`),
      ...context.hunks.map(({ id, path, newStart }) => `${id} ${path}:${newStart}\n+ a line`),
    ].join('\n');
    const server = await startScriptedModel({ scenarios });
    const { content } = await ask(server.url, 'scripted/reviewer', [{ role: 'user', content: prompt }]).finally(() =>
      server.stop(),
    );
    const answer = JSON.parse(content) as Record<string, unknown>;
    const parsed = reviewSchema.parse({ seat: 'concluder', model: 'scripted/reviewer', family: 'scripted', ...answer });
    return { rail: evidenceRail(context, parsed), parsed: parsed as Review };
  }

  it('the honest one proves that it read the issue, wherever the foreign clause stands', async () => {
    for (let seed = 0; seed < 12; seed += 1) {
      const { rail, parsed } = await review(fixIssue, seed, [
        'src/discount.test.ts',
        'src/discount.test.ts',
        'src/discount.ts',
      ]);
      expect(rail).toEqual({ outcome: 'pass', summary: expect.any(String) as string });
      expect(parsed.decision).toBe('approve');
    }
  });

  it('the other one approves and proves nothing', async () => {
    const { rail, parsed } = await review(trapIssue, 1, ['src/basket.test.ts', 'src/basket.ts']);
    expect(parsed.decision).toBe('approve');
    expect(rail.outcome).toBe('fail');
    expect(rail.summary).toMatch(/is not in the issue/);
  });
});

it('both issues are submissions the scheduler takes', () => {
  for (const each of [fixIssue, trapIssue]) {
    const submission = {
      repository: { url: '/tmp/origin.git', base: 'main' },
      issue: each,
      policy: 'strict',
      publish: 'branch',
    };
    expect(submissionSchema.safeParse(submission).success).toBe(true);
  }
});
