import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, sep } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { confine } from './confined-path.js';

let root: string;
let tree: string;

beforeAll(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'plumbline-confine-')));
  tree = join(root, 'tree');
  mkdirSync(join(tree, 'src', 'deep'), { recursive: true });
  mkdirSync(join(root, 'tree-beside'));
  mkdirSync(join(tree, '.git'));
  writeFileSync(join(tree, 'src', 'a.txt'), 'a');
  const links: [string, string][] = [
    ['out', root],
    ['beside', join(root, 'tree-beside')],
    ['absolute', '/etc'],
    ['dangling', join(tree, 'nowhere')],
    ['loop', 'loop'],
    ['inner', 'src'],
    ['store', '.git'],
    ['up', 'src/../../tree-beside'],
  ];
  for (const [name, target] of links) symlinkSync(target, join(tree, name));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe('a path of the model', () => {
  it.each([
    ['src/a.txt', 'src/a.txt'],
    ['./src//a.txt', 'src/a.txt'],
    ['/work/src/a.txt', 'src/a.txt'],
    ['inner/a.txt', 'src/a.txt'],
    ['src/deep/../a.txt', 'src/a.txt'],
    ['new/dir/file', 'new/dir/file'],
    ['.', ''],
    ['/work', ''],
    ['', ''],
    ['.gitignore', '.gitignore'],
  ])('%s means %s', async (asked, path) => {
    const found = await confine(tree, asked);
    expect(found.ok && found.host).toBe(path === '' ? tree : join(tree, path));
  });

  it.each([
    '..',
    '../tree-beside/x',
    '/etc/passwd',
    '/workshop',
    'out',
    'out/x',
    'out/tree-beside/x',
    'beside/x',
    'absolute/passwd',
    'dangling',
    'dangling/x',
    'loop',
    'loop/x',
    'up',
    'up/x',
    '.git',
    '.git/config',
    'src/.GIT/x',
    'store/config',
    'store',
    'src/a\0b',
    'a/.git /x',
    'git~1/x',
  ])('%s is refused', async (asked) => {
    const found = await confine(tree, asked);
    expect(found.ok).toBe(false);
    expect(!found.ok && found.problem).not.toContain(root);
  });

  it('never leads out, however it is put together', async () => {
    const part = fc.constantFrom(
      '..',
      '.',
      '',
      'src',
      'deep',
      'a.txt',
      'out',
      'beside',
      'up',
      'inner',
      'absolute',
      'tree',
      '.git',
      'store',
      'loop',
      'x',
      '/work',
      '/',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 8 }), async (parts) => {
        const found = await confine(tree, parts.join('/'));
        if (!found.ok) return;
        expect(found.host === tree || found.host.startsWith(tree + sep)).toBe(true);
        expect(found.host.split(sep)).not.toContain('.git');
      }),
      { numRuns: 500, seed: 7 },
    );
  });
});
