import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { findGroupRoot } from './control-group.js';
import { nodeToolchain } from './node-toolchain.js';
import { openSandbox } from './open-sandbox.js';
import type { Limits, RunSpec, Sandbox } from './sandbox.js';

const bwrapPath = [
  process.env['BWRAP_BIN'],
  resolve('.tools/bin/bwrap'),
  '/usr/bin/bwrap',
  '/usr/local/bin/bwrap',
].find((path) => path !== undefined && existsSync(path));
const LIMITS: Limits = {
  ...{ wallMs: 20_000, memoryBytes: 512 << 20, pids: 64, outputBytes: 1 << 20, tmpBytes: 16 << 20, fileBytes: 8 << 20 },
};
let sandbox: Sandbox;
let work: string;

const run = (argv: string[], more: Partial<Omit<RunSpec, 'limits'>> & { limits?: Partial<Limits> } = {}) =>
  sandbox.run({
    ...{ argv, cwd: '/work', mounts: [{ host: work, inside: '/work', mode: 'rw' }], env: {}, network: 'none' },
    ...more,
    limits: { ...LIMITS, ...more.limits },
  });
const sh = (script: string, more: Parameters<typeof run>[1] = {}) => run(['/bin/sh', '-c', script], more);
const node = (script: string, more: Parameters<typeof run>[1] = {}) => {
  const toolchain = nodeToolchain(process.execPath);
  const mounts = [{ host: work, inside: '/work', mode: 'rw' as const }, ...(toolchain ? [toolchain.mount] : [])];
  const env = { PATH: `${toolchain ? `${toolchain.pathEntry}:` : ''}/usr/bin:/bin` };
  return run(['node', '-e', script], { mounts, env, ...more });
};

/** Groups of runs of this very process that still exist. */
async function leftGroups(): Promise<string[]> {
  const root = await findGroupRoot();
  if (root === null) return [];
  return [root.memory, root.pids].flatMap((dir) =>
    readdirSync(dir).filter((name) => name.startsWith(`plumbline-run-${process.pid}-`)),
  );
}

/** Commands of all processes of this machine. */
const commandLines = () =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    });

beforeAll(async () => {
  sandbox = await openSandbox(bwrapPath === undefined ? {} : { bwrapPath });
});
beforeEach(() => {
  work = realpathSync(mkdtempSync(join(tmpdir(), 'sandbox-test-')));
});
afterEach(() => rmSync(work, { recursive: true, force: true }));
afterAll(async () => expect(await leftGroups()).toEqual([]));

