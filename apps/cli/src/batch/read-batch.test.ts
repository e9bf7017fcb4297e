import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { taskIdOf } from '@plumbline/bus';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CliError, exitCodes } from '../failure.js';
import { readBatch } from './read-batch.js';

let root: string;
let folder: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'plumb-batch-'));
  folder = join(root, 'batch');
  mkdirSync(join(folder, 'issues'), { recursive: true });
  writeFileSync(join(folder, 'issues', 'a.md'), '# A is broken\r\n\r\nMend it.\r\n');
  writeFileSync(join(root, 'private.txt'), 'the password');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const head = 'schema: plumbline.batch/1\nname: night-1\nrepository: https://h.example/r.git\nbase: main\n';
const write = (text: string | Uint8Array, name = 'batch.yml'): string => {
  writeFileSync(join(folder, name), text);
  return name;
};
const read = (tasks: string, start = head) => readBatch(write(`${start}tasks:\n${tasks}`), folder, taskIdOf);
/** The problems a file is refused for, one line each. */
function problems(work: () => unknown): readonly string[] {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(CliError);
    expect((error as CliError).exitCode).toBe(exitCodes.usage);
    expect((error as CliError).message).toContain('nothing was submitted');
    return (error as CliError).detail;
  }
  throw new Error('it was not refused');
}

describe('a batch file', () => {
  it('is read in its order, with issues from files and ids that are always the same', () => {
    const tasks = '  - issue: issues/a.md\n  - key: b\n    issue: { title: B, body: "It too." }\n    priority: high\n';
    const batch = read(tasks, `${head}parallel: 3\n`);
    expect(batch).toMatchObject({ name: 'night-1', source: 'urn:plumbline:batch:night-1', parallel: 3 });
    expect(batch.entries).toMatchObject([
      {
        key: 'a',
        submission: { issue: { title: 'A is broken', body: 'Mend it.' }, priority: 'batch', policy: 'strict' },
      },
      { key: 'b', submission: { issue: { title: 'B' }, priority: 'high', publish: 'branch' } },
    ]);
    expect(read(tasks).entries.map(({ taskId }) => taskId)).toEqual(batch.entries.map(({ taskId }) => taskId));
    const other = read(tasks, head.replace('night-1', 'night-2'));
    expect(other.entries.map(({ taskId }) => taskId)).not.toEqual(batch.entries.map(({ taskId }) => taskId));
    expect(batch.entries[0]?.submission).not.toHaveProperty('idempotencyKey');
  });

  it('may be JSON, and may have Windows line ends', () => {
    const document = {
      schema: 'plumbline.batch/1',
      name: 'n',
      repository: 'https://h.example/r.git',
      base: 'main',
      tasks: [{ issue: 'issues/a.md' }],
    };
    expect(readBatch(write(JSON.stringify(document), 'batch.json'), folder, taskIdOf).entries).toHaveLength(1);
    const unix = read('  - issue: { title: T, body: "one\\ntwo" }\n    key: k\n');
    const text = `${head}tasks:\n  - issue:\n      title: T\n      body: |-\n        one\n        two\n    key: k\n`;
    expect(readBatch(write(text.replaceAll('\n', '\r\n')), folder, taskIdOf).entries[0]?.submission).toEqual(
      unix.entries[0]?.submission,
    );
  });

  it('is refused for everything that is wrong with it and what it names, at once', () => {
    mkdirSync(join(root, 'repo', '.git'), { recursive: true });
    const found = problems(() =>
      read(
        [
          '  - issue: issues/none.md',
          '  - issue: issues/a.md',
          '  - issue: issues/a.md',
          '  - { key: d, issue: { title: "", body: x } , repository: nowhere }',
          '  - { key: e, issue: issues/a.md, repository: "ext::sh -c id" }',
          '  - { key: f, issue: issues/a.md, base: "--upload-pack=x" }',
          `  - { key: g, issue: { title: long, body: "${'x'.repeat(70_000)}" } }`,
          '  - { key: h, issue: issues }',
          '  - { key: i, issue: issues/a.md, repository: nowhere }',
        ].join('\n'),
      ),
    );
    expect(found.map((line) => line.split(':')[0]).sort()).toEqual([
      'tasks.0.issue',
      'tasks.2.key',
      'tasks.3.issue.title',
      'tasks.4.repository',
      'tasks.5.repository.base',
      'tasks.6.issue.body',
      'tasks.7.issue',
      'tasks.8.repository',
    ]);
  });

  it('names a base that a repository of this machine does not have', () => {
    const repository = join(folder, 'shop');
    execFileSync('git', ['init', '-q', '-b', 'main', repository]);
    execFileSync('git', [
      '-C',
      repository,
      '-c',
      'user.name=a',
      '-c',
      'user.email=a@b',
      'commit',
      '-q',
      '--allow-empty',
      '-m',
      'a',
    ]);
    const start = (base: string) =>
      head.replace('https://h.example/r.git', 'shop').replace('base: main', `base: ${base}`);
    expect(read('  - issue: issues/a.md', start('main')).entries[0]?.submission.repository.url).toBe(repository);
    expect(problems(() => read('  - issue: issues/a.md', start('gone')))).toEqual([
      expect.stringMatching(/^tasks\.0\.base: got "gone"/),
    ]);
  });
});

