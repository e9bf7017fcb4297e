import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findingOf, locate } from './locate.mjs';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'plumb-locate-'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** Puts a small program where a tool could be. */
function program(folder: string, name: string, script: string): string {
  mkdirSync(join(root, folder), { recursive: true });
  const path = join(root, folder, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe('locate nats-server', () => {
  it('takes the first of NATS_URL, NATS_SERVER_BIN, .tools, PATH', () => {
    const named = program('named', 'other-name', 'echo v1.0.0');
    const unpacked = program('.tools/bin', 'nats-server', 'echo "nats-server: v2.0.0"');
    const onPath = program('path', 'nats-server', 'echo v3.0.0');
    const PATH = `/nowhere::${join(root, 'path')}`;
    const all = { NATS_URL: 'nats://h:1', NATS_SERVER_BIN: named, PATH };
    expect(locate('nats-server', { root, env: all })).toMatchObject({ found: 'nats://h:1', how: 'NATS_URL' });
    const withoutUrl = { NATS_SERVER_BIN: named, PATH };
    expect(locate('nats-server', { root, env: withoutUrl })).toEqual({
      found: named,
      how: 'NATS_SERVER_BIN',
      version: '1.0.0',
    });
    expect(locate('nats-server', { root, env: { PATH } })).toEqual({
      found: unpacked,
      how: '.tools',
      version: '2.0.0',
    });
    rmSync(unpacked);
    expect(locate('nats-server', { root, env: { PATH } })).toEqual({ found: onPath, how: 'PATH', version: '3.0.0' });
  });

  it('passes over one that does not run, and names the missing library when none does', () => {
    program(
      '.tools/bin',
      'nats-server',
      'echo "nats-server: error while loading shared libraries: libodd.so.7: cannot open" >&2; exit 127',
    );
    const good = program('path', 'nats-server', 'echo v3.0.0');
    expect(locate('nats-server', { root, env: { PATH: join(root, 'path') } })).toMatchObject({ found: good });
    const located = locate('nats-server', { root, env: { PATH: '/nowhere' } });
    expect(located).toMatchObject({ missing: expect.stringContaining('libodd.so.7') as string });
    expect(findingOf('nats-server', located)).toMatchObject({
      state: 'broken',
      mend: expect.stringContaining('NATS_URL') as string,
    });
  });

  it('never replaces a binary that was asked for by name', () => {
    program('.tools/bin', 'nats-server', 'echo v2.0.0');
    const located = locate('nats-server', { root, env: { NATS_SERVER_BIN: '/nowhere/nats-server' } });
    expect(located).toEqual({
      missing: 'NATS_SERVER_BIN is /nowhere/nats-server, which is not an executable file.',
      mend: 'Correct or unset NATS_SERVER_BIN.',
    });
  });

  it('says what to do when there is none', () => {
    const finding = findingOf('nats-server', locate('nats-server', { root, env: { PATH: '' } }));
    expect(finding).toEqual({
      what: 'nats-server was found neither in .tools nor on PATH.',
      state: 'broken',
      mend: expect.stringMatching(/apt-get install nats-server.*NATS_URL/) as string,
    });
  });
});

describe('locate bwrap', () => {
  it('is found only if a sandbox really opens', () => {
    program(
      '.tools/bin',
      'bwrap',
      '[ "$1" = --version ] && echo "bubblewrap 9.9" && exit; echo "bwrap: No permissions to create new namespace" >&2; exit 1',
    );
    const located = locate('bwrap', { root, env: { PATH: '/nowhere' } });
    expect(located).toMatchObject({
      missing:
        'bwrap does not run: this machine forbids user namespaces (bwrap: No permissions to create new namespace).',
      mend: expect.stringContaining('sysctl') as string,
    });
  });
});