describe('what the payload can see', () => {
  it('has the loopback interface and nothing else', async () => {
    const { stdout } = await sh('cat /proc/net/dev; cat /proc/net/route');
    expect([...stdout.matchAll(/^\s*(\w+):/gm)].map((match) => match[1])).toEqual(['lo']);
    expect(stdout).not.toMatch(/^eth|^en/m);
  });

  it('cannot reach a server that listens on this machine', async () => {
    let reached = 0;
    const server = createServer(() => (reached += 1)).listen(0, '127.0.0.1');
    await new Promise((done) => server.once('listening', done));
    const { port } = server.address() as { port: number };
    const result = await node(
      `require('net').connect(${port}, '127.0.0.1').on('error', (e) => { console.log(e.code); process.exit(7); })`,
    );
    expect(result).toMatchObject({ exitCode: 7, stdout: 'ECONNREFUSED\n' });
    expect(reached).toBe(0);
    server.close();
  });

  it('sees no home directory, no root directory and no system configuration of this machine', async () => {
    const { stdout } = await sh(
      'ls -A /; echo --; ls -A /home /home/*; echo --; ls -A /etc; ls /root; cat /etc/shadow; ls /sys; ls /var',
    );
    const [root, home, etc] = stdout.split('--\n');
    expect(root?.trim().split('\n')).not.toEqual(expect.arrayContaining(['root']));
    for (const name of ['root', 'sys', 'var', 'run', 'mnt', 'srv', 'oldroot'])
      expect(root?.split('\n')).not.toContain(name);
    expect(home).toBe('/home:\nwork\n\n/home/work:\n');
    const allowed = [
      'alternatives',
      'group',
      'hosts',
      'ld.so.cache',
      'ld.so.conf',
      'ld.so.conf.d',
      'nsswitch.conf',
      'passwd',
    ];
    expect(allowed).toEqual(expect.arrayContaining((etc ?? '').trim().split('\n')));
  });

  it('sees only its own processes, and not those of this machine', async () => {
    const { stdout } = await sh('for p in /proc/[0-9]*; do tr "\\0" " " < $p/cmdline; echo; done');
    expect(stdout).not.toContain('vitest');
    expect(stdout.trim().split('\n').length).toBeLessThan(6);
  });

  it('gets exactly the environment it was given', async () => {
    const { stdout } = await run(['env'], { env: { GREETING: 'a=b c\nd' } });
    expect(stdout.replace('GREETING=a=b c\nd\n', '').trim().split('\n').sort()).toEqual(
      ['HOME=/home/work', 'LANG=C.UTF-8', 'PATH=/usr/local/bin:/usr/bin:/bin', 'PWD=/work', 'TMPDIR=/tmp'].sort(),
    );
    expect(stdout).toContain('GREETING=a=b c\nd\n');
  });

  it('does not show environment values in the process list of this machine', async () => {
    const seen: string[] = [];
    await sh('echo ready; sleep 0.2', { env: { HIDDEN: 'xyzzy-plugh' }, onOutput: () => seen.push(...commandLines()) });
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.join('\n')).not.toContain('xyzzy-plugh');
  });

  it('inherits no descriptor that leads outside', async () => {
    const { stdout } = await sh('for fd in /proc/self/fd/*; do readlink $fd; done > /tmp/open; cat /tmp/open');
    const others = stdout.split('\n').filter((line) => !/^(socket:.*|\/dev\/null|\/tmp\/open|\/proc\/.*|)$/.test(line));
    expect(others).toEqual([]);
  });

  it('passes arguments and input verbatim', async () => {
    const { stdout } = await run(['printf', '%s|', '$(id)', '`id`', '; id', '-n', "'", '\n']);
    expect(stdout).toBe("$(id)|`id`|; id|-n|'|\n|");
    expect((await run(['cat'], { stdin: 'café\n' })).stdout).toBe('café\n');
  });
});

describe('what the payload can do', () => {
  it('holds no capability and cannot gain namespaces or mounts', async () => {
    const { stdout } = await sh(
      'grep Cap /proc/self/status; unshare -U true && echo nested; mount -t tmpfs t /tmp && echo mounted; id -u',
    );
    expect(stdout.match(/Cap\w+:\s+0{16}\n/g)).toHaveLength(5);
    expect(stdout.split('\n').slice(5)).toEqual(['1000', '']);
  });

  it('finds no writable kernel file, also when started by root', async () => {
    // Looks, never writes: a probe that succeeded would change a setting of the whole machine.
    const { stdout } = await sh('find /proc -writable ! -type l ! -exec test -c {} \\; -print 2>/dev/null; echo end');
    expect(stdout).toBe('end\n');
  });

  it('reads no kernel file that only the administrator may read', async () => {
    const { stdout } = await sh(
      'for f in /proc/*; do [ -f $f ] && [ "$(stat -c %a $f)" = 400 ] && echo $f; done; head -c 1 /proc/kpageflags /proc/keys',
    );
    expect(stdout).toBe('');
  });

  it('writes nowhere but to writable mounts and its own temporary file systems', async () => {
    const shared = realpathSync(mkdtempSync(join(tmpdir(), 'sandbox-ro-')));
    const mounts = [
      { host: work, inside: '/work', mode: 'rw' as const },
      { host: shared, inside: '/shared', mode: 'ro' as const },
    ];
    const places = '/ /usr /usr/local /usr/bin /etc /opt /dev /shared /home /work /tmp /home/work /dev/shm';
    const probe = `for d in ${places}; do [ -w $d ] && echo $d; done; for d in /shared /work; do (echo x > $d/probe) 2>/dev/null; done`;
    const { stdout } = await sh(probe, { mounts });
    expect(stdout.trim().split('\n')).toEqual(['/work', '/tmp', '/home/work', '/dev/shm']);
    expect(readdirSync(shared)).toEqual([]);
    expect(readdirSync(work)).toEqual(['probe']);
    rmSync(shared, { recursive: true });
  });

  it('leaves files that belong to the user who started it', async () => {
    await sh('mkdir d; echo x > d/f');
    expect(statSync(join(work, 'd/f')).uid).toBe(process.getuid?.());
  });

  it('reaches only the inside through symbolic links it plants', async () => {
    const secret = join(realpathSync(tmpdir()), `sandbox-secret-${process.pid}`);
    writeFileSync(secret, 'host secret');
    const { stdout } = await sh(`ln -s ${secret} a; ln -s /etc/passwd b; ln -s ../../../../root c; cat a; cat b; ls c`);
    expect(stdout).not.toContain('host secret');
    expect(stdout).toMatch(/^root:x:0:0:root:\/nonexistent/);
    rmSync(secret);
  });

  it('cannot signal a process outside', async () => {
    // Signal 0 asks for permission only: the probe stays harmless should the sandbox ever fail here.
    const { stdout } = await sh(
      `kill -0 ${process.pid} && echo reached; kill -0 ${process.ppid} && echo reached; echo end`,
    );
    expect(stdout).toBe('end\n');
  });
});

