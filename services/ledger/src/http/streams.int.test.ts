import { createHash, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { get, type IncomingMessage } from 'node:http';
import { startTestSystem, type TestSystem } from '@plumbline/testing';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { send } from './contract.fixture.js';
import { History } from './history.fixture.js';

const heldMax = 5;
let system: TestSystem;
let history: History;

beforeAll(async () => {
  const env = {
    PLUMB_API_HEARTBEAT_MS: '200',
    PLUMB_API_STALLED_AFTER_MS: '1000',
    PLUMB_API_HELD_MAX: String(heldMax),
    PLUMB_API_UPLOADS_MAX: '2',
    PLUMB_API_REQUESTS_PER_MINUTE: '1500',
  };
  system = await startTestSystem({ services: ['ledger'], env });
  history = new History(system);
});
afterAll(() => system?.stop());

/** A reader of server-sent events that can be stopped at any byte. */
class Reader {
  readonly events: { id: number; type: string; data: { position: number; task?: string; summary?: string } }[] = [];
  comments = 0;
  ended = false;
  private constructor(
    private readonly response: IncomingMessage,
    private readonly most: number,
  ) {
    let rest = '';
    response.setEncoding('utf8').on('data', (part: string) => {
      const frames = (rest + part).split('\n\n');
      rest = frames.pop() ?? '';
      for (const frame of frames) this.take(frame);
    });
    response.on('end', () => (this.ended = true)).on('error', () => undefined);
  }

  static open(path: string, headers: Record<string, string> = {}, most = Infinity): Promise<Reader> {
    return new Promise((resolve, reject) => {
      const options = { agent: false, headers: { authorization: `Bearer ${system.apiToken}`, ...headers } };
      get(system.ledgerUrl + path, options, (response) => {
        if (response.statusCode === 200) resolve(new Reader(response, most));
        else reject(new Error(String(response.statusCode)));
      }).on('error', reject);
    });
  }

  private take(frame: string): void {
    if (frame.startsWith(':')) this.comments += 1;
    const fields = Object.fromEntries(frame.split('\n').map((line) => line.split(/: (.*)/s) as [string, string]));
    if (fields['data'] === undefined || this.events.length >= this.most) return;
    this.events.push({
      id: Number(fields['id']),
      type: fields['event'] ?? '',
      data: JSON.parse(fields['data']) as never,
    });
    if (this.events.length === this.most) this.close();
  }

  get ids(): number[] {
    return this.events.map(({ id }) => id);
  }

  close(): void {
    this.response.destroy();
  }
}
const until = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: 15_000, interval: 50 });
const upTo = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at + 1);
const head = async (): Promise<number> => (await system.log.head()).pos;

