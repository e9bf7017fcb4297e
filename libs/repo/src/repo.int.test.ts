import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bundleChange, openChange } from './change.js';
import { diffHunks, diffTrees } from './diff.js';
import { exportTree } from './export-tree.js';
import { allObjects } from './object-store.js';
import { createBranch, publishBranch } from './publish.js';
import { takeSnapshot } from './snapshot.js';
import { listTree, readBlob } from './tree-entries.js';
import { commitChange, sealWorkspace, writeTree, type SealedWorkspace } from './workspace.js';

let root: string;
let origin: string;

const ENV = {
  ...{
    PATH: '/usr/local/bin:/usr/bin:/bin',
    HOME: '/nonexistent',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
  },
  ...{
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@example.org',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@example.org',
  },
  ...{ GIT_AUTHOR_DATE: '1700000000 +0000', GIT_COMMITTER_DATE: '1700000000 +0000' },
};
/** Plain git, as the people (and attackers) of an origin use it. */
const raw = (cwd: string, args: string[], input = '') =>
  execFileSync('git', args, { cwd, env: ENV, input }).toString().trim();
const put = (dir: string, files: Record<string, string>) => {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
};
const commit = (dir: string, files: Record<string, string>, message = 'c') => {
  put(dir, files);
  raw(dir, ['add', '-A', '-f']);
  raw(dir, ['commit', '-q', '--allow-empty', '-m', message]);
  return raw(dir, ['rev-parse', 'HEAD']);
};
const blob = (text: string) => raw(origin, ['hash-object', '-w', '--stdin', '--no-filters'], text);
/** A commit of a tree that git's own porcelain would refuse to make. */
const forged = (entries: string[], parent?: string) => {
  const tree = raw(origin, ['mktree', '-z', '--missing'], entries.map((entry) => `${entry}\0`).join(''));
  return raw(origin, ['commit-tree', tree, '-m', 'forged', ...(parent ? ['-p', parent] : [])]);
};
const seal = async (revision = 'main', name = 'ws'): Promise<SealedWorkspace & { packPath: string }> => {
  const snapshot = await takeSnapshot({ url: origin, revision, workDir: join(root, `${name}-snap`) });
  return { ...(await sealWorkspace({ ...snapshot, dir: join(root, name) })), packPath: snapshot.packPath };
};
const AT = {
  author: { name: 'Coder', email: 'coder@example.org' },
  at: new Date('2026-01-02T03:04:05Z'),
  message: 'change\n',
};
const paths = async (gitDir: string, tree: string) => (await listTree({ gitDir, tree })).map(({ path }) => path);

beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'repo-test-')));
  origin = join(root, 'origin');
  mkdirSync(origin);
  raw(origin, ['init', '-q', '-b', 'main']);
  commit(origin, { 'README.md': 'one\n', 'src/a.ts': 'a1\na2\na3\n' }, 'first');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe('takeSnapshot', () => {
  it.each(['main', 'HEAD', 'refs/heads/main', 'v1', 'v1~0', 'short', 'full', 'main~1'])(
    'takes exactly one commit by %s',
    async (how) => {
      const first = raw(origin, ['rev-parse', 'HEAD']);
      const second = commit(origin, { 'src/b.ts': 'b\n' }, 'second');
      raw(origin, ['tag', '-a', 'v1', '-m', 'v1']);
      const revision = how === 'short' ? second.slice(0, 12) : how === 'full' ? second : how;
      const snapshot = await takeSnapshot({ url: origin, revision, workDir: join(root, 's') });
      const base = how === 'main~1' ? first : second;
      expect(snapshot).toMatchObject({
        base,
        tree: raw(origin, ['rev-parse', `${base}^{tree}`]),
        objectFormat: 'sha1',
      });
      const { gitDir } = await sealWorkspace({ ...snapshot, dir: join(root, 'w') });
      const wanted = raw(origin, ['rev-list', '--objects', '--no-object-names', '--max-count=1', base]).split('\n');
      expect([...(await allObjects(gitDir))].sort()).toEqual(wanted.sort());
      expect(readdirSync(join(root, 's'))).toEqual([`base-${base}.pack`]);
    },
  );

  it('takes a commit that is no tip, also from a server that gives out tips only', async () => {
    const first = raw(origin, ['rev-parse', 'HEAD']);
    commit(origin, {}, 'second');
    const bare = join(root, 'bare.git');
    raw(root, ['clone', '-q', '--bare', origin, bare]);
    for (const version of ['0', '2']) {
      raw(bare, ['config', 'protocol.version', version]);
      const snapshot = await takeSnapshot({
        url: `file://${bare}`,
        revision: first,
        workDir: join(root, `s${version}`),
      });
      expect(snapshot.base).toBe(first);
    }
  });

  it('works on a SHA-256 repository', async () => {
    const modern = join(root, 'modern');
    mkdirSync(modern);
    raw(modern, ['init', '-q', '-b', 'main', '--object-format=sha256']);
    const base = commit(modern, { f: 'x' });
    const snapshot = await takeSnapshot({ url: modern, revision: 'main', workDir: join(root, 's') });
    expect(snapshot).toMatchObject({ base, objectFormat: 'sha256' });
    expect(await sealWorkspace({ ...snapshot, dir: join(root, 'w') })).toMatchObject({ base });
  });

  it('runs no hook, filter or pack hook of the origin', async () => {
    const proof = join(root, 'ran');
    raw(origin, ['config', 'uploadpack.packObjectsHook', `touch ${proof}; `]);
    raw(origin, ['config', 'core.fsmonitor', `touch ${proof}`]);
    put(origin, {
      '.git/hooks/post-checkout': `#!/bin/sh\ntouch ${proof}\n`,
      '.git/hooks/reference-transaction': `#!/bin/sh\ntouch ${proof}\n`,
    });
    for (const hook of ['post-checkout', 'reference-transaction']) chmodSync(join(origin, '.git/hooks', hook), 0o755);
    await seal();
    expect(existsSync(proof)).toBe(false);
  });

  it('reads a directory that belongs to somebody else', async (context) => {
    if (process.getuid?.() !== 0) return context.skip();
    execFileSync('chown', ['-R', '65534:65534', origin]);
    expect((await takeSnapshot({ url: origin, revision: 'main', workDir: join(root, 's') })).base).toMatch(
      /^[0-9a-f]{40}$/,
    );
  });

  it('says what is wrong', async () => {
    const take = (url: string, revision = 'main', maxBytes = 1 << 20) =>
      takeSnapshot({ url, revision, workDir: join(root, 's'), maxBytes });
    await expect(take(join(root, 'nothing'))).rejects.toMatchObject({ code: 'NOT_A_REPOSITORY', retry: 'never' });
    await expect(take(origin, 'no-such-branch')).rejects.toMatchObject({ code: 'UNKNOWN_REVISION', retry: 'never' });
    await expect(take(origin, '0'.repeat(39) + '1')).rejects.toMatchObject({ code: 'UNKNOWN_REVISION' });
    await expect(take('https://127.0.0.1:9/p')).rejects.toMatchObject({ code: 'UNREACHABLE', retry: 'later' });
    await expect(take(`ext::sh -c "touch ${root}/ran"`)).rejects.toMatchObject({ name: 'GitError' });
    expect(existsSync(join(root, 'ran'))).toBe(false);
    commit(origin, { big: randomBytes(200_000).toString('hex') });
    for (const maxBytes of [60_000, 120_000])
      await expect(take(origin, 'main', maxBytes)).rejects.toMatchObject({ code: 'TOO_LARGE' });
    for (const maxBytes of [60_000, 120_000])
      await expect(take(origin, 'main~0', maxBytes)).rejects.toMatchObject({ code: 'TOO_LARGE' });
    expect(readdirSync(join(root, 's'))).toEqual([]);
  });
});