describe('limits', () => {
  it('kills the whole tree at the wall clock, detached grandchildren included', async () => {
    const marker = `8${process.pid}1`;
    const result = await sh(`(setsid sleep ${marker} &) ; sleep ${marker}`, { limits: { wallMs: 700 } });
    expect(result).toMatchObject({ outcome: 'timed-out', payloadRan: true, exitCode: null });
    expect(result.durationMs).toBeLessThan(3_000);
    expect(commandLines().filter((line) => line.includes(marker))).toEqual([]);
  });

  it('does not wait for what the payload left in the background', async () => {
    const marker = `8${process.pid}2`;
    const result = await sh(`(setsid sleep ${marker} &) ; echo done`);
    expect(result).toMatchObject({ outcome: 'exited', exitCode: 0, stdout: 'done\n' });
    expect(commandLines().filter((line) => line.includes(marker))).toEqual([]);
  });

  it('bounds how many processes can be started', async (context) => {
    if (!sandbox.isolation.includes('control groups v')) return context.skip();
    // 150 sleepers at most: enough to pass the limit of 40, and no harm to this machine should the limit ever fail.
    const script = `const { spawn } = require('child_process'); let up = 0, down = 0;
      for (let i = 0; i < 150; i++) { const c = spawn('sleep', ['3']); c.on('spawn', () => up++); c.on('error', () => down++); }
      setTimeout(() => { console.log(JSON.stringify({ up, down })); process.exit(0); }, 500);`;
    const result = await node(script, { limits: { pids: 40 } });
    const { up, down } = JSON.parse(result.stdout) as { up: number; down: number };
    expect(up).toBeGreaterThan(5);
    expect(up).toBeLessThan(40);
    expect(up + down).toBe(150);
    expect((await sh('echo fine')).stdout).toBe('fine\n');
  });

  it('reports a memory hog as out of memory, or says that it cannot', async () => {
    const hog = `const kept = []; for (let i = 0; i < 64; i++) kept.push(Buffer.alloc(8 << 20, 1)); console.log('all');`;
    const result = await node(hog, { limits: { memoryBytes: 160 << 20 } });
    if (sandbox.isolation.includes('control groups v')) {
      expect(result).toMatchObject({ outcome: 'oom', payloadRan: true });
      expect(result.oomKills).toBeGreaterThan(0);
    } else {
      expect(sandbox.isolation).toContain('out-of-memory not observable');
      expect(result.exitCode).not.toBe(0);
    }
  });

  it('calls it out of memory also when only a child was killed and the payload ended well', async (context) => {
    if (!sandbox.isolation.includes('control groups v')) return context.skip();
    const script =
      "const r = require('child_process').spawnSync(process.execPath, ['-e', 'const k=[];for(let i=0;i<64;i++)k.push(Buffer.alloc(8<<20,1))']); console.log(r.signal)";
    const result = await node(script, { limits: { memoryBytes: 256 << 20 } });
    expect(result).toMatchObject({ outcome: 'oom', exitCode: 0, stdout: 'SIGKILL\n' });
  });

  it('cuts an output flood and keeps the beginning', async () => {
    const result = await sh('yes flood', { limits: { outputBytes: 10_000 } });
    expect(result).toMatchObject({ outcome: 'output-limit', truncated: true, payloadRan: true });
    expect(result.stdout).toHaveLength(10_000);
  });

  it('limits the size of files and of temporary file systems', async () => {
    const large = await sh('head -c 9000000 /dev/zero > big');
    expect(large.exitCode).toBe(128 + 25);
    expect(statSync(join(work, 'big')).size).toBeLessThanOrEqual(LIMITS.fileBytes);
    const many = await sh('for i in 1 2 3 4 5 6 7 8; do head -c 4000000 /dev/zero > /tmp/$i || exit 9; done');
    expect(many).toMatchObject({ outcome: 'exited', exitCode: 9 });
    expect(many.stderr).toContain('No space left');
  });
});

