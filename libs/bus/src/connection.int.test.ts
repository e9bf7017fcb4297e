import { createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ServerInfo } from '@nats-io/transport-node';
import { connectBus, refusalOf } from './connection.js';
import { publishLive } from './live.js';
import { eventually, TestBroker } from './nats.fixture.js';

let broker: TestBroker;
beforeAll(async () => {
  broker = await TestBroker.start();
});
afterAll(() => broker.close());

const others: TestBroker[] = [];
/** Another broker, closed after the test however that ends. */
async function anotherBroker(...options: Parameters<typeof TestBroker.start>): Promise<TestBroker> {
  const other = await TestBroker.start(...options);
  others.push(other);
  return other;
}
afterEach(async () => {
  for (const other of others.splice(0)) await other.close();
});

describe('connecting', () => {
  it('knows the server and its own inbox', async () => {
    const bus = await broker.connect('gate');
    expect(bus.capabilities.version).toMatch(/^2\.\d+\.\d+/);
    expect(bus.maxPayloadBytes).toBe(4 * 1024 * 1024);
    expect(bus.nc.info?.jetstream).toBe(true);
    expect(bus.connected).toBe(true);
  });

  it('nobody there: later', async () => {
    await expect(
      connectBus({ servers: '127.0.0.1:1', user: 'gate', password: 'x', service: 'gate', connectTimeoutMs: 500 }),
    ).rejects.toMatchObject({
      code: 'unreachable',
      retry: 'later',
      mend: expect.stringContaining('nats-server') as string,
    });
  });

  it('a server that says nothing does not hang the caller', async () => {
    const silent = createServer();
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    const { port } = silent.address() as { port: number };
    await expect(
      connectBus({ servers: `127.0.0.1:${port}`, user: 'gate', password: 'x', service: 'gate', connectTimeoutMs: 300 }),
    ).rejects.toMatchObject({ code: 'unreachable', retry: 'later' });
    silent.close();
  });

  it('a server without JetStream is refused', async () => {
    const plain = await anotherBroker({ edit: (config) => config.replace(/jetstream \{[^}]*\}/, '') });
    await expect(plain.connect('gate')).rejects.toMatchObject({ code: 'no-jetstream', retry: 'never' });
  });

  it('a server before 2.9.10 is refused', () => {
    const info = { version: '2.9.9', jetstream: true } as ServerInfo;
    expect(refusalOf(info)).toMatchObject({ code: 'server-too-old', retry: 'never', evidence: { found: '2.9.9' } });
    expect(refusalOf({ ...info, version: '2.9.10' })).toBeUndefined();
    expect(refusalOf({ ...info, version: 'nightly' })).toMatchObject({ code: 'server-too-old' });
  });

  it('reports what the server refuses', async () => {
    const refused: string[] = [];
    const bus = await broker.connect('gate', {
      onStatus: (status) => status.type === 'error' && refused.push(status.error.message),
    });
    bus.nc.publish('log.task.x.y', 'x');
    await eventually('reported', () => refused.length === 1);
    expect(refused[0]).toContain('log.task.x.y');
    expect(bus.counters.errors).toBe(1);
  });
});

describe('losing the server', () => {
  it('reconnects, also after the server refused the password for a while', async () => {
    const other = await anotherBroker();
    const bus = await other.connect('gate');
    const { version } = bus.capabilities;
    await other.halt('SIGTERM');
    await eventually('noticed', () => !bus.connected);
    expect(bus.capabilities.version).toBe(version);
    expect(publishLive(bus, 't1', {})).toBe(false);
    // The same port, other passwords: the client is refused more than twice in a row.
    const impostor = await anotherBroker({
      edit: (config) => config.replaceAll(/password: "[^"]*"/g, 'password: "another-one"'),
      port: other.port,
    });
    await eventually('refused three times', () => bus.counters.errors >= 3);
    await impostor.close();
    await other.launch();
    await eventually('back', () => bus.connected);
    expect(bus.counters.reconnected).toBe(1);
  });

  it('drains with and without a server, twice if need be', async () => {
    const other = await anotherBroker();
    const up = await other.connect('gate');
    await Promise.all([up.drain(), up.drain()]);
    expect(up.nc.isClosed()).toBe(true);
    const down = await other.connect('gate');
    await other.halt('SIGKILL');
    await eventually('noticed', () => !down.connected);
    await down.drain(300);
    expect(down.nc.isClosed()).toBe(true);
  });
});

describe('live progress', () => {
  it('reaches who watches, and is nobody’s business afterwards', async () => {
    const user = await broker.connect('user');
    const seen: unknown[] = [];
    user.nc.subscribe('plumb.live.t1', { callback: (_error, message) => void seen.push(message.json()) });
    await user.nc.flush();
    const coder = await broker.connect('coder');
    expect(publishLive(coder, 't1', { turn: 3 })).toBe(true);
    await eventually('seen', () => seen.length === 1);
    expect(seen).toEqual([{ turn: 3 }]);
    expect(() => publishLive(coder, 't1.>', {})).toThrow(/no subject token/);
    expect(publishLive(coder, 't1', 'x'.repeat(5 * 1024 * 1024))).toBe(false);
    await coder.drain();
    expect(publishLive(coder, 't1', {})).toBe(false);
  });
});