describe('sealWorkspace', () => {
  it('holds nothing of the past, of the future or of other branches', async () => {
    const base = commit(origin, { f: 'at base\n' }, 'base');
    const future = commit(origin, { f: 'the answer\n' }, 'future');
    raw(origin, ['branch', 'other']);
    const workspace = await seal(base);
    const objects = await allObjects(workspace.gitDir);
    expect(objects.has(base)).toBe(true);
    expect(objects.has(future)).toBe(false);
    expect(objects.has(raw(origin, ['rev-parse', `${future}:f`]))).toBe(false);
    expect(objects.has(raw(origin, ['rev-parse', `${base}~1`]))).toBe(false);
    expect(raw(workspace.gitDir, ['log', '--format=%H'])).toBe(base);
    expect(raw(workspace.gitDir, ['for-each-ref', '--format=%(refname)'])).toBe('refs/heads/work');
    expect(raw(workspace.gitDir, ['remote'])).toBe('');
    expect(existsSync(join(workspace.gitDir, 'objects/info/alternates'))).toBe(false);
    expect(existsSync(join(workspace.gitDir, 'hooks'))).toBe(false);
  });

  it('refuses a pack with more in it than base', async () => {
    const base = raw(origin, ['rev-parse', 'HEAD']);
    commit(origin, { f: 'future' });
    const packPath = join(root, 'fat.pack');
    writeFileSync(
      packPath,
      execFileSync('git', ['pack-objects', '--stdout', '--all', '-q'], { cwd: origin, env: ENV, input: '' }),
    );
    const sealed = sealWorkspace({ packPath, base, dir: join(root, 'w'), objectFormat: 'sha1' });
    await expect(sealed).rejects.toMatchObject({ code: 'CORRUPT' });
  });

  it('checks out byte for byte, whatever attributes say', async () => {
    const proof = join(root, 'ran');
    const attributes =
      '*.txt text eol=crlf\n*.u working-tree-encoding=UTF-16\n*.id ident\n*.f filter=evil diff=evil\nsecret export-ignore\n*.v export-subst\n';
    raw(origin, ['config', 'filter.evil.smudge', `touch ${proof}`]);
    const files = {
      'l.txt': 'a\nb\n',
      'c.txt': 'a\r\nb\r\n',
      'x.u': 'é\n',
      'x.id': '$Id$\n',
      'x.f': 'f\n',
      secret: 's\n',
      'x.v': '$Format:%H$\n',
    };
    put(origin, files);
    raw(origin, ['add', '-A']);
    put(origin, { '.gitattributes': attributes });
    raw(origin, ['add', '.gitattributes']);
    raw(origin, ['commit', '-q', '-m', 'x']);
    const workspace = await seal();
    for (const [path, text] of Object.entries(files))
      expect(readFileSync(join(workspace.treeDir, path), 'utf8')).toBe(text);
    expect(existsSync(proof)).toBe(false);
    expect(await writeTree(workspace)).toBe(raw(origin, ['rev-parse', 'HEAD^{tree}']));
  });

  it('keeps odd names, permissions and links, and reports links that leave', async () => {
    put(origin, {
      '-rf': 'x',
      'new\nline': 'y',
      'with "quote"\t': 'z',
      'run.sh': '#!/bin/sh\n',
      'ü/é': 'u',
      '*': 'star',
    });
    chmodSync(join(origin, 'run.sh'), 0o755);
    mkdirSync(join(origin, 'd/e'), { recursive: true });
    const links = {
      etc: '/etc',
      up: '../outside',
      inside: 'src/a.ts',
      'd/back': '../src/a.ts',
      'd/e/chain': 'x/../../..',
    };
    for (const [path, target] of Object.entries(links)) symlinkSync(target, join(origin, path));
    commit(origin, {});
    const workspace = await seal();
    expect(workspace.escapingLinks.toSorted()).toEqual(['d/e/chain', 'etc', 'up']);
    expect(readFileSync(join(workspace.treeDir, 'new\nline'), 'utf8')).toBe('y');
    expect(lstatSync(join(workspace.treeDir, 'run.sh')).mode & 0o777).toBe(0o755);
    expect(readlinkSync(join(workspace.treeDir, 'etc'))).toBe('/etc');
    expect(await writeTree(workspace)).toBe(raw(origin, ['rev-parse', 'HEAD^{tree}']));
  });

  it.each(['.GIT', '.git', '.git ', '.git.', 'git~1', '.g\u200cit', '.git::$INDEX_ALLOCATION', 'a\\.git'])(
    'refuses an entry %j',
    async (name) => {
      const base = forged([`100644 blob ${blob('x')}\t${name}`]);
      raw(origin, ['update-ref', 'refs/heads/bad', base]);
      await expect(seal('bad')).rejects.toMatchObject({ code: 'UNSAFE_TREE' });
      expect(existsSync(join(root, 'ws', 'tree', name))).toBe(false);
    },
  );

  it('leaves submodules alone', async () => {
    const base = forged([`160000 commit ${'1'.repeat(40)}\tsub`, `100644 blob ${blob('x')}\tf`]);
    raw(origin, ['update-ref', 'refs/heads/sub', base]);
    const workspace = await seal('sub');
    expect(workspace.submodules).toEqual(['sub']);
    expect(await writeTree(workspace)).toBe(raw(origin, ['rev-parse', `${base}^{tree}`]));
  });
});