describe('a stream', () => {
  it('gives the past, then each event as it comes, and goes on after its last id without gap or duplicate', async () => {
    for (let n = 0; n < 150; n++) await history.submitted();
    await until(async () => expect(await head()).toBeGreaterThanOrEqual(150));
    const got: number[] = [];
    let last: Record<string, string> = {};
    // A reader that is torn off again and again, at any place, while events are being added.
    for (let round = 0; round < 8; round++) {
      const most = 1 + round * 5;
      const added = history.submitted();
      const reader = await Reader.open('/v1/log/stream', last, most);
      await until(() => expect(reader.ids).toHaveLength(most));
      got.push(...reader.ids);
      await added;
      last = { 'last-event-id': String(got.at(-1)) };
    }
    const rest = await Reader.open('/v1/log/stream?after=3', last);
    const end = await head();
    await until(() => expect(rest.ids.at(-1) ?? got.at(-1)).toBe(end));
    rest.close();
    expect([...got, ...rest.ids]).toEqual(upTo(0, end));
  });

  it('of a task tells that task alone, in words, and shows by comments that it lives', async () => {
    const [taskId, other] = [await history.submitted(), await history.submitted()];
    const reader = await Reader.open(`/v1/tasks/${taskId}/timeline`);
    await until(() => expect(reader.events).toHaveLength(1));
    await history.closed(other, 'cancelled');
    await history.closed(taskId, 'cancelled');
    await until(() => expect(reader.events.map(({ type }) => type)).toEqual(['task.submitted', 'task.closed']));
    await until(() => expect(reader.comments).toBeGreaterThan(1));
    reader.close();
    for (const { id, data } of reader.events) {
      expect(data).toMatchObject({ position: id, task: taskId });
      expect(data.summary?.length).toBeGreaterThan(3);
    }
  });

  it('cuts off a reader that takes nothing, holds no more than a page for it, and others go on', async () => {
    const body = 'x'.repeat(60_000);
    const before = await head();
    for (let n = 0; n < 300; n++) await history.submitted({ issue: { title: 'A long one', body } });
    await until(async () => expect(await head()).toBe(before + 300));
    const rss = async (): Promise<number> =>
      Number(/^plumb_process_resident_memory_bytes (\S+)/m.exec((await system.api('/metrics')).body as string)?.[1]);
    const start = await rss();
    const stalled = await Promise.all([1, 2, 3].map(() => rawStream(before)));
    const reading = await Reader.open(`/v1/log/stream?after=${before}`);
    await until(() => expect(reading.ids).toEqual(upTo(before, before + 300)));
    reading.close();
    // Three readers of 18 MB each.
    expect((await rss()) - start).toBeLessThan(100_000_000);
    // Their places are free again, though they have read nothing.
    await until(async () => {
      const opened = await Promise.allSettled(Array.from({ length: heldMax }, () => Reader.open('/v1/log/stream')));
      for (const one of opened) if (one.status === 'fulfilled') one.value.close();
      expect(opened.map(({ status }) => status)).toEqual(opened.map(() => 'fulfilled'));
    });
    for (const socket of stalled) socket.resume();
    await until(() => expect(stalled.every((socket) => socket.closed)).toBe(true));
  });

  it('is one of so many, and its place is free as soon as it is gone', async () => {
    const readers = await Promise.all(Array.from({ length: heldMax }, () => Reader.open('/v1/log/stream')));
    await expect(Reader.open('/v1/log/stream')).rejects.toThrow('429');
    const poll = await system.api(`/v1/log?after=${await head()}&waitMs=1000`);
    expect(poll).toMatchObject({ status: 429, body: { code: 'too-many-requests' } });
    expect(poll.headers.get('retry-after')).toBe('5');
    readers[0]?.close();
    await until(async () => readers.push(await Reader.open('/v1/log/stream')) as never);
    for (const reader of readers) reader.close();
    // As many as there were come and go again and again; nothing piles up.
    for (let n = 0; n < 200; n++) {
      const reader = await vi.waitFor(() => Reader.open('/v1/log/stream'), { timeout: 5_000, interval: 20 });
      reader.close();
    }
    expect((await system.api('/v1/head')).status).toBe(200);
  });
});

/** A connection that asks for the log and never reads. */
async function rawStream(after: number): Promise<Socket> {
  const { hostname, port } = new URL(system.ledgerUrl);
  const socket = connect({ host: hostname, port: Number(port) });
  socket.pause().on('error', () => undefined);
  socket.write(
    `GET /v1/log/stream?after=${after} HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${system.apiToken}\r\n\r\n`,
  );
  return socket;
}

