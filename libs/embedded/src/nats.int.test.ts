import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort } from './free-port.js';
import { startNats, type NatsOptions, type NatsServer } from './nats.js';

const folders: string[] = [];
const servers: NatsServer[] = [];
const connections: NatsConnection[] = [];

function newStoreDir(): string {
  const folder = mkdtempSync(join(tmpdir(), 'plumb-nats-'));
  folders.push(folder);
  return join(folder, 'store');
}

async function start(options: NatsOptions): Promise<NatsServer> {
  const server = await startNats(options);
  servers.push(server);
  return server;
}

async function connectTo(server: NatsServer, user?: { user: string; pass: string }): Promise<NatsConnection> {
  const connection = await connect({ servers: server.url, reconnect: false, ...user });
  connections.push(connection);
  return connection;
}

afterEach(async () => {
  await Promise.all(connections.splice(0).map((connection) => connection.close()));
  await Promise.all(servers.splice(0).map((server) => server.stop()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

describe('startNats', () => {
  it('serves JetStream on ports of its own choice, on loopback only', async () => {
    const [one, two] = await Promise.all([start({ storeDir: newStoreDir() }), start({ storeDir: newStoreDir() })]);
    expect(one.port).not.toBe(two.port);
    const varz = (await (await fetch(`${one.monitorUrl}/varz`)).json()) as Record<string, unknown>;
    expect(varz).toMatchObject({ version: one.version, port: one.port, host: '127.0.0.1', http_host: '127.0.0.1' });
    expect(await (await jetstreamManager(await connectTo(two))).getAccountInfo()).toMatchObject({ streams: 0 });
  });

  it('keeps acknowledged messages through SIGKILL and through a clean stop', async () => {
    const storeDir = newStoreDir();
    const first = await start({ storeDir });
    const firstConnection = await connectTo(first);
    await (await jetstreamManager(firstConnection)).streams.add({ name: 'KEPT', subjects: ['kept'] });
    await jetstream(firstConnection).publish('kept', 'one');
    await first.kill();
    expect((await first.exited).signal).toBe('SIGKILL');

    const second = await start({ storeDir });
    await jetstream(await connectTo(second)).publish('kept', 'two');
    expect(await second.stop()).toBe(true);

    const manager = await jetstreamManager(await connectTo(await start({ storeDir })));
    expect((await manager.streams.info('KEPT')).state.messages).toBe(2);
  });

  it('takes users and permissions from the configuration and keeps it private', async () => {
    const configText =
      'authorization { users = [ { user: "a", password: "secret", permissions: { publish: "only.this" } } ] }';
    const server = await start({ storeDir: newStoreDir(), configText });
    await expect(connectTo(server)).rejects.toThrow(/authorization/i);
    await expect(connectTo(server, { user: 'a', pass: 'wrong' })).rejects.toThrow(/authorization/i);
    await connectTo(server, { user: 'a', pass: 'secret' });
    expect(statSync(join(server.storeDir, 'nats.conf')).mode & 0o077).toBe(0);
  });

  it('keeps its own address and takes limits from the configuration', async () => {
    const configText = 'listen: "0.0.0.0:4222"\njetstream { max_file_store: 64MB }';
    const server = await start({ storeDir: newStoreDir(), configText });
    const varz = (await (await fetch(`${server.monitorUrl}/varz`)).json()) as {
      host: string;
      jetstream: { config: object };
    };
    expect(varz.host).toBe('127.0.0.1');
    expect(varz.jetstream.config).toMatchObject({
      store_dir: join(server.storeDir, 'jetstream'),
      max_storage: 64 * 1024 * 1024,
    });
  });
});

describe('startNats refuses, each time by name', () => {
  it.each(['port', 'httpPort'] as const)('a taken %s', async (option) => {
    const port = await freePort();
    const squatter = createServer().listen(port, '127.0.0.1');
    try {
      const refusal = start({ storeDir: newStoreDir(), [option]: port });
      await expect(refusal).rejects.toMatchObject({
        code: 'port-taken',
        message: expect.stringContaining(String(port)) as string,
      });
    } finally {
      squatter.close();
    }
  });

  it('a store in use, and exactly one of several first starts wins', async () => {
    const storeDir = newStoreDir();
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => start({ storeDir })));
    const codes = outcomes.map((outcome) =>
      outcome.status === 'fulfilled' ? 'started' : (outcome.reason as { code: string }).code,
    );
    expect(codes.sort()).toEqual(['data-dir-in-use', 'data-dir-in-use', 'started']);
    await expect(start({ storeDir })).rejects.toMatchObject({
      code: 'data-dir-in-use',
      message: expect.stringMatching(/process \d+/) as string,
    });
  });

  it('starts in spite of a pid file that names a stranger', async () => {
    const storeDir = newStoreDir();
    await (await start({ storeDir })).kill();
    writeFileSync(join(storeDir, 'nats.pid'), String(process.pid));
    await expect(start({ storeDir })).resolves.toMatchObject({ storeDir });
  });

  it('a configuration it cannot read, quoting the place', async () => {
    const refusal = start({ storeDir: newStoreDir(), configText: 'authorization {\n  users = [' });
    await expect(refusal).rejects.toMatchObject({
      code: 'config-invalid',
      log: expect.stringContaining('line 2') as string,
    });
  });

  it('a configuration that names another store', async () => {
    const refusal = start({ storeDir: newStoreDir(), configText: 'jetstream { store_dir: "/nowhere" }' });
    await expect(refusal).rejects.toMatchObject({
      code: 'config-invalid',
      log: expect.stringContaining('store_dir') as string,
    });
  });

  it('a configuration that opens the monitoring endpoint to the network', async () => {
    const refusal = start({ storeDir: newStoreDir(), configText: 'http: "0.0.0.0:0"' });
    await expect(refusal).rejects.toMatchObject({
      code: 'config-invalid',
      mend: expect.stringContaining('http') as string,
    });
  });

  it('a machine without nats-server, saying what to do', async () => {
    const refusal = start({ storeDir: newStoreDir(), env: { NATS_SERVER_BIN: '/nowhere/nats-server' } });
    await expect(refusal).rejects.toMatchObject({
      code: 'binary-missing',
      mend: expect.stringContaining('NATS_SERVER_BIN') as string,
    });
  });

  it('nothing silently: the log stays in the store folder', async () => {
    const server = await start({ storeDir: newStoreDir() });
    expect(readFileSync(join(server.storeDir, 'server.log'), 'utf8')).toMatch(/Server is ready/);
  });
});