describe('commitChange and writeTree', () => {
  it('commits additions, edits, deletions, permissions and changed types, and is repeatable', async () => {
    commit(origin, { gone: 'g', 'dir/file': 'f', file: 'f', 'deep/x/y': 'y', link: 'l' });
    const workspace = await seal();
    const { treeDir, gitDir } = workspace;
    rmSync(join(treeDir, 'gone'));
    rmSync(join(treeDir, 'dir'), { recursive: true });
    writeFileSync(join(treeDir, 'dir'), 'now a file');
    rmSync(join(treeDir, 'file'));
    put(treeDir, { 'file/now/dir': 'd', 'new\nname': 'n', '-x': 'o', 'README.md': 'two\n' });
    rmSync(join(treeDir, 'deep/x'), { recursive: true });
    symlinkSync('../src', join(treeDir, 'deep/x'));
    rmSync(join(treeDir, 'link'));
    symlinkSync('README.md', join(treeDir, 'link'));
    chmodSync(join(treeDir, 'src/a.ts'), 0o755);
    const change = await commitChange({ ...workspace, ...AT });
    expect(change.empty).toBe(false);
    const entries = (await listTree({ gitDir, tree: change.head })).map(({ path, mode }) => `${mode} ${path}`);
    expect(entries).toEqual([
      '100644 -x',
      '100644 README.md',
      '120000 deep/x',
      '100644 dir',
      '100644 file/now/dir',
      '120000 link',
      '100644 new\nname',
      '100755 src/a.ts',
    ]);
    expect(raw(gitDir, ['log', '-1', '--format=%P %an <%ae> %ct %s'])).toBe(
      `${workspace.base} Coder <coder@example.org> 1767323045 change`,
    );
    expect(await commitChange({ ...workspace, ...AT })).toEqual(change);
    expect(await writeTree(workspace)).toBe(change.tree);
    expect(readdirSync(gitDir).filter((name) => name.startsWith('index'))).toEqual([]);
  });

  it('says when nothing changed', async () => {
    const workspace = await seal();
    expect(await commitChange({ ...workspace, ...AT })).toMatchObject({ empty: true, head: workspace.base });
    expect(raw(workspace.gitDir, ['rev-parse', 'work'])).toBe(workspace.base);
  });

  it('sees an edit of the same length with restored times', async () => {
    const workspace = await seal();
    const before = await writeTree(workspace);
    const file = join(workspace.treeDir, 'README.md');
    const { atime, mtime } = lstatSync(file);
    writeFileSync(file, 'eno\n');
    utimesSync(file, atime, mtime);
    expect(await writeTree(workspace)).not.toBe(before);
  });

  it("follows base's ignore rules, at every level, and no later ones", async () => {
    commit(origin, {
      '.gitignore': 'node_modules/\n*.log\n!keep.log\n/top\n',
      'pkg/.gitignore': 'out\n/only\nsub/part\n!wanted.log\n',
      'pkg/committed.log': 'tracked although ignored',
    });
    const workspace = await seal();
    put(workspace.treeDir, {
      'node_modules/x/i.js': '1',
      ...{ 'a.log': '1', 'keep.log': '1', top: '1', 'src/top': '1', 'pkg/out': '1', 'pkg/deep/out/f': '1', out: '1' },
      ...{
        'pkg/only': '1',
        'pkg/deep/only': '1',
        'pkg/sub/part': '1',
        'pkg/deep/sub/part': '1',
        'pkg/wanted.log': '1',
      },
      ...{ 'hidden.ts': 'evil', '.gitignore': '*\n', 'src/.gitignore': '*\n', 'pkg/committed.log': 'edited' },
    });
    const { head } = await commitChange({ ...workspace, ...AT });
    const changed = await diffTrees({ gitDir: workspace.gitDir, base: workspace.base, head });
    expect(changed.map(({ path }) => path).sort()).toEqual(
      [
        '.gitignore',
        'hidden.ts',
        'keep.log',
        'out',
        'pkg/committed.log',
        'pkg/deep/only',
        'pkg/deep/sub/part',
        'pkg/wanted.log',
        'src/.gitignore',
        'src/top',
      ].sort(),
    );
    expect(readFileSync(join(workspace.treeDir, 'a.log'), 'utf8')).toBe('1');
  });

  it('is not impressed by a .git, attributes or a nested repository in the tree', async () => {
    const workspace = await seal();
    const { treeDir } = workspace;
    const proof = join(root, 'ran');
    raw(treeDir, ['init', '-q']);
    for (const key of [
      'core.fsmonitor',
      'filter.evil.clean',
      'filter.evil.process',
      'diff.evil.textconv',
      'diff.external',
    ]) {
      raw(treeDir, ['config', key, `touch ${proof}`]);
    }
    put(treeDir, {
      '.git/hooks/pre-commit': `#!/bin/sh\ntouch ${proof}\n`,
      '.gitattributes': '* filter=evil text eol=crlf diff=evil\n',
      n: 'x\r\n',
    });
    chmodSync(join(treeDir, '.git/hooks/pre-commit'), 0o755);
    const { head } = await commitChange({ ...workspace, ...AT });
    expect(await paths(workspace.gitDir, head)).toEqual(['.gitattributes', 'README.md', 'n', 'src/a.ts']);
    const entry = (await listTree({ gitDir: workspace.gitDir, tree: head })).find(({ path }) => path === 'n');
    expect((await readBlob({ gitDir: workspace.gitDir, blob: entry?.id ?? '' })).toString()).toBe('x\r\n');
    expect(existsSync(proof)).toBe(false);
    mkdirSync(join(treeDir, 'nested'));
    raw(join(treeDir, 'nested'), ['init', '-q']);
    commit(join(treeDir, 'nested'), { hidden: 'h' });
    await expect(writeTree(workspace)).rejects.toMatchObject({ code: 'UNSAFE_TREE' });
  });
});

