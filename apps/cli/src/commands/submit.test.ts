import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseIntake } from '@plumbline/domain';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exitCodes } from '../failure.js';
import { parseIssue } from '../system/issue.js';
import { submissionOf, type SubmitOptions } from './submit.js';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'plumb-submit-'));
  mkdirSync(join(cwd, 'repo', '.git'), { recursive: true });
  writeFileSync(join(cwd, 'issue.md'), '# It is broken\n\nMend `src/a.ts`.\n');
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

const options = (change: Partial<SubmitOptions> = {}): SubmitOptions => ({
  repo: 'repo',
  base: 'main',
  issue: 'issue.md',
  ...change,
});
const refusal = (change: Partial<SubmitOptions>) => {
  try {
    submissionOf(options(change), cwd);
  } catch (error) {
    return error;
  }
  throw new Error('it was not refused');
};

describe('a submission', () => {
  it('is one the scheduler takes, with the directory made absolute', () => {
    const submission = submissionOf(options({ policy: 'standard', publish: 'none' }), cwd);
    expect(submission).toMatchObject({
      repository: { url: join(cwd, 'repo'), base: 'main' },
      issue: { title: 'It is broken', body: 'Mend `src/a.ts`.' },
      policy: 'standard',
      publish: 'none',
    });
    expect(parseIntake('submit', submission)).toMatchObject({ ok: true });
  });

  it('keeps addresses as they are', () => {
    for (const url of ['https://host.example/a/b.git', 'ssh://git@host.example/b', 'git@host.example:a/b.git']) {
      expect(submissionOf(options({ repo: url }), cwd)['repository']).toEqual({ url, base: 'main' });
    }
  });

  it('has the same key only when it was given', () => {
    expect(submissionOf(options({ key: 'k' }), cwd)['idempotencyKey']).toBe('k');
    expect(submissionOf(options(), cwd)['idempotencyKey']).not.toBe(submissionOf(options(), cwd)['idempotencyKey']);
  });

  it('takes a policy from a file and names the field that is wrong in it', () => {
    writeFileSync(join(cwd, 'bad.yml'), 'name: mine\nrequired: [nonsense]\n');
    expect(refusal({ policy: 'bad.yml' })).toMatchObject({
      message: expect.stringContaining('required.0') as string,
      exitCode: exitCodes.usage,
    });
    writeFileSync(join(cwd, 'worse.yml'), '{');
    expect(refusal({ policy: 'worse.yml' })).toMatchObject({
      message: expect.stringContaining('neither YAML nor JSON') as string,
    });
  });

  it('is refused in one sentence for what is not there', () => {
    expect(refusal({ repo: 'nowhere' })).toMatchObject({
      message: expect.stringContaining('neither a directory here nor a URL') as string,
      exitCode: 2,
    });
    expect(refusal({ issue: 'gone.md' })).toMatchObject({
      message: '--issue is gone.md, which does not exist.',
      exitCode: 2,
    });
    expect(refusal({ issue: 'repo' })).toMatchObject({ message: '--issue is repo, which is a directory.' });
  });
});

describe('parseIssue', () => {
  it.each([
    ['# Title\n\nBody', 'Title', 'Body'],
    ['\n\n  Plain title  \nBody\n\n## More\n', 'Plain title', 'Body\n\n## More'],
    ['### Closed ###\nBody', 'Closed', 'Body'],
    ['C# is not a heading mark #', 'C# is not a heading mark #', ''],
    ['\ufeff# With a mark\r\n\r\nBody', 'With a mark', 'Body'],
    ['', '', ''],
  ])('%j', (text, title, body) => {
    expect(parseIssue(text)).toEqual({ title, body });
  });
});
