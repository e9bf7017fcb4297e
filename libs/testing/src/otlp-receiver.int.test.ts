import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { startOtlpReceiver, type OtlpReceiver } from './otlp-receiver.js';

const running: OtlpReceiver[] = [];
afterEach(async () => {
  for (const receiver of running.splice(0)) await receiver.stop();
});
async function start(): Promise<OtlpReceiver> {
  const receiver = await startOtlpReceiver();
  running.push(receiver);
  return receiver;
}

const span = (name: string, more: object = {}): object => ({
  traceId: '5B8EFFF798038103D269B633813FC60C',
  spanId: 'eee19b7ec3c1b174',
  name,
  kind: 2,
  startTimeUnixNano: '1544712660123456789',
  endTimeUnixNano: '1544712661000000000',
  ...more,
});
const traces = (service: string, ...spans: object[]): object => ({
  resourceSpans: [
    {
      resource: { attributes: [{ key: 'service.name', value: { stringValue: service } }] },
      scopeSpans: [{ scope: { name: 'test' }, spans }],
    },
  ],
});
function send(receiver: OtlpReceiver, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const sent = Buffer.isBuffer(body) ? new Uint8Array(body) : typeof body === 'string' ? body : JSON.stringify(body);
  return fetch(`${receiver.url}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: sent,
  });
}

describe('startOtlpReceiver', () => {
  it('reads spans with service, parents, attributes of every kind and instants', async () => {
    const receiver = await start();
    const attributes = [
      { key: 's', value: { stringValue: 'text' } },
      { key: 'i', value: { intValue: '42' } },
      { key: 'd', value: { doubleValue: 0.5 } },
      { key: 'b', value: { boolValue: false } },
      { key: 'list', value: { arrayValue: { values: [{ intValue: 1 }, { stringValue: 'x' }] } } },
      { key: 'map', value: { kvlistValue: { values: [{ key: 'k', value: { stringValue: 'v' } }] } } },
    ];
    const child = span('child', { spanId: 'EEE19B7EC3C1B175', parentSpanId: 'EEE19B7EC3C1B174', attributes });
    const response = await send(receiver, traces('ledger', span('root', { parentSpanId: '' }), child));
    expect([response.status, await response.json()]).toEqual([200, {}]);
    expect(receiver.spans()).toEqual([
      {
        traceId: '5b8efff798038103d269b633813fc60c',
        spanId: 'eee19b7ec3c1b174',
        name: 'root',
        service: 'ledger',
        attributes: {},
        startMs: 1544712660123.456,
        endMs: 1544712661000,
      },
      expect.objectContaining({
        spanId: 'eee19b7ec3c1b175',
        parentSpanId: 'eee19b7ec3c1b174',
        attributes: { s: 'text', i: 42, d: 0.5, b: false, list: [1, 'x'], map: { k: 'v' } },
      }),
    ]);
  });

  it('reads gzip', async () => {
    const receiver = await start();
    const body = gzipSync(JSON.stringify(traces('gate', span('packed'))));
    expect((await send(receiver, body, { 'content-encoding': 'gzip' })).status).toBe(200);
    expect(receiver.spans().map(({ name }) => name)).toEqual(['packed']);
  });

  it.each<[string, unknown, Record<string, string>, number]>([
    ['JSON that is none', '{', {}, 400],
    ['another document', { spans: [] }, {}, 400],
    ['a span without a proper trace id', traces('x', span('a'), span('bad', { traceId: 'abc' })), {}, 400],
    ['protobuf', 'xx', { 'content-type': 'application/x-protobuf' }, 415],
    ['gzip that is none', 'xx', { 'content-encoding': 'gzip' }, 400],
  ])('refuses %s and keeps nothing of it', async (_name, body, headers, status) => {
    const receiver = await start();
    expect((await send(receiver, body, headers)).status).toBe(status);
    expect(receiver.spans()).toEqual([]);
  });

  it('serves nothing else', async () => {
    const receiver = await start();
    expect((await fetch(`${receiver.url}/v1/metrics`, { method: 'POST', body: '{}' })).status).toBe(404);
  });
});

describe('waitFor', () => {
  it('resolves as soon as enough has come, also when it had come before', async () => {
    const receiver = await start();
    const waiting = receiver.waitFor((spans) => spans.length >= 2, 10_000);
    await send(receiver, traces('a', span('one')));
    await send(receiver, traces('b', span('two')));
    expect((await waiting).map(({ service, name }) => `${service}:${name}`)).toEqual(['a:one', 'b:two']);
    expect(await receiver.waitFor((spans) => spans.length === 2, 1)).toHaveLength(2);
  });

  it('rejects in time, and says what did come', async () => {
    const receiver = await start();
    await send(receiver, traces('a', span('one')));
    await expect(receiver.waitFor(() => false, 30)).rejects.toThrow(/within 30 ms; 1 spans received: a: one/);
  });

  it('passes on what the predicate throws', async () => {
    const receiver = await start();
    const predicate = (): never => {
      throw new Error('bad predicate');
    };
    await expect(receiver.waitFor(predicate, 10_000)).rejects.toThrow('bad predicate');
  });

  it('is let go by stop()', async () => {
    const receiver = await startOtlpReceiver();
    const waiting = expect(receiver.waitFor(() => false, 60_000)).rejects.toThrow('stopped');
    await receiver.stop();
    await waiting;
  });
});