describe('ends', () => {
  it('reports exit codes and signals of the payload', async () => {
    expect(await sh('exit 3')).toMatchObject({ outcome: 'exited', payloadRan: true, exitCode: 3 });
    expect(await sh('kill -TERM $$')).toMatchObject({ outcome: 'exited', exitCode: 143 });
    expect(await sh('exit 137')).toMatchObject({ exitCode: 137, fault: { kind: 'unknown' } });
  });

  it('does not believe a payload that prints what bubblewrap would print', async () => {
    const result = await sh(`echo 'bwrap: execvp x: No such file or directory' >&2; echo '{ "exit-code": 0 }'; exit 1`);
    expect(result).toMatchObject({ outcome: 'exited', payloadRan: true, exitCode: 1 });
    expect(result.fault).toBeUndefined();
  });

  it('tells a missing program (the change) from a missing mount (this machine)', async () => {
    const program = await run(['no-such-program']);
    expect(program).toMatchObject({ outcome: 'not-started', payloadRan: false, fault: { kind: 'change' } });
    expect(program.fault?.what).toContain('no-such-program');
    const mount = await run(['true'], { mounts: [{ host: join(work, 'gone'), inside: '/work', mode: 'ro' }] });
    expect(mount).toMatchObject({ outcome: 'not-started', payloadRan: false, fault: { kind: 'infra' } });
    expect(mount.fault?.what).toContain(join(work, 'gone'));
    const cwd = await run(['true'], { cwd: '/work/nowhere' });
    expect(cwd).toMatchObject({ outcome: 'not-started', fault: { kind: 'unknown' } });
  });

  it('refuses mount sources and mount places that lead through symbolic links', async () => {
    symlinkSync('/root', join(work, 'link'));
    const source = await run(['ls', '/x'], { mounts: [{ host: join(work, 'link'), inside: '/x', mode: 'ro' }] });
    expect(source).toMatchObject({ outcome: 'not-started', fault: { kind: 'infra' } });
    for (const target of ['/oldroot/root', '/etc', 'missing']) {
      rmSync(join(work, 'place'), { force: true });
      symlinkSync(target, join(work, 'place'));
      const nested = await run(['true'], {
        mounts: [
          { host: work, inside: '/work', mode: 'rw' },
          { host: work, inside: '/work/place', mode: 'ro' },
        ],
      });
      expect(nested).toMatchObject({ outcome: 'not-started', fault: { kind: 'change' } });
    }
  });

  it('allows a read-only mount inside a writable one', async () => {
    mkdirSync(join(work, 'deps'));
    const deps = realpathSync(mkdtempSync(join(tmpdir(), 'sandbox-deps-')));
    writeFileSync(join(deps, 'lib'), 'x');
    const mounts = [
      { host: deps, inside: '/work/deps', mode: 'ro' as const },
      { host: work, inside: '/work', mode: 'rw' as const },
    ];
    expect((await sh('cat deps/lib; echo y > deps/lib; echo z > own', { mounts })).stdout).toBe('x');
    expect(readFileSync(join(deps, 'lib'), 'utf8')).toBe('x');
    rmSync(deps, { recursive: true });
  });

  it('stops on abort, before and during a run, and leaves nothing', async () => {
    const controller = new AbortController();
    const marker = `8${process.pid}3`;
    const running = sh(`echo up; (setsid sleep ${marker} &); sleep ${marker}`, {
      signal: controller.signal,
      onOutput: () => controller.abort(),
    });
    expect(await running).toMatchObject({ outcome: 'aborted', payloadRan: true, stdout: 'up\n' });
    expect(await sh('true', { signal: controller.signal })).toMatchObject({ outcome: 'aborted', payloadRan: false });
    expect(commandLines().filter((line) => line.includes(marker))).toEqual([]);
    expect(await leftGroups()).toEqual([]);
  });

  it('survives an abort at any moment of the start', async () => {
    for (const delayMs of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20]) {
      const result = await sh('sleep 30', { signal: AbortSignal.timeout(delayMs) });
      expect(result.outcome).toBe('aborted');
    }
    expect(await leftGroups()).toEqual([]);
  });

  it('keeps two runs apart', async () => {
    const twin = (own: string, other: string) =>
      sh(
        `echo ${own} > /tmp/${own}; sleep 0.3; ls /tmp; ls /tmp/${other} && echo leaked; grep -l ${other} /proc/[0-9]*/environ`,
        {
          env: { TWIN: own },
        },
      );
    const [left, right, quick] = await Promise.all([twin('left', 'right'), twin('right', 'left'), sh('exit 5')]);
    expect(left.stdout).toBe('left\n');
    expect(right.stdout).toBe('right\n');
    expect(quick.exitCode).toBe(5);
  });
});