describe('bundleChange and openChange', () => {
  const make = async () => {
    const workspace = await seal();
    put(workspace.treeDir, { 'src/a.ts': 'a1\nA2\na3\n', new: 'n\n' });
    const change = await commitChange({ ...workspace, ...AT });
    const bundle = join(root, 'change.pack');
    await bundleChange({ ...workspace, head: change.head, bundlePath: bundle });
    return {
      workspace,
      change,
      bundle,
      open: { snapshotPack: workspace.packPath, bundle, base: workspace.base, head: change.head },
    };
  };
  /** Opens a change whose tree is forged; `contents` become blobs first. */
  const openForged = async (contents: string, entry: (blobId: string) => string) => {
    const { gitDir, base, packPath } = await seal();
    const blobId = raw(gitDir, ['hash-object', '-w', '--stdin'], contents);
    const tree = raw(gitDir, ['mktree', '-z', '--missing'], `${entry(blobId)}\0`);
    const head = raw(gitDir, ['commit-tree', tree, '-m', 'bad', '-p', base]);
    await bundleChange({ gitDir, base, head, bundlePath: join(root, 'bad.pack') });
    return openChange({ snapshotPack: packPath, bundle: join(root, 'bad.pack'), base, head, dir: join(root, 'o') });
  };

  it('carries a change over, and nothing else', async () => {
    const { change, open } = await make();
    const opened = await openChange({ ...open, tree: change.tree, dir: join(root, 'opened') });
    expect(opened).toMatchObject({ head: change.head, tree: change.tree, commits: [change.head] });
    expect(await paths(opened.gitDir, opened.head)).toEqual(['README.md', 'new', 'src/a.ts']);
  });

  it('refuses a wrong tree, a missing head, a foreign base and damaged bytes', async () => {
    const { open, bundle, workspace } = await make();
    await expect(openChange({ ...open, tree: '1'.repeat(40), dir: join(root, '1') })).rejects.toMatchObject({
      code: 'CORRUPT',
    });
    await expect(openChange({ ...open, head: '1'.repeat(40), dir: join(root, '2') })).rejects.toThrow(
      /CORRUPT|UNKNOWN_REVISION/,
    );
    const bytes = readFileSync(bundle);
    bytes[bytes.length - 30] = (bytes[bytes.length - 30] ?? 0) ^ 0xff;
    writeFileSync(join(root, 'damaged'), bytes);
    await expect(openChange({ ...open, bundle: join(root, 'damaged'), dir: join(root, '3') })).rejects.toMatchObject({
      code: 'CORRUPT',
    });
    const orphan = raw(workspace.gitDir, ['commit-tree', `${open.head}^{tree}`, '-m', 'orphan']);
    await bundleChange({ ...workspace, head: orphan, bundlePath: join(root, 'orphan') });
    await expect(
      openChange({ ...open, head: orphan, bundle: join(root, 'orphan'), dir: join(root, '4') }),
    ).rejects.toMatchObject({ code: 'NOT_LINEAR' });
  });

  it('refuses smuggled objects', async () => {
    const { open, workspace } = await make();
    const extra = raw(workspace.gitDir, ['hash-object', '-w', '--stdin'], 'smuggled');
    const objects = `${raw(workspace.gitDir, ['rev-list', '--objects', '--no-object-names', open.head, `^${open.base}`])}\n${extra}\n`;
    const pack = execFileSync('git', ['pack-objects', '--stdout', '-q'], {
      cwd: workspace.gitDir,
      env: ENV,
      input: objects,
    });
    writeFileSync(join(root, 'fat'), pack);
    await expect(openChange({ ...open, bundle: join(root, 'fat'), dir: join(root, 'o') })).rejects.toMatchObject({
      code: 'CORRUPT',
    });
  });

  it('refuses merges', async () => {
    const { open, workspace } = await make();
    const merge = raw(workspace.gitDir, [
      'commit-tree',
      `${open.head}^{tree}`,
      '-m',
      'm',
      '-p',
      open.head,
      '-p',
      open.base,
    ]);
    await bundleChange({ ...workspace, head: merge, bundlePath: join(root, 'merge') });
    await expect(
      openChange({ ...open, head: merge, bundle: join(root, 'merge'), dir: join(root, 'o') }),
    ).rejects.toMatchObject({ code: 'NOT_LINEAR' });
  });

  it.each([
    ['a spelling of .git', 'x', (id: string) => `100644 blob ${id}\t.GIT`],
    ['a short name of .git', 'x', (id: string) => `100644 blob ${id}\tgit~2`],
    ['a submodule', 'x', () => `160000 commit ${'2'.repeat(40)}\tsub`],
    ['a link that leaves the tree', '/etc', (id: string) => `120000 blob ${id}\tlink`],
  ])('refuses %s', async (_what, contents, entry) => {
    await expect(openForged(contents, entry)).rejects.toMatchObject({ code: 'UNSAFE_TREE' });
  });
});

