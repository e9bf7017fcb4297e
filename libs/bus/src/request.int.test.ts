import { connect } from '@nats-io/transport-node';
import { trace } from '@opentelemetry/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Bus } from './connection.js';
import { eventually, gate, TestBroker } from './nats.fixture.js';
import { refuse, type Reply } from './reply.js';
import { request } from './request.js';
import { serve, type RequestHandler, type ServeOptions, type Serving } from './serve.js';
import { contextFromTraceparent } from './trace.js';

const SUBJECT = 'plumb.ledger.read.coder';
let broker: TestBroker;
let ledger: Bus;
let coder: Bus;

beforeAll(async () => {
  broker = await TestBroker.start();
  ledger = await broker.ledger();
  coder = await broker.connect('coder');
});
afterAll(() => broker.close());

const OPTIONS: ServeOptions = { queue: 'ledger', concurrency: 4, maxPayloadBytes: 10_000 };
async function serving(
  handler: RequestHandler,
  run: (server: Serving) => Promise<void>,
  options: Partial<ServeOptions> = {},
): Promise<void> {
  const server = await serve(ledger, 'plumb.ledger.read.*', { ...OPTIONS, ...options }, handler);
  try {
    await run(server);
  } finally {
    await server.stop();
  }
}
const ask = (body: unknown, timeoutMs = 5_000): Promise<Reply> => request(coder, SUBJECT, body, { timeoutMs });

class Busy extends Error {
  readonly retry = 'later';
  readonly code = 'database-away';
}

