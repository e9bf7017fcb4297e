import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { startNats, stopNats } from './nats.js';
import { startPostgres, stopPostgres } from './postgres.js';
import { isAlive } from './server-process.js';

/** A process of its own that starts a server and then only waits. */
const STARTER = `
  import { runnerImport } from 'vite';
  const [entry, name, options] = process.argv.slice(1);
  const { module } = await runnerImport(entry, { logLevel: 'silent', configFile: false });
  const server = await module[name](JSON.parse(options));
  console.log(server.pid);
  setInterval(() => {}, 1 << 30);
`;
const ENTRY = fileURLToPath(new URL('index.ts', import.meta.url));

const folders: string[] = [];
const pids: number[] = [];

/** Starts a server from another process, kills that process with SIGKILL, and returns the server's pid. */
async function startAndKillStarter(name: 'startPostgres' | 'startNats', options: object): Promise<number> {
  const starter = spawn(
    process.execPath,
    ['--input-type=module', '-e', STARTER, ENTRY, name, JSON.stringify(options)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const exited = once(starter, 'exit');
  const failed = exited.then(() => Promise.reject(new Error('the starter ended before it said the pid')));
  const [line] = (await Promise.race([once(createInterface(starter.stdout), 'line'), failed])) as [string];
  failed.catch(() => {});
  pids.push(Number(line));
  starter.kill('SIGKILL');
  await exited;
  return Number(line);
}

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'plumb-parent-'));
  folders.push(folder);
  return join(folder, 'data');
}

afterEach(() => {
  for (const pid of pids.splice(0)) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

describe('a server whose starter is killed with SIGKILL', () => {
  it('Postgres shuts down cleanly', async () => {
    const dataDir = newFolder();
    const pid = await startAndKillStarter('startPostgres', { dataDir, superuserPassword: 'x', fsync: false });
    await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
    expect(existsSync(join(dataDir, 'postmaster.pid'))).toBe(false);
  });

  it('nats-server ends', async () => {
    const pid = await startAndKillStarter('startNats', { storeDir: newFolder() });
    await expect.poll(() => isAlive(pid), { timeout: 10_000 }).toBe(false);
  });
});

describe('a detached server whose starter is killed with SIGKILL', () => {
  it('Postgres goes on until stopped by its folder', async () => {
    const dataDir = newFolder();
    const options = { dataDir, superuserPassword: 'x', fsync: false };
    const pid = await startAndKillStarter('startPostgres', { ...options, detached: true });
    expect(isAlive(pid)).toBe(true);
    await expect(startPostgres(options)).rejects.toMatchObject({ code: 'data-dir-in-use' });
    expect(await stopPostgres({ dataDir })).toBe(true);
    expect(isAlive(pid)).toBe(false);
    expect(await stopPostgres({ dataDir })).toBe(false);
  });

  it('nats-server goes on until stopped by its folder', async () => {
    const storeDir = newFolder();
    const pid = await startAndKillStarter('startNats', { storeDir, detached: true });
    expect(isAlive(pid)).toBe(true);
    await expect(startNats({ storeDir })).rejects.toMatchObject({ code: 'data-dir-in-use' });
    expect(await stopNats({ storeDir })).toBe(true);
    expect(isAlive(pid)).toBe(false);
    expect(await stopNats({ storeDir })).toBe(false);
  });
});
