import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exitCodes } from '../failure.js';
import { assertCommit, localRepository } from './local-repository.js';

let folder: string;
beforeEach(() => (folder = realpathSync(mkdtempSync(join(tmpdir(), 'plumb repository ü-')))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const git = (...args: string[]) =>
  execFileSync('git', ['-C', folder, '-c', 'user.name=n', '-c', 'user.email=e@x', ...args], { stdio: 'ignore' });

describe('a local repository', () => {
  it('is found from its top folder, from a folder in it, and when it is bare', () => {
    git('init', '-q');
    mkdirSync(join(folder, 'src/deep'), { recursive: true });
    expect(localRepository(folder)).toBe(folder);
    expect(localRepository(join(folder, 'src/deep'))).toBe(folder);
    execFileSync('git', ['init', '-q', '--bare', join(folder, 'origin')], { stdio: 'ignore' });
    expect(localRepository(join(folder, 'origin'))).toBe(join(folder, 'origin'));
  });

  it('is named when there is none', () => {
    writeFileSync(join(folder, 'file'), '');
    for (const [path, what] of [
      [folder, /in no git repository/],
      [join(folder, 'file'), /no directory/],
      [join(folder, 'none'), /no directory/],
    ] as const) {
      expect(() => localRepository(path)).toThrow(what);
    }
  });

  it('has the commit that is named, or one sentence says that it has not', () => {
    git('init', '-q', '-b', 'main');
    const refusal = { exitCode: exitCodes.usage, message: expect.stringContaining(folder) as string };
    expect(() => assertCommit(folder, 'main', '--base')).toThrow(expect.objectContaining(refusal) as Error);
    expect(() => assertCommit(folder, 'main', '--base')).toThrow(/no commit checked out/);
    git('commit', '-q', '--allow-empty', '-m', 'first');
    assertCommit(folder, 'main', '--base');
    assertCommit(folder, 'HEAD', '--base');
    for (const none of ['nonsense', '--version', '']) {
      expect(() => assertCommit(folder, none, '--base')).toThrow(/--base is ".*", which names no commit/);
    }
  });

  it('is left to others where git cannot tell', () => {
    expect(() => assertCommit(join(folder, 'none'), 'main', '--base')).not.toThrow();
  });
});