describe('nodeToolchain', () => {
  it('runs the same Node.js inside, read-only', async () => {
    const result = await node('console.log(process.version)');
    expect(result.stdout.trim()).toBe(process.version);
  });
});

describe('this machine without control groups', () => {
  it('says so, and still runs', async () => {
    const plain = await openSandbox({ ...(bwrapPath === undefined ? {} : { bwrapPath }), controlGroups: 'off' });
    expect(plain.isolation).toContain('memory limited PER PROCESS');
    const spec: RunSpec = {
      argv: ['sh', '-c', 'ulimit -d; ulimit -f'],
      cwd: '/',
      mounts: [],
      env: {},
      network: 'none',
      limits: LIMITS,
    };
    const result = await plain.run(spec);
    expect(result.stdout.split('\n').slice(0, 2)).toEqual([
      String(LIMITS.memoryBytes / 1024),
      String(LIMITS.fileBytes / 512),
    ]);
  });
});

describe('a sandbox that is not there', () => {
  it('is refused, never replaced by a weaker one', async () => {
    await expect(openSandbox({ bwrapPath: '/nowhere/bwrap' })).rejects.toMatchObject({
      name: 'SandboxUnavailableError',
      retry: 'never',
    });
    const fake = join(work, 'bwrap');
    writeFileSync(
      fake,
      '#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.8.0 || { echo "bwrap: Creating new namespace failed" >&2; exit 1; }\n',
    );
    execFileSync('chmod', ['+x', fake]);
    await expect(openSandbox({ bwrapPath: fake })).rejects.toThrow(/Creating new namespace failed.*user namespaces/s);
  });

  it('lets a malformed specification fail loudly', async () => {
    await expect(run([])).rejects.toThrow('argv');
    await expect(run(['true'], { cwd: 'work' })).rejects.toThrow('cwd');
    await expect(run(['true'], { mounts: [{ host: '/root', inside: '/etc/x', mode: 'ro' }] })).rejects.toThrow('/etc');
    await expect(run(['true'], { env: { 'A=B': 'x' } })).rejects.toThrow('env');
    await expect(run(['true'], { limits: { wallMs: 0 } })).rejects.toThrow('wallMs');
  });
});
