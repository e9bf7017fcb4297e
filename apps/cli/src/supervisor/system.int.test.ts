import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '@nats-io/transport-node';
import { freePort } from '@plumbline/embedded';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { homeAt, makeHome, type Home } from '../system/home.js';
import { identityOf, isRunning } from '../system/process-identity.js';
import { systemState, writeRunFile, type RunFile } from '../system/run-file.js';
import { writeSettings } from '../system/settings.js';
import { withClient } from './databases.js';
import type { ServicePlan } from './service-process.js';
import { System, type SystemEvent, type SystemPlan } from './system.js';

const stub = fileURLToPath(new URL('./stub-service.fixture.mjs', import.meta.url));
const alive = new AbortController().signal;
let home: Home;
let systems: System[];
let events: SystemEvent[];

beforeEach(() => {
  home = homeAt(mkdtempSync(join(tmpdir(), 'plumb-system-')));
  systems = [];
  events = [];
});
afterEach(async () => {
  for (const system of systems) await system.stop();
  rmSync(home.folder, { recursive: true, force: true });
});

/** Environments the stubs were started with, by name, so that a test can see who was told what. */
const told = new Map<string, Readonly<Record<string, string>>>();

function plan(behaviours: Record<string, string> = {}, change: Partial<SystemPlan> = {}): SystemPlan {
  return {
    root: '/nowhere',
    home,
    env: { PATH: process.env['PATH'] },
    models: [],
    ephemeral: true,
    restarts: { firstDelayMs: 20, maxDelayMs: 50, provenAfterMs: 60_000 },
    planOf: (name, input, connections): ServicePlan => {
      const env = {
        STUB: behaviours[name] ?? 'ready',
        STUB_NAME: name,
        PATH: process.env['PATH'] ?? '',
        PLUMB_HTTP_PORT: name === 'ledger' ? String(connections.apiPort) : '0',
        ...connections.nats[name],
        database: connections.databaseUrl,
        admin: connections.databaseAdminUrl ?? '',
        nats: connections.natsUrl,
      };
      told.set(name, env);
      const logPath = join(input.home.logs, `${name}.log`);
      return {
        name,
        command: [process.execPath, stub],
        env,
        cwd: input.home.work,
        logPath,
        readyTimeoutMs: 20_000,
        stopPatienceMs: 5_000,
      };
    },
    ...change,
  };
}

async function start(given: SystemPlan = plan(), signal = alive): Promise<System> {
  const system = await System.start(given, (event) => events.push(event), signal);
  systems.push(system);
  return system;
}

const pids = (run: RunFile): number[] => run.processes.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));

async function until(what: () => boolean): Promise<void> {
  for (let tries = 0; !what(); tries += 1) {
    if (tries > 400) throw new Error('it did not happen');
    await sleep(25);
  }
}

describe('a system', () => {
  it('comes up in order with a login for each service, and goes down leaving nothing', async () => {
    const system = await start();
    const { run } = system;
    expect(systemState(home)).toMatchObject({ is: 'running', run: { state: 'up' } });
    expect(run.processes.map(({ name, state }) => [name, state])).toEqual(
      ['postgres', 'nats', 'ledger', 'scheduler', 'coder', 'gate', 'reviewer', 'node-agent', 'code-host']
        .map((name) => [name, 'running'])
        .sort(byServersFirst(run)),
    );
    for (const path of [home.runFile, home.secretsFile]) expect(statSync(path).mode & 0o077).toBe(0);
    expect(statSync(home.folder).mode & 0o777).toBe(0o700);
    const ready = events.flatMap((event) => (event.type === 'ready' ? [event.name] : []));
    expect(ready.indexOf('ledger')).toBeGreaterThan(Math.max(ready.indexOf('postgres'), ready.indexOf('nats')));
    expect(ready.indexOf('scheduler')).toBeGreaterThan(ready.indexOf('ledger'));
    expect(ready.indexOf('coder')).toBeGreaterThan(ready.indexOf('scheduler'));

    const gate = told.get('gate')!;
    const asGate = await connect({
      servers: gate['nats']!,
      user: gate['user']!,
      pass: gate['password']!,
      reconnect: false,
    });
    await asGate.close();
    await expect(
      connect({ servers: gate['nats']!, user: 'gate', pass: told.get('coder')!['password']!, reconnect: false }),
    ).rejects.toThrow(/authorization/i);
    await withClient(told.get('ledger')!['admin']!, async (client) => {
      expect((await client.query('select current_database() as name')).rows).toEqual([{ name: 'plumbline' }]);
    });
    expect(told.get('ledger')!['database']).toContain('//plumb_ledger:');

    await system.stop();
    expect(systemState(home)).toEqual({ is: 'absent' });
    for (const pid of pids(run)) expect(identityOf(pid)).toBeUndefined();
    const stopping = events.flatMap((event) => (event.type === 'stopping' ? [event.name] : []));
    expect(stopping.indexOf('ledger')).toBeGreaterThan(stopping.indexOf('coder'));
    expect(stopping.indexOf('postgres')).toBeGreaterThan(stopping.indexOf('ledger'));
  });

  it('starts a service and a server again that were killed, on their old addresses', async () => {
    const system = await start();
    const before = system.run;
    const victims = before.processes.filter(({ name }) => ['gate', 'nats', 'ledger'].includes(name));
    for (const { pid } of victims) process.kill(pid!, 'SIGKILL');
    const back = (name: string): boolean =>
      system.run.processes.some((entry) => entry.name === name && entry.restarts === 1 && entry.state === 'running');
    await until(() => ['gate', 'nats', 'ledger'].every(back));
    expect(system.run.api).toEqual(before.api);
    expect(await (await fetch(before.api!.url)).text()).toBe('ok');
    const again = await connect({
      servers: before.nats!.url,
      user: before.nats!.user.name,
      pass: before.nats!.user.password,
    });
    await again.close();
    expect(systemState(home)).toMatchObject({ is: 'running', run: { processes: system.run.processes } });
  });

  it('comes up again on the same ports with the same secrets', async () => {
    const first = await start();
    const { api, nats } = first.run;
    await first.stop();
    const second = await start();
    expect(second.run).toMatchObject({ api, nats });
  });
});