describe('a request', () => {
  it('carries JSON, subject and trace there and a value or a refusal back', () =>
    serving(
      async (body, { subject, trace: ctx }) => {
        if (body === 'no') return refuse('not-yours', 'read your own', 'never', { owner: 'gate' });
        return { ok: true, value: { body, subject, traceId: trace.getSpanContext(ctx)?.traceId } };
      },
      async () => {
        const parent = contextFromTraceparent('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
        expect(await request(coder, SUBJECT, { a: [1] }, { timeoutMs: 5_000, trace: parent })).toEqual({
          ok: true,
          value: { body: { a: [1] }, subject: SUBJECT, traceId: '0af7651916cd43dd8448eb211c80319c' },
        });
        expect(await ask('no')).toEqual({
          ok: false,
          error: { code: 'not-yours', message: 'read your own', retry: 'never', details: { owner: 'gate' } },
        });
      },
    ));

  it('can be asked by any NATS client, and bad bodies are refused', () =>
    serving(
      async (body) => ({ ok: true, value: body }),
      async () => {
        const nc = await connect({
          servers: broker.url,
          user: 'coder',
          pass: broker.passwords.coder,
          inboxPrefix: '_INBOX_coder',
        });
        const raw = async (bytes: Uint8Array | string): Promise<unknown> =>
          (await nc.request(SUBJECT, bytes, { timeout: 5_000 })).json();
        expect(await raw('{"a":1}')).toEqual({ ok: true, value: { a: 1 } });
        const refused = (text: RegExp): object => ({
          ok: false,
          error: { code: 'bad-request', retry: 'never', message: expect.stringMatching(text) as string },
        });
        expect(await raw('')).toMatchObject(refused(/not JSON/));
        expect(await raw('{"a":')).toMatchObject(refused(/not JSON/));
        expect(await raw(Uint8Array.of(0x22, 0xff, 0x22))).toMatchObject(refused(/not UTF-8/));
        expect(await raw('['.repeat(5_000))).toMatchObject(refused(/nested 5000 deep, expected at most 64/));
        expect(await raw(JSON.stringify('x'.repeat(20_000)))).toMatchObject(
          refused(/20002 bytes, expected at most 10000/),
        );
        expect(await raw('{"a":{"__proto__":{"admin":true}}}')).toMatchObject(refused(/forbidden key "__proto__"/));
        await nc.drain();
      },
    ));

  it('a thrown operational error becomes a refusal, a bug becomes `internal` without its text', () => {
    const bugs: unknown[] = [];
    return serving(
      async (body) => {
        if (body === 'busy') throw new Busy('postgres restarts');
        if (body === 'big') return { ok: true, value: 'x'.repeat(5 * 1024 * 1024) };
        if (body === 'loop') {
          const value: Record<string, unknown> = {};
          value['self'] = value;
          return { ok: true, value };
        }
        throw new TypeError('password=hunter2');
      },
      async () => {
        expect(await ask('busy')).toMatchObject({ ok: false, error: { code: 'database-away', retry: 'later' } });
        expect(await ask('bug')).toEqual({
          ok: false,
          error: { code: 'internal', message: `${SUBJECT} failed; its log says why`, retry: 'later' },
        });
        expect(await ask('loop')).toMatchObject({ ok: false, error: { code: 'internal' } });
        expect(await ask('big')).toMatchObject({ ok: false, error: { code: 'reply-too-large', retry: 'never' } });
        expect(bugs).toHaveLength(2);
      },
      { onError: (error) => bugs.push(error) },
    );
  });

  it('fails with a type: nobody there, too slow, not allowed, not JSON, no reply shape', async () => {
    await expect(ask({})).rejects.toMatchObject({ code: 'no-responders', retry: 'later' });
    await expect(request(coder, 'plumb.ledger.read.gate', {}, { timeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'forbidden',
      retry: 'never',
    });
    await expect(ask({ n: 1n })).rejects.toMatchObject({ code: 'not-serialisable' });
    const door = gate();
    await serving(
      async () => (await door.promise, { ok: true, value: 1 }),
      async () => {
        await expect(ask({}, 50)).rejects.toMatchObject({ code: 'timeout', retry: 'later' });
        door.open();
      },
    );
    const subscription = ledger.nc.subscribe(SUBJECT, { callback: (_error, message) => void message.respond('hello') });
    await ledger.nc.flush();
    await expect(ask({})).rejects.toMatchObject({ code: 'bad-reply', retry: 'never' });
    subscription.unsubscribe();
  });

  it('is never answered anywhere but in an inbox: the server’s rights are not the requester’s', () => {
    const errors: string[] = [];
    return serving(
      async () => ({ ok: true, value: 'forged fact' }),
      async () => {
        const before = (await ledger.jsm.streams.info('LOG')).state.last_seq;
        coder.nc.publish(SUBJECT, '{}', { reply: 'log.task.verdict-reached.t1' });
        coder.nc.publish(SUBJECT, '{}');
        await coder.nc.flush();
        await eventually('both seen', () => errors.length === 2);
        await ledger.nc.flush();
        expect((await ledger.jsm.streams.info('LOG')).state.last_seq).toBe(before);
        expect(errors[0]).toContain('no inbox to answer to');
      },
      { onError: (error) => errors.push(String(error)) },
    );
  });
});

describe('a server', () => {
  it('runs no more than its concurrency, refuses beyond its queue, and answers everything when it stops', async () => {
    const door = gate();
    let running = 0;
    let most = 0;
    const handler: RequestHandler = async (body) => {
      most = Math.max(most, (running += 1));
      await door.promise;
      running -= 1;
      return { ok: true, value: body };
    };
    await serving(
      handler,
      async (server) => {
        const replies = [1, 2, 3, 4, 5, 6].map((n) => ask(n));
        const overloaded = await Promise.race(replies);
        expect(overloaded).toMatchObject({ ok: false, error: { code: 'overloaded', retry: 'later' } });
        const stopped = server.stop();
        door.open();
        await stopped;
        const done = await Promise.all(replies);
        expect(done.filter(({ ok }) => ok)).toHaveLength(5);
        expect(most).toBe(2);
        await expect(ask(7)).rejects.toMatchObject({ code: 'no-responders' });
      },
      { concurrency: 2, maxWaiting: 3 },
    );
  });
});
