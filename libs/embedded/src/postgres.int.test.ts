import { spawn, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { EmbeddedError } from './embedded-error.js';
import { freePort } from './free-port.js';
import { startPostgres, startPostgresAs, type PostgresOptions, type PostgresServer } from './postgres.js';
import { otherUser } from './server-identity.js';

const isRoot = process.getuid?.() === 0;
const folders: string[] = [];
const servers: PostgresServer[] = [];

function newDataDir(): string {
  const folder = mkdtempSync(join(tmpdir(), 'plumb-postgres-'));
  folders.push(folder);
  return join(folder, 'data');
}

async function start(options: Partial<PostgresOptions> & { dataDir: string }): Promise<PostgresServer> {
  const server = await startPostgres({ superuserPassword: "s3cret'/@:%", fsync: false, ...options });
  servers.push(server);
  return server;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.query(sql)).rows;
  } finally {
    await client.end().catch(() => {});
  }
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: unknown) => (error instanceof EmbeddedError ? error.code : `not ours: ${String(error)}`),
  );

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

describe('startPostgres', () => {
  it('serves on loopback only, with password logins only', async () => {
    const server = await start({ dataDir: newDataDir() });
    expect(await query(server.url, 'select current_user as name')).toEqual([{ name: 'postgres' }]);
    expect(await query(server.url, 'show listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }]);
    expect(server.version).toMatch(/^\d+\.\d+$/);
    const wrong = new URL(server.url);
    wrong.password = 'wrong';
    await expect(query(wrong.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });
    const auth = readFileSync(join(server.dataDir, 'pg_hba.conf'), 'utf8');
    expect(auth).not.toMatch(/^[^#]*\btrust\b/m);
  });

  it('keeps committed rows through SIGKILL and through a clean stop', async () => {
    const dataDir = newDataDir();
    const first = await start({ dataDir });
    await query(first.url, 'create table kept (n int); insert into kept values (1)');
    await first.kill();
    expect((await first.exited).signal).toBe('SIGKILL');
    const second = await start({ dataDir });
    await query(second.url, 'insert into kept values (2)');
    expect(await second.stop()).toBe(true);
    expect((await second.exited).code).toBe(0);
    const third = await start({ dataDir });
    expect(await query(third.url, 'select n from kept order by n')).toEqual([{ n: 1 }, { n: 2 }]);
  });

  it('restarts at once while a backend of the killed server is still busy', async () => {
    const dataDir = newDataDir();
    const first = await start({ dataDir });
    // A loop that never waits does not notice the death of the postmaster, and keeps the database's shared memory.
    const busy = query(first.url, 'do $$ begin for i in 1..40000000 loop end loop; end $$').catch(() => 'cut');
    const active = "select 1 from pg_stat_activity where query like 'do %' and state = 'active'";
    await expect.poll(() => query(first.url, active)).toHaveLength(1);
    await first.kill();
    const second = await start({ dataDir });
    expect(await query(second.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    await busy;
  });

  it('starts although the pid of the killed server now belongs to another process', async () => {
    const dataDir = newDataDir();
    const first = await start({ dataDir });
    await first.kill();
    const stranger = spawn('sleep', ['60']);
    try {
      const file = join(dataDir, 'postmaster.pid');
      writeFileSync(file, readFileSync(file, 'utf8').replace(/^\d+/, String(stranger.pid)));
      const second = await start({ dataDir });
      expect(await query(second.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    } finally {
      stranger.kill();
    }
  });

  it('runs two at once on their own ports', async () => {
    const [one, two] = await Promise.all([start({ dataDir: newDataDir() }), start({ dataDir: newDataDir() })]);
    expect(one.port).not.toBe(two.port);
    expect(await query(one.url, 'select 1 as one')).toEqual(await query(two.url, 'select 1 as one'));
  });

  it('removes an ephemeral database when it stops', async () => {
    const server = await start({ dataDir: newDataDir(), ephemeral: true });
    expect(await query(server.url, 'show fsync')).toEqual([{ fsync: 'off' }]);
    await server.stop();
    expect(existsSync(server.dataDir)).toBe(false);
  });

  it.runIf(isRoot)('drops to another user where user namespaces are forbidden', async () => {
    const folder = mkdtempSync('/tmp/plumb-other-');
    folders.push(folder);
    execFileSync('chmod', ['777', folder]);
    const dataDir = join(folder, 'data');
    const options = { dataDir, superuserPassword: 'x', fsync: false };
    const identity = otherUser();
    const outcome = await startPostgresAs(identity, options).catch((error: EmbeddedError) => error);
    if (outcome instanceof Error) {
      // The binaries lie in a folder only root may enter: then this sentence is the right answer.
      expect(outcome).toMatchObject({ code: 'root-refused', mend: expect.stringContaining('ordinary user') as string });
      return;
    }
    servers.push(outcome);
    expect(identity.kind).toBe('other-user');
    expect(await query(outcome.url, 'select 1 as one')).toEqual([{ one: 1 }]);
  });
});

describe('startPostgres refuses, each time by name', () => {
  it('a taken port', async () => {
    const port = await freePort();
    const squatter = createServer().listen(port, '127.0.0.1');
    try {
      const refusal = start({ dataDir: newDataDir(), port });
      await expect(refusal).rejects.toMatchObject({
        code: 'port-taken',
        retry: 'later',
        message: expect.stringContaining(String(port)) as string,
      });
    } finally {
      squatter.close();
    }
  });

  it('a folder in use by a live server, which goes on', async () => {
    const dataDir = newDataDir();
    const first = await start({ dataDir });
    const refusal = start({ dataDir });
    await expect(refusal).rejects.toMatchObject({
      code: 'data-dir-in-use',
      message: expect.stringContaining(`process ${first.pid} on port ${first.port}`) as string,
    });
    expect(await query(first.url, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('all but one of several first starts on one folder', async () => {
    const dataDir = newDataDir();
    const codes = await Promise.all([1, 2, 3].map(() => codeOf(start({ dataDir }))));
    expect(codes.sort()).toEqual(['data-dir-in-use', 'data-dir-in-use', 'no error']);
    expect(readdirSync(join(dataDir, '..'))).toEqual(['data']);
  });

  it('a folder made with another password', async () => {
    const dataDir = newDataDir();
    await (await start({ dataDir })).stop();
    expect(await codeOf(start({ dataDir, superuserPassword: 'other' }))).toBe('wrong-password');
    await expect(start({ dataDir })).resolves.toBeDefined();
  });

  it('data of another major version', async () => {
    const dataDir = newDataDir();
    await (await start({ dataDir })).stop();
    writeFileSync(join(dataDir, 'PG_VERSION'), '13\n');
    await expect(start({ dataDir })).rejects.toMatchObject({
      code: 'data-dir-other-version',
      message: expect.stringContaining('Postgres 13') as string,
    });
  });

  it('a folder with foreign files, which it leaves alone', async () => {
    const dataDir = newDataDir();
    mkdirSync(dataDir);
    writeFileSync(join(dataDir, 'letter.txt'), 'dear');
    expect(await codeOf(start({ dataDir }))).toBe('data-dir-foreign');
    expect(readdirSync(dataDir)).toEqual(['letter.txt']);
  });

  it('a setting the server does not know, quoting its log', async () => {
    const refusal = start({ dataDir: newDataDir(), settings: { no_such_setting: '1' } });
    await expect(refusal).rejects.toMatchObject({
      code: 'start-failed',
      log: expect.stringContaining('no_such_setting') as string,
    });
  });

  it.runIf(isRoot)('a full disk', async ({ skip }) => {
    const folder = mkdtempSync(join(tmpdir(), 'plumb-full-'));
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'none', folder], { stdio: 'ignore' });
    } catch {
      rmSync(folder, { recursive: true });
      skip('this machine does not let us mount a small file system');
    }
    try {
      expect(await codeOf(start({ dataDir: join(folder, 'data') }))).toBe('disk-full');
    } finally {
      execFileSync('umount', [folder]);
      rmSync(folder, { recursive: true });
    }
  });
});