describe('exportTree', () => {
  it('writes a tree without .git, complete, twice the same', async () => {
    commit(origin, { '.gitattributes': 'hidden export-ignore\n', hidden: 'h', 'a/b': 'x' });
    const { gitDir, base } = await seal();
    for (const dir of ['e1', 'e2']) {
      expect(await exportTree({ gitDir, tree: base, dir: join(root, dir) })).toMatchObject({
        files: 5,
        escapingLinks: [],
      });
      expect(readdirSync(join(root, dir)).sort()).toEqual(['.gitattributes', 'README.md', 'a', 'hidden', 'src']);
    }
    await expect(exportTree({ gitDir, tree: base, dir: join(root, 'e1') })).rejects.toThrow('not empty');
  });
});

describe('exportTree of a tree that was never checked', () => {
  it('refuses before it writes', async () => {
    const { gitDir } = await seal();
    const id = raw(gitDir, ['hash-object', '-w', '--stdin'], 'x');
    const tree = raw(gitDir, ['mktree', '-z'], `100644 blob ${id}\t.GIT\u0000100644 blob ${id}\tf\u0000`);
    await expect(exportTree({ gitDir, tree, dir: join(root, 'e') })).rejects.toMatchObject({ code: 'UNSAFE_TREE' });
    expect(existsSync(join(root, 'e'))).toBe(false);
  });
});