describe('bytes on the wire', () => {
  const exchange = (text: string): Promise<string> =>
    new Promise((resolve) => {
      const { hostname, port } = new URL(system.ledgerUrl);
      const socket = connect({ host: hostname, port: Number(port) });
      let got = '';
      socket.setTimeout(15_000, () => socket.destroy());
      socket.on('data', (part) => (got += String(part))).on('error', () => undefined);
      socket.on('close', () => resolve(got));
      socket.write(text);
    });
  const auth = (): string => `authorization: Bearer ${system.apiToken}\r\n`;

  it('that can be read in two ways are refused', async () => {
    const start = `PUT /v1/artifacts/${'ab'.repeat(32)} HTTP/1.1\r\nhost: localhost\r\n${auth()}`;
    const inner = 'GET /v1/head HTTP/1.1\r\nhost: localhost\r\n\r\n';
    for (const smuggled of [
      `${start}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
      `${start}content-length: 5\r\ncontent-length: 6\r\n\r\nabcdef`,
      `${start}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n`,
      `${start}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n`,
      `${start}content-length: +5\r\n\r\nabcde`,
      `GET /v1/head HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n${auth()}connection: close\r\n\r\n`,
      `GET /v1/head HTTP/1.1\r\nhost: localhost\r\n${auth()}authorization: Bearer x\r\nconnection: close\r\n\r\n`,
      `GET /v1/head HTTP/1.1\r\n${auth()}connection: close\r\n\r\n`,
      `GET /v1/head HTTP/1.1\r\nhost: localhost\r\n${auth()}x: ${'y'.repeat(20_000)}\r\n\r\n`,
    ]) {
      const got = await exchange(smuggled);
      expect(got.slice(0, 12), smuggled.slice(0, 300)).toMatch(/^HTTP\/1\.1 4/);
      expect(got.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    }
    const absolute = `GET http://evil.example/v1/head HTTP/1.1\r\nhost: localhost\r\n${auth()}connection: close\r\n\r\n`;
    expect(await exchange(absolute)).toMatch(/^HTTP\/1\.1 404/);
  });

  it('that come too slowly do not hold a connection', async () => {
    const startedAt = performance.now();
    expect(await exchange('GET /v1/head HTTP/1.1\r\nhost: localhost\r\n')).toMatch(/^(HTTP\/1\.1 408|$)/);
    expect(performance.now() - startedAt).toBeLessThan(14_900);
    const half = `PUT /v1/artifacts/${'ab'.repeat(32)} HTTP/1.1\r\nhost: localhost\r\n${auth()}content-length: 100\r\n\r\nabc`;
    await Promise.all([1, 2, 3].map(() => exchange(half)));
    // Silent senders lost their places.
    const bytes = randomBytes(1_000);
    const digest = createHash('sha256').update(bytes).digest('hex');
    const put = {
      method: 'PUT',
      path: `/v1/artifacts/${digest}`,
      headers: { authorization: `Bearer ${system.apiToken}` },
    };
    expect((await send(system.ledgerUrl, { ...put, body: bytes })).status).toBe(200);
  });
});

describe('the limits and the end', () => {
  it('count what comes with the token too, artifacts apart, and say so in every answer', async () => {
    const first = await system.api('/v1/head');
    expect(first.headers.get('ratelimit-limit')).toBe('1500');
    expect(first.headers.get('ratelimit-policy')).toBe('1500;w=60');
    const left = Number(first.headers.get('ratelimit-remaining'));
    for (let n = 0; n < 3; n++) await system.api(`/v1/artifacts/${'ab'.repeat(32)}`);
    expect(Number((await system.api('/v1/head')).headers.get('ratelimit-remaining'))).toBe(left - 1);
    await vi.waitFor(async () => expect((await system.api('/v1/head')).status).toBe(429), {
      timeout: 30_000,
      interval: 0,
    });
    expect((await system.api(`/v1/artifacts/${'ab'.repeat(32)}`)).status).toBe(404);
  });

  it('streams end in order when the ledger leaves, and resume where they were', async () => {
    await system.restart('ledger');
    const reader = await Reader.open('/v1/log/stream');
    const end = await head();
    await until(() => expect(reader.ids.at(-1)).toBe(end));
    const startedAt = performance.now();
    expect(await system.kill('ledger', 'SIGTERM')).toBe(0);
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    await until(() => expect(reader.ended).toBe(true));
    await system.restart('ledger');
    const taskId = await history.submitted();
    const again = await Reader.open('/v1/log/stream', { 'last-event-id': String(reader.ids.at(-1)) });
    await until(() => expect(again.events).toMatchObject([{ id: end + 1, data: { task: taskId } }]));
    again.close();
  });
});
