import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const LAUNCHER = join(dirname(dirname(fileURLToPath(import.meta.url))), 'plumb');
const LONG_AGO = new Date('2020-01-01');

/** A checkout that is ready, whose set-up only says that it ran and with which exit code it is to end. */
let root: string;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'plumb launcher ')));
  copyFileSync(LAUNCHER, join(root, 'plumb'));
  put('tools/setup.mjs', "console.log('set-up ran'); process.exitCode = Number(process.env.SETUP_CODE ?? 0);");
  put('tools/build.mjs', '');
  put('apps/cli/dist/main.js', 'console.log(JSON.stringify([process.env.PLUMBLINE_ROOT, ...process.argv.slice(2)]));');
  put('package.json', '{ "type": "module" }');
  for (const file of [
    'package-lock.json',
    'libs/a/src/a.ts',
    'services/a/src/a.ts',
    'tsconfig.json',
    'tsconfig.base.json',
  ])
    put(file, '{}');
  put('.tools/ready', `node ${process.execPath}\n`);
  // In the order of a real set-up: what is built is newer than the sources.
  execFileSync('find', [root, '-exec', 'touch', '-d', LONG_AGO.toISOString(), '{}', '+']);
  put('node_modules/.plumbline-lock', '');
  put('.tools/built', '');
});
afterEach(() => rmSync(root, { recursive: true }));

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

function launch({ path = join(root, 'plumb'), cwd = root, args = [] as string[], env = {} }) {
  const { stdout, stderr, status } = spawnSync(path, args, { cwd, env: { ...process.env, ...env }, encoding: 'utf8' });
  return { stdout: stdout.trim(), stderr: stderr.trim(), status };
}

describe('./plumb', () => {
  it('starts the command line with its arguments and does no set-up when nothing is to do', () => {
    expect(launch({ args: ['a b', '--c', ''] })).toEqual({
      stdout: JSON.stringify([root, 'a b', '--c', '']),
      stderr: '',
      status: 0,
    });
  });

  it('does not take the folders that the build makes for changed sources', () => {
    put('libs/a/dist/a.js', '');
    for (const folder of ['libs', 'libs/a', 'libs/a/dist'])
      utimesSync(join(root, folder), new Date(), new Date(Date.now() + 5000));
    expect(launch({})).toMatchObject({ stderr: '', status: 0 });
  });

  it('finds its checkout from any folder and through links to links', () => {
    symlinkSync('plumb', join(root, 'one'));
    symlinkSync(join(root, 'one'), join(root, 'libs', 'two'));
    expect(launch({ path: join(root, 'libs', 'two'), cwd: '/' }).stdout).toBe(JSON.stringify([root]));
    expect(launch({ path: '../plumb', cwd: join(root, 'libs') }).stdout).toBe(JSON.stringify([root]));
    expect(launch({ path: 'sh', args: ['plumb'] }).stdout).toBe(JSON.stringify([root]));
    const env = { PATH: `${root}/libs:${process.env['PATH']}`, CDPATH: '/:/tmp' };
    expect(launch({ path: 'two', cwd: '/', env }).stdout).toBe(JSON.stringify([root]));
  });

  it.each([
    ['nothing was ever set up', () => rmSync(join(root, '.tools'), { recursive: true })],
    ['dependencies are gone', () => rmSync(join(root, 'node_modules'), { recursive: true })],
    [
      'the lock file changed',
      () => utimesSync(join(root, 'package-lock.json'), new Date(), new Date(Date.now() + 5000)),
    ],
    ['a source changed', () => utimesSync(join(root, 'libs/a/src/a.ts'), new Date(), new Date(Date.now() + 5000))],
    [
      'a source was deleted',
      () => (rmSync(join(root, 'services/a/src/a.ts')), utimesSync(join(root, '.tools/built'), LONG_AGO, LONG_AGO)),
    ],
    ['a tool is gone', () => put('.tools/ready', `node ${process.execPath}\nnats-server /nowhere/nats-server\n`)],
    [
      'a tool is where this user does not look',
      () => put('.tools/ready', `node ${process.execPath}\nbwrap /proc/self/exe\n`),
    ],
    ['NATS_URL is no longer set', () => put('.tools/ready', `node ${process.execPath}\nNATS_URL -\n`)],
  ])('sets up first, on stderr, when %s', (_when, change) => {
    change();
    // The stub leaves no stamp; a real set-up does.
    put(
      'tools/setup.mjs',
      `import { mkdirSync, writeFileSync } from 'node:fs';
      mkdirSync('${root}/.tools', { recursive: true });
      writeFileSync('${root}/.tools/ready', 'node ${process.execPath}\\n');
      console.log('set-up ran');`,
    );
    const env = { NATS_URL: '' };
    expect(launch({ args: ['x'], env })).toEqual({
      stdout: JSON.stringify([root, 'x']),
      stderr: 'set-up ran',
      status: 0,
    });
  });

  it('goes on when only a tool could not be had, and stops when set-up failed', () => {
    utimesSync(join(root, 'libs/a/src/a.ts'), new Date(), new Date(Date.now() + 5000));
    expect(launch({ env: { SETUP_CODE: '3' } })).toMatchObject({ stdout: JSON.stringify([root]), status: 0 });
    expect(launch({ env: { SETUP_CODE: '1' } })).toEqual({ stdout: '', stderr: 'set-up ran', status: 1 });
  });

  it('says one clear sentence when there is no Node at all', () => {
    rmSync(join(root, '.tools'), { recursive: true });
    const outcome = launch({ path: '/bin/sh', args: [join(root, 'plumb')], env: { PATH: '/nowhere' } });
    expect(outcome).toMatchObject({
      stdout: '',
      status: 1,
      stderr: expect.stringMatching(/^Plumbline needs Node\.js 20[^\n]*$/) as string,
    });
  });
});