describe('diffTrees and diffHunks', () => {
  it('lists every kind of change without guessing renames', async () => {
    commit(origin, { old: 'same content\n', del: 'd\n', x: 'x\n', t: 't\n', e: '' });
    const workspace = await seal();
    const { treeDir, gitDir, base } = workspace;
    writeFileSync(join(treeDir, 'moved'), readFileSync(join(treeDir, 'old')));
    for (const name of ['old', 'del', 't']) rmSync(join(treeDir, name));
    symlinkSync('x', join(treeDir, 't'));
    chmodSync(join(treeDir, 'x'), 0o755);
    put(treeDir, { 'n\nl': 'new\n', empty: '', 'src/a.ts': 'a1\nA2\na3' });
    const { head } = await commitChange({ ...workspace, ...AT });
    const changes = await diffTrees({ gitDir, base, head });
    expect(changes.map(({ path, status, oldMode, newMode }) => [path, status, oldMode, newMode])).toEqual([
      ['del', 'D', '100644', '000000'],
      ['empty', 'A', '000000', '100644'],
      ['moved', 'A', '000000', '100644'],
      ['n\nl', 'A', '000000', '100644'],
      ['old', 'D', '100644', '000000'],
      ['src/a.ts', 'M', '100644', '100644'],
      ['t', 'T', '100644', '120000'],
      ['x', 'M', '100644', '100755'],
    ]);
    const files = await diffHunks({ gitDir, base, head, context: 0 });
    const edit = files.find(({ path }) => path === 'src/a.ts');
    expect(edit?.hunks).toEqual([
      {
        id: 'H5',
        path: 'src/a.ts',
        oldStart: 2,
        oldLines: 2,
        newStart: 2,
        newLines: 2,
        lines: ['-a2', '-a3', '+A2', '+a3', '\\ No newline at end of file'],
      },
    ]);
    expect(files.flatMap(({ hunks }) => hunks.map(({ id }) => id))).toEqual(['H1', 'H2', 'H3', 'H4', 'H5', 'H6', 'H7']);
    expect(files.find(({ path }) => path === 't')?.hunks).toHaveLength(2);
    const wide = await diffHunks({ gitDir, base, head, context: 3 });
    expect(wide.find(({ path }) => path === 'src/a.ts')?.hunks[0]?.lines[0]).toBe(' a1');
    expect(await diffTrees({ gitDir, base, head: base })).toEqual([]);
  });

  it('takes no file content for a header and lets no attribute hide a text', async () => {
    const workspace = await seal();
    const { treeDir, gitDir, base } = workspace;
    const tricky = 'diff --git a/x b/x\n@@ -1 +1 @@\n-- a\n++ b\nBinary files a and b differ\n\\ No newline\r\n';
    put(treeDir, { '.gitattributes': '* -diff binary\n', 'a.patch': tricky, z: 'z\n' });
    writeFileSync(join(treeDir, 'b.bin'), Buffer.from([0, 1, 2, 0]));
    const { head } = await commitChange({ ...workspace, ...AT });
    const files = await diffHunks({ gitDir, base, head, context: 0 });
    expect(files.map(({ path, binary, hunks }) => [path, binary, hunks.length])).toEqual([
      ['.gitattributes', false, 1],
      ['a.patch', false, 1],
      ['b.bin', true, 0],
      ['z', false, 1],
    ]);
    expect(files[1]?.hunks[0]?.lines.map((line) => line.slice(1)).join('\n')).toBe(tricky.slice(0, -1));
    await expect(diffHunks({ gitDir, base, head, context: 0, maxBytes: 50 })).rejects.toMatchObject({
      code: 'TOO_LARGE',
    });
  });

  it('accepts full ids only', async () => {
    const { gitDir } = await seal();
    for (const id of ['--output=/tmp/x', 'HEAD', 'abc', '']) {
      await expect(diffTrees({ gitDir, base: id, head: id })).rejects.toMatchObject({ code: 'UNKNOWN_REVISION' });
      await expect(readBlob({ gitDir, blob: id })).rejects.toMatchObject({ code: 'UNKNOWN_REVISION' });
    }
  });
});