describe('a start that fails', () => {
  it('half-way stops what it started and quotes the culprit', async () => {
    const failure = await start(plan({ gate: 'fail' })).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      message: 'The service gate ended while starting (exit code 2).',
      detail: expect.arrayContaining(['cannot start: the moon is in the way']) as string[],
      mend: expect.stringContaining('gate.log') as string,
    });
    expect(systemState(home)).toEqual({ is: 'absent' });
    expect(existsSync(home.lockFile)).toBe(false);
    const log = readFileSync(join(home.logs, 'ledger.log'), 'utf8');
    expect(log).toMatch(/ready[^]*bye/);
    await start();
  });

  it('by interruption stops what it started', async () => {
    const stop = new AbortController();
    const started = System.start(
      plan({ scheduler: 'silent' }),
      (event) => {
        if (event.type === 'starting' && event.name === 'scheduler') stop.abort();
      },
      stop.signal,
    );
    await expect(started).rejects.toMatchObject({ name: 'Interrupted' });
    expect(systemState(home)).toEqual({ is: 'absent' });
  });

  it('because a port that was asked for is taken names the port and who has it', async () => {
    const port = await freePort();
    const squatter = createServer().listen(port, '127.0.0.1');
    try {
      makeHome(home);
      writeSettings(home, { ports: { nats: { port, asked: true } } });
      const who = process.platform === 'linux' ? ` by .+ \\(process ${process.pid}\\)` : '';
      await expect(start()).rejects.toMatchObject({
        message: expect.stringMatching(new RegExp(`^Port ${port}, asked for NATS, is taken${who}\\.$`)) as string,
      });
      writeSettings(home, { ports: { nats: { port, asked: false } } });
      const system = await start();
      expect(system.run.nats?.url).not.toContain(String(port));
    } finally {
      squatter.close();
    }
  });
});

describe('a home', () => {
  it('has one supervisor at a time, and another home has its own', async () => {
    await start();
    await expect(start()).rejects.toMatchObject({ message: expect.stringContaining('already runs') as string });
    const other = homeAt(mkdtempSync(join(tmpdir(), 'plumb-system-')));
    try {
      const beside = await System.start(plan({}, { home: other }), () => {}, alive);
      await beside.stop();
    } finally {
      rmSync(other.folder, { recursive: true, force: true });
    }
  });

  it('that a crash left is mended: what still runs is ended, strangers are left alone', async () => {
    const orphan = await start();
    const left = orphan.run;
    // As after SIGKILL of the supervisor on a machine whose kernel ends nothing by itself, with one process id given to a stranger since.
    const stranger = { name: 'gate', state: 'running', restarts: 0, pid: process.pid, started: 'another boot/1' };
    await orphan.stop();
    systems = [];
    const survivor = await import('node:child_process').then(({ spawn }) =>
      spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' }),
    );
    const survives = identityOf(survivor.pid!)!;
    const dead = { pid: 2 ** 22 - 3, started: 'gone' };
    writeRunFile(home, {
      ...left,
      supervisor: dead,
      processes: [{ name: 'coder', state: 'running', restarts: 0, ...survives }, stranger],
    });
    expect(systemState(home).is).toBe('stale');
    const system = await start();
    expect(isRunning(survives)).toBe(false);
    expect(system.run.state).toBe('up');
    expect(events).toContainEqual({ type: 'note', text: expect.stringContaining('ended without stopping') as string });
  });
});

/** Postgres and NATS start together, so their order in the file is not fixed. */
function byServersFirst(run: RunFile): (a: string[], b: string[]) => number {
  const order = run.processes.map(({ name }) => name);
  return (a, b) => order.indexOf(a[0]!) - order.indexOf(b[0]!);
}
