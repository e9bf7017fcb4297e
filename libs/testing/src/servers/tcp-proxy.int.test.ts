import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startTestNats } from './test-nats.js';
import { TcpProxy } from './tcp-proxy.js';

let server: Server;
let proxy: TcpProxy;
/** Bodies as they arrived; what broke off in the middle is not among them. */
const bodies: number[] = [];

beforeEach(async () => {
  bodies.length = 0;
  server = createServer((request, response) => {
    let size = 0;
    request.on('data', (chunk: Buffer) => (size += chunk.length));
    request.on('error', () => undefined);
    request.on('end', () => {
      bodies.push(size);
      response.end('ok');
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  proxy = await TcpProxy.start(() => ({ host: '127.0.0.1', port }));
});
afterEach(async () => {
  await proxy.stop();
  server.closeAllConnections();
  server.close();
});

const put = async (bytes: number): Promise<string> =>
  (await fetch(`http://127.0.0.1:${proxy.port}/artifacts/x`, { method: 'PUT', body: new Uint8Array(bytes) })).text();

describe('TcpProxy', () => {
  it('hands everything on while nothing is wrong', async () => {
    expect(await put(300_000)).toBe('ok');
    expect(bodies).toEqual([300_000]);
    expect(proxy.counts).toEqual({ doubled: 0, cut: 0, uploadsCut: 0, dripped: 0 });
  });

  it.each([2, 700, 300_000])('cuts the next upload of %i bytes in the middle, and only that one', async (bytes) => {
    proxy.cutNextUpload();
    await expect(put(bytes)).rejects.toThrow();
    expect(proxy.counts.uploadsCut).toBe(1);
    expect(await put(bytes)).toBe('ok');
    expect(bodies).toEqual([bytes]);
  });

  it('lets nobody through while it is cut', async () => {
    await put(1);
    proxy.cut();
    await expect(put(1)).rejects.toThrow();
    proxy.heal();
    expect(await put(1)).toBe('ok');
  });

  it('doubles what a real server delivers from a stream, and answers to requests once', async () => {
    const nats = await startTestNats();
    const wire = await TcpProxy.start(() => ({ host: '127.0.0.1', port: Number(new URL(nats.url).port) }));
    try {
      const bus = await nats.connect('ledger', { servers: `nats://127.0.0.1:${wire.port}` });
      await bus.jsm.streams.add({ name: 'T', subjects: ['log.t'] });
      await bus.jsm.consumers.add('T', { durable_name: 'd', ack_policy: 'explicit' });
      wire.double();
      const fetched = async (): Promise<number[]> => {
        // Doubling begins and ends with new connections.
        await vi.waitFor(() => bus.nc.rtt(), 5_000);
        await bus.js.publish('log.t', 'x');
        const found: number[] = [];
        const messages = await (await bus.js.consumers.get('T', 'd')).consume({ max_messages: 2, expires: 2_000 });
        const timer = setTimeout(() => messages.stop(), 700);
        for await (const message of messages) {
          found.push(message.seq);
          message.ack();
        }
        clearTimeout(timer);
        return found;
      };
      expect(await fetched()).toEqual([1, 1]);
      expect(wire.counts.doubled).toBe(1);
      wire.heal();
      expect(await fetched()).toEqual([2]);
    } finally {
      await nats.stop();
      await wire.stop();
    }
  });
});