describe('publishBranch', () => {
  const prepared = async () => {
    commit(origin, { second: '2' }, 'second');
    const bare = join(root, 'bare.git');
    raw(root, ['clone', '-q', '--bare', origin, bare]);
    const workspace = await seal();
    put(workspace.treeDir, { fix: 'f' });
    const { head } = await commitChange({ ...workspace, ...AT });
    return {
      bare,
      publish: { gitDir: workspace.gitDir, base: workspace.base, head, url: bare, branch: 'plumb/task-1' },
    };
  };

  it('creates the branch once, and says so when repeated', async () => {
    const { bare, publish } = await prepared();
    expect(await publishBranch(publish)).toEqual({ outcome: 'published' });
    expect(raw(bare, ['rev-parse', 'plumb/task-1'])).toBe(publish.head);
    expect(raw(bare, ['log', '--format=%s', 'plumb/task-1']).split('\n')).toEqual(['change', 'second', 'first']);
    expect(raw(bare, ['for-each-ref', '--format=%(refname)']).split('\n')).toEqual([
      'refs/heads/main',
      'refs/heads/plumb/task-1',
    ]);
    expect(raw(bare, ['fsck', '--full'])).toBe('');
    expect(existsSync(join(bare, 'shallow'))).toBe(false);
    expect(await publishBranch(publish)).toEqual({ outcome: 'already' });
  });

  it('works when base is no longer a tip of the remote', async () => {
    const { bare, publish } = await prepared();
    commit(origin, { third: '3' }, 'third');
    raw(origin, ['push', '-q', bare, 'main']);
    expect(await publishBranch(publish)).toEqual({ outcome: 'published' });
    expect(raw(bare, ['log', '--format=%s', 'plumb/task-1']).split('\n')).toEqual(['change', 'second', 'first']);
    expect(existsSync(join(bare, 'shallow'))).toBe(false);
  });

  it('never overwrites a branch', async () => {
    const { bare, publish } = await prepared();
    raw(bare, ['branch', 'plumb/task-1', 'main~1']);
    const at = raw(bare, ['rev-parse', 'main~1']);
    expect(await publishBranch(publish)).toEqual({ outcome: 'branch-exists', at });
    expect(raw(bare, ['rev-parse', 'plumb/task-1'])).toBe(at);
  });

  it('leaves a branch alone that appeared after it looked, also for a fast-forward', async () => {
    const { bare, publish } = await prepared();
    raw(bare, ['branch', 'late', 'main']);
    const pushed = await createBranch({ ...publish, remote: { url: bare }, ref: 'refs/heads/late', timeoutMs: 20_000 });
    expect(pushed.exitCode).not.toBe(0);
    expect(raw(bare, ['rev-parse', 'late'])).toBe(publish.base);
  });

  it('two at once: one creates, both succeed', async () => {
    const { publish } = await prepared();
    const outcomes = (await Promise.all([publishBranch(publish), publishBranch(publish)])).map(
      ({ outcome }) => outcome,
    );
    expect(outcomes).toContain('published');
    expect(['published', 'already']).toEqual(expect.arrayContaining(outcomes));
  });

  it('passes on a refusal of the remote and refuses bad branch names', async () => {
    const { bare, publish } = await prepared();
    writeFileSync(join(bare, 'hooks/pre-receive'), '#!/bin/sh\necho no entry >&2\nexit 1\n', { mode: 0o755 });
    await expect(publishBranch(publish)).rejects.toThrow(/no entry/);
    for (const branch of ['-f', 'a..b', 'a b', '', 'a:b'])
      await expect(publishBranch({ ...publish, branch })).rejects.toThrow('not a branch name');
  });
});