describe('a hostile batch file', () => {
  it.each([
    ['../private.txt', 'below the batch file'],
    ['issues/../../private.txt', 'below the batch file'],
    ['/etc/passwd', 'not an absolute one'],
    ['link.md', 'a symbolic link leads out of it'],
    ['linked/private.txt', 'a symbolic link leads out of it'],
    ['circle.md', 'a circle of symbolic links'],
    ['pipe.md', 'a regular file'],
    ['issues', 'a directory'],
    ['"a\\0b"', 'NUL'],
    ['binary.md', 'UTF-8'],
    ['huge.md', 'at most'],
    ['nul.md', 'NUL'],
    ['empty.md', 'must not be empty'],
  ])('cannot have %s read', (path, why) => {
    symlinkSync(join(root, 'private.txt'), join(folder, 'link.md'));
    symlinkSync(root, join(folder, 'linked'));
    symlinkSync('circle.md', join(folder, 'circle.md'));
    execFileSync('mkfifo', [join(folder, 'pipe.md')]);
    writeFileSync(join(folder, 'binary.md'), Buffer.from([0x23, 0x20, 0xff, 0xfe]));
    writeFileSync(join(folder, 'huge.md'), 'x'.repeat(600_000));
    writeFileSync(join(folder, 'nul.md'), '# T\n\na\0b');
    writeFileSync(join(folder, 'empty.md'), '\n\n');
    const found = problems(() => read(`  - { key: k, issue: ${path} }`));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(why);
    expect(found.join()).not.toContain('the password');
  });

  it('may link within its folder', () => {
    symlinkSync('a.md', join(folder, 'issues', 'b.md'));
    expect(read('  - issue: issues/b.md').entries[0]?.key).toBe('b');
  });

  it.each([
    [
      'aliases',
      `${head}tasks: &t\n  - { key: k, issue: &i { title: T, body: x } }\n  - { key: l, issue: *i }\n`,
      'aliases',
    ],
    ['a bomb', `a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c, *c]\n`, 'aliases'],
    ['a key twice', `${head}name: night-2\ntasks: [{ issue: issues/a.md }]\n`, 'Map keys must be unique'],
    ['a tag', `${head}tasks: [{ key: k, issue: !!js/function "x" }]\n`, 'tag'],
    ['two documents', `${head}tasks: [{ issue: issues/a.md }]\n---\nname: x\n`, 'multiple documents'],
    ['a prototype', `${head}__proto__: { polluted: true }\ntasks: [{ issue: issues/a.md }]\n`, 'no field __proto__'],
    ['nothing', '', 'expected'],
    ['no YAML', '{', 'YAML or JSON'],
    ['a NUL', `${head}tasks: [{ key: k, issue: { title: "a\\0b", body: x } }]\n`, 'NUL'],
    ['a lone surrogate', `${head}tasks: [{ key: k, issue: { title: "a\\ud800", body: x } }]\n`, 'Unicode'],
    [
      'too many',
      `${head}tasks:\n${Array.from({ length: 10_000 }, (_, n) => `  - { key: k${n}, issue: { title: T, body: x } }`).join('\n')}\n`,
      '1000',
    ],
  ])('is refused with %s, soon', (_name, text, why) => {
    const startedAt = performance.now();
    expect(problems(() => readBatch(write(text), folder, taskIdOf)).join('\n')).toContain(why);
    // Against what never ends; a busy machine is no failure.
    expect(performance.now() - startedAt).toBeLessThan(60_000);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('is refused when it is no file of text, or beyond measure', () => {
    expect(problems(() => readBatch('.', folder, taskIdOf))[0]).toContain('a directory');
    expect(problems(() => readBatch('gone.yml', folder, taskIdOf))[0]).toContain('a file that exists');
    expect(problems(() => readBatch(write(Buffer.from([0xff, 0xfe, 0])), folder, taskIdOf))[0]).toContain('UTF-8');
    expect(problems(() => readBatch(write(Buffer.alloc(17 * 1_024 * 1_024, 0x20)), folder, taskIdOf))[0]).toContain(
      'at most',
    );
    expect(
      problems(() => read(Array.from({ length: 80 }, (_, n) => `  - { key: "bad key ${n}", issue: x }`).join('\n'))),
    ).toHaveLength(51);
  });
});
