import { once } from 'node:events';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { Worker } from 'node:worker_threads';
import { startScriptedModel, type ScenarioInput, type ScriptedModel } from '@plumbline/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { complete, type Completion, type CompletionRequest } from './complete.js';
import type { ModelFailureCode } from './failure.js';

type Script = ScenarioInput['turns'][number];
const stops: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

const PATIENT = { connectMs: 5_000, firstTokenMs: 5_000, stallMs: 5_000, turnMs: 20_000 };

function request(baseUrl: string, more: Partial<CompletionRequest> = {}): CompletionRequest {
  return {
    endpoint: { baseUrl },
    model: 'scripted/case',
    messages: [{ role: 'user', content: 'go on' }],
    sampling: { temperature: 0, topP: 1, seed: 1, maxTokens: 100 },
    timers: PATIENT,
    ...more,
  };
}

async function scripted(turn: Partial<Script>): Promise<ScriptedModel> {
  const reply = { content: 'an answer of some length, in pieces' };
  const model = await startScriptedModel({
    scenarios: [{ name: 'case', describes: 'one turn', turns: [{ reply, chunkChars: 4, ...turn }] }],
  });
  stops.push(() => model.stop());
  return model;
}

async function listen(server: net.Server, host = '127.0.0.1'): Promise<string> {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket: net.Socket) => sockets.add(socket));
  server.listen(0, host);
  await once(server, 'listening');
  stops.push(async () => {
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return `http://${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}`;
}

function serving(handler: http.RequestListener): Promise<string> {
  return listen(http.createServer(handler));
}

/** A stream of these lines, then the end of the body. */
function streaming(...data: string[]): Promise<string> {
  return serving((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(data.map((line) => `data: ${line}\n\n`).join(''));
  });
}

const chunk = (delta: unknown, finish: string | null = null): string =>
  JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] });

function codeOf(completion: Completion): ModelFailureCode | 'complete' {
  return completion.outcome === 'complete' ? 'complete' : completion.code;
}

describe('a complete answer', () => {
  it('is put together, counted and timed', async () => {
    const reply = {
      reasoning: 'thinking about it',
      content: 'Grüße 👋🏽 from the script',
      toolCalls: [{ name: 'run', arguments: { command: 'npm test', n: 1 } }],
    };
    const model = await scripted({ reply, chunkChars: 3 });
    const deltas: string[] = [];
    const completion = await complete(
      request(model.url, {
        onDelta: (delta) => deltas.push(delta.kind === 'tool-call' ? delta.arguments : delta.text),
      }),
    );
    expect(completion).toMatchObject({
      outcome: 'complete',
      finishReason: 'tool_calls',
      reasoning: reply.reasoning,
      content: reply.content,
      toolCalls: [{ id: 's00000t00', name: 'run', arguments: '{"command":"npm test","n":1}' }],
      usage: {
        promptTokens: expect.any(Number) as number,
        completionTokens: expect.any(Number) as number,
        cachedTokens: 0,
      },
    });
    if (completion.outcome !== 'complete') throw new Error('unreachable');
    expect(deltas.join('')).toBe(`${reply.reasoning}${reply.content}{"command":"npm test","n":1}`);
    expect(completion.raw).toMatch(/^data: \{.*"usage":\{/ms);
    expect(completion.bytes.received).toBeGreaterThan(Buffer.byteLength(completion.raw));
    expect(completion.bytes.sent).toBeGreaterThan(100);
    const { ttftMs, durationMs, maxGapMs } = completion.timings;
    expect(ttftMs).toBeGreaterThan(0);
    expect(durationMs).toBeGreaterThanOrEqual(ttftMs + maxGapMs);
  });

  it('measures the longest silence between deltas', async () => {
    const model = await scripted({ fault: { kind: 'slow', everyMs: 40 }, chunkChars: 20 });
    const completion = await complete(request(model.url));
    expect(completion.outcome === 'complete' && completion.timings.maxGapMs).toBeGreaterThanOrEqual(35);
  });

  it('with finish reason length is complete and says so', async () => {
    const model = await scripted({ reply: { content: 'cut', finish: 'length' } });
    expect(await complete(request(model.url))).toMatchObject({
      outcome: 'complete',
      finishReason: 'length',
      content: 'cut',
    });
  });

  it('hands cut tool arguments through as they are', async () => {
    const reply = { toolCalls: [{ name: 'write_file', arguments: { path: 'a.ts', text: 'half' } }] };
    const model = await scripted({ reply, fault: { kind: 'truncated-arguments', keepChars: 12 } });
    const completion = await complete(request(model.url));
    expect(completion).toMatchObject({ outcome: 'complete', toolCalls: [{ arguments: '{"path":"a.t' }] });
  });

  it('does not wait for a [DONE] that never comes', async () => {
    const model = await scripted({ fault: { kind: 'no-done' } });
    const completion = await complete(request(model.url, { timers: { ...PATIENT, stallMs: 10_000 } }));
    expect(completion).toMatchObject({ outcome: 'complete', usage: { cachedTokens: 0 } });
    expect(completion.outcome === 'complete' && completion.timings.durationMs).toBeLessThan(900);
  });

  it('waits a moment for usage, and does without it', async () => {
    const url = await serving((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`data: ${chunk({ content: 'a' }, 'stop')}\n\n`);
    });
    const completion = await complete(request(url));
    expect(completion).toMatchObject({ outcome: 'complete', content: 'a' });
    expect(completion).not.toHaveProperty('usage');
    expect(completion.outcome === 'complete' && completion.timings.durationMs).toBeLessThan(4_000);
  });

  it.each([
    ['a reset', (response: http.ServerResponse) => response.socket?.resetAndDestroy()],
    ['an error event', (response: http.ServerResponse) => response.write('data: {"error":{"message":"late"}}\n\n')],
    ['garbage', (response: http.ServerResponse) => response.write('data: {{{\n\n')],
  ])('stays complete through %s after its finish', async (_name, after) => {
    const url = await serving((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`data: ${chunk({ content: 'a' }, 'stop')}\n\n`, () => setTimeout(() => after(response), 20));
    });
    expect(await complete(request(url))).toMatchObject({ outcome: 'complete', content: 'a' });
  });

  it('is found over IPv6, and by a name', async () => {
    const answer: http.RequestListener = (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`data: ${chunk({ content: 'a' }, 'stop')}\n\n`);
    };
    const v4 = await listen(http.createServer(answer));
    expect(codeOf(await complete(request(v4.replace('127.0.0.1', 'localhost'))))).toBe('complete');
    const v6 = await listen(http.createServer(answer), '::1').catch(() => undefined);
    if (v6 !== undefined) expect(codeOf(await complete(request(v6)))).toBe('complete');
  });
});

const SHORT = { connectMs: 5_000, firstTokenMs: 250, stallMs: 250, turnMs: 20_000 };

describe('every fault has exactly one code', () => {
  it.each<[string, Partial<Script>, ModelFailureCode, Partial<CompletionRequest>?]>([
    ['clean end without finish', { fault: { kind: 'eof', afterChunks: 3 } }, 'STREAM_BROKEN'],
    ['clean end without a chunk', { fault: { kind: 'eof', afterChunks: 0 } }, 'STREAM_BROKEN'],
    ['clean end just before the finish', { fault: { kind: 'eof', afterChunks: 999 } }, 'STREAM_BROKEN'],
    ['reset in mid-stream', { fault: { kind: 'rst', afterChunks: 3 } }, 'STREAM_BROKEN'],
    ['reset before the headers', { fault: { kind: 'rst', afterChunks: 0 } }, 'STREAM_BROKEN'],
    ['headers, then silence', { fault: { kind: 'silent', afterChunks: 0 } }, 'FIRST_TOKEN_TIMEOUT', { timers: SHORT }],
    ['no headers', { delayMs: 60_000 }, 'FIRST_TOKEN_TIMEOUT', { timers: SHORT }],
    ['pings only', { fault: { kind: 'pings', afterChunks: 0 } }, 'FIRST_TOKEN_TIMEOUT', { timers: SHORT }],
    ['tokens, then silence', { fault: { kind: 'silent', afterChunks: 2 } }, 'STREAM_STALL', { timers: SHORT }],
    ['tokens, then pings only', { fault: { kind: 'pings', afterChunks: 2 } }, 'STREAM_STALL', { timers: SHORT }],
    [
      'drip beyond the turn',
      { fault: { kind: 'slow', everyMs: 100 } },
      'TIME_BUDGET',
      { timers: { ...PATIENT, turnMs: 250 } },
    ],
    ['503 loading', { fault: { kind: 'status', status: 503, message: 'Loading model' } }, 'MODEL_LOADING'],
    ['503 busy', { fault: { kind: 'status', status: 503, message: 'no slot available' } }, 'RATE_LIMITED'],
    ['429', { fault: { kind: 'status', status: 429, retryAfterSeconds: 3 } }, 'RATE_LIMITED'],
    ['401', { fault: { kind: 'status', status: 401 } }, 'CONFIG_INVALID'],
    ['403', { fault: { kind: 'status', status: 403 } }, 'CONFIG_INVALID'],
    ['unknown model', {}, 'CONFIG_INVALID', { model: 'scripted/other' }],
    ['no scripted turn', { when: { turn: 5 } }, 'HISTORY_REJECTED'],
    ['400 template', { fault: { kind: 'status', status: 400, message: 'bad role' } }, 'HISTORY_REJECTED'],
    ['400 context', { fault: { kind: 'status', status: 400, type: 'exceed_context_size_error' } }, 'CONTEXT_OVERFLOW'],
    ['500', { fault: { kind: 'status', status: 500 } }, 'SERVER_ERROR'],
    [
      '500 parse',
      { fault: { kind: 'status', status: 500, message: 'Failed to parse tool call' } },
      'SERVER_PARSE_ERROR',
    ],
    ['error event after 200', { fault: { kind: 'error-event', afterChunks: 3 } }, 'SERVER_ERROR'],
    ['garbage in a stream that then finishes', { fault: { kind: 'garbage', afterChunks: 3 } }, 'STREAM_BROKEN'],
  ])('%s', async (_name, turn, code, more = {}) => {
    const model = await scripted(turn);
    const completion = await complete(request(model.url, more));
    expect([codeOf(completion), completion]).toEqual([code, completion]);
  });

  it.each<[string, string[], ModelFailureCode]>([
    ['[DONE] without finish', [chunk({ content: 'a' }), '[DONE]'], 'STREAM_BROKEN'],
    ['an empty finish reason', [chunk({ content: 'a' }, ''), '[DONE]'], 'STREAM_BROKEN'],
    ['tokens after the finish', [chunk({}, 'stop'), chunk({ content: 'more' })], 'STREAM_BROKEN'],
    ['finish reason abort', [chunk({ content: 'a' }, 'abort')], 'SERVER_ERROR'],
    ['finish reason error', [chunk({ content: 'a' }, 'error')], 'SERVER_ERROR'],
    ['a rate limit inside the stream', ['{"error":{"code":429,"message":"slow"}}'], 'RATE_LIMITED'],
  ])('%s', async (_name, lines, code) => {
    expect(codeOf(await complete(request(await streaming(...lines))))).toBe(code);
  });

  it('a finish inside an event that was cut off does not count', async () => {
    const url = await serving((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`data: ${chunk({ content: 'a' }, 'stop')}\n`);
    });
    const completion = await complete(request(url));
    expect(completion).toMatchObject({
      code: 'STREAM_BROKEN',
      message: expect.stringContaining('middle of an event') as string,
    });
  });

  it('keeps the part that came, the evidence and the wait', async () => {
    const broken = await complete(request((await scripted({ fault: { kind: 'garbage', afterChunks: 2 } })).url));
    expect(broken).toMatchObject({
      partial: { content: 'an answe' },
      message: expect.stringContaining('choices') as string,
    });
    expect(broken.raw).toContain('{"choices":[{"del');
    const limited = await complete(
      request((await scripted({ fault: { kind: 'status', status: 429, retryAfterSeconds: 3 } })).url),
    );
    expect(limited).toMatchObject({ retryAfterMs: 3_000, raw: expect.stringContaining('429') as string });
  });

  it('nobody listens', async () => {
    const server = net.createServer();
    const url = await listen(server);
    await stops.pop()?.();
    const completion = await complete(request(url));
    expect(completion).toMatchObject({ code: 'ENDPOINT_UNREACHABLE', bytes: { sent: 0, received: 0 } });
    expect(completion.outcome === 'failed' && completion.message).toMatch(/ECONNREFUSED/);
  });

  it('a name that does not exist', async () => {
    expect(codeOf(await complete(request('http://no-such-host.invalid/')))).toBe('ENDPOINT_UNREACHABLE');
  });

  it('a TLS handshake that is never answered is no connection', async () => {
    const url = await listen(net.createServer());
    const timers = { ...PATIENT, connectMs: 200 };
    expect(codeOf(await complete(request(url.replace('http:', 'https:'), { timers })))).toBe('ENDPOINT_UNREACHABLE');
  });

  it('a server that does not speak HTTP', async () => {
    const url = await listen(net.createServer((socket) => socket.end('SSH-2.0-OpenSSH\r\n')));
    expect(codeOf(await complete(request(url)))).toBe('STREAM_BROKEN');
  });

  it('a web page or a plain document where a stream was asked for', async () => {
    const untyped = await serving((_request, response) => void response.end('<html>log in</html>'));
    expect(codeOf(await complete(request(untyped)))).toBe('STREAM_BROKEN');
    const page = await serving((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>');
    });
    const completion = await complete(request(page));
    expect(completion).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('log in') as string });
  });

  it('an error text that never ends is judged by its status', async () => {
    const endless = await serving((_request, response) => {
      response.writeHead(401, { 'content-type': 'text/plain' });
      const timer = setInterval(() => response.write('x'.repeat(20_000)), 1);
      response.on('close', () => clearInterval(timer));
    });
    const completion = await complete(request(endless));
    expect(codeOf(completion)).toBe('CONFIG_INVALID');
    expect(completion.raw.length).toBe(65_536);
    expect(completion.outcome === 'failed' && completion.durationMs).toBeLessThan(1_500);
  });

  it('an error text that stops in the middle, too', async () => {
    const url = await serving((_request, response) => {
      response.writeHead(429, { 'content-type': 'text/plain', 'retry-after': '4' }).write('slow do');
    });
    expect(await complete(request(url))).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 4_000, raw: 'slow do' });
  });

  it('an answer without end', async () => {
    const url = await serving((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const data = `data: ${chunk({ content: 'x'.repeat(2_000_000) })}\n\n`;
      const more = (): void => void (response.destroyed || response.write(data, more));
      more();
    });
    const completion = await complete(request(url));
    expect(completion).toMatchObject({ code: 'STREAM_BROKEN', message: expect.stringContaining('67108864') as string });
    expect(completion.raw.length).toBe(67_108_864);
  });

  it('one event without end', async () => {
    const url = await serving((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`data: ${chunk({ content: 'a' })}\n\ndata: `);
      const timer = setInterval(() => response.write('x'.repeat(500_000)), 1);
      response.on('close', () => clearInterval(timer));
    });
    const completion = await complete(request(url));
    expect(completion).toMatchObject({ code: 'STREAM_BROKEN', message: expect.stringContaining('4194304') as string });
  });
});

describe('time', () => {
  it('is not fed by empty chunks', async () => {
    const url = await serving((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`data: ${chunk({ content: 'a' })}\n\n`);
      const timer = setInterval(() => response.write(`data: ${chunk({ content: '' })}\n\n`), 30);
      response.on('close', () => clearInterval(timer));
    });
    expect(codeOf(await complete(request(url, { timers: SHORT })))).toBe('STREAM_STALL');
  });

  it('to the first token starts anew with prompt progress', async () => {
    const url = await serving((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      let processed = 0;
      const timer = setInterval(() => {
        processed += 1;
        response.write(`data: ${JSON.stringify({ choices: [], prompt_progress: { processed } })}\n\n`);
        if (processed === 5) response.end(`data: ${chunk({ content: 'a' }, 'stop')}\n\n`);
      }, 100);
      response.on('close', () => clearInterval(timer));
    });
    expect(codeOf(await complete(request(url, { timers: SHORT })))).toBe('complete');
  });

  it('lost by our own process is not held against the server', async () => {
    // The server lives in its own thread: it goes on sending while this one stands still.
    const worker = new Worker(
      `const http = require('node:http');
       const line = (content, finish) => 'data: ' + JSON.stringify({ choices: [{ delta: { content }, finish_reason: finish }] }) + '\\n\\n';
       const server = http.createServer((request, response) => {
         response.writeHead(200, { 'content-type': 'text/event-stream' });
         response.write(line('a', null));
         setTimeout(() => response.write(line('b', null)), 100);
         setTimeout(() => response.end(line('c', 'stop')), 600);
       });
       server.listen(0, '127.0.0.1', () => require('node:worker_threads').parentPort.postMessage(server.address().port));`,
      { eval: true },
    );
    stops.push(() => worker.terminate());
    const [port] = (await once(worker, 'message')) as [number];
    const completion = await complete(
      request(`http://127.0.0.1:${port}`, {
        timers: { ...PATIENT, stallMs: 300 },
        onDelta: (delta) => {
          if (delta.kind === 'content' && delta.text === 'a')
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 450);
        },
      }),
    );
    expect([codeOf(completion), completion.outcome === 'complete' && completion.content]).toEqual(['complete', 'abc']);
  });

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31])('refuses a timer of %d ms', async (stallMs) => {
    await expect(complete(request('http://127.0.0.1:1', { timers: { ...PATIENT, stallMs } }))).rejects.toThrow(
      RangeError,
    );
  });
});

describe('the caller', () => {
  it('can cancel before and in the middle, and the server sees it go', async () => {
    const before = await complete(request('http://127.0.0.1:1', { signal: AbortSignal.abort() }));
    expect(before).toMatchObject({ code: 'CANCELLED', bytes: { sent: 0 } });
    let left: Promise<unknown> = Promise.resolve();
    const url = await serving((incoming, response) => {
      left = once(incoming.socket, 'close');
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`data: ${chunk({ content: 'a' })}\n\n`);
    });
    const controller = new AbortController();
    const completion = await complete(request(url, { signal: controller.signal, onDelta: () => controller.abort() }));
    expect(completion).toMatchObject({ code: 'CANCELLED', partial: { content: 'a' } });
    await left;
  });

  it('leaves no timer behind, even when it cancels at the last moment', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const url = await streaming(chunk({ content: 'a' }, 'stop'));
    const controller = new AbortController();
    const before = timers();
    await complete(request(url, { signal: controller.signal, onDelta: () => controller.abort() }));
    // Each connection the test server accepts may hold one timer of its own.
    await stops.pop()?.();
    expect(timers()).toBeLessThanOrEqual(before);
  });

  it('gets its own error back', async () => {
    const model = await scripted({});
    const onDelta = (): never => {
      throw new Error('my mistake');
    };
    await expect(complete(request(model.url, { onDelta }))).rejects.toThrow('my mistake');
  });

  it('does not get a conversation sent that servers reject', async () => {
    const model = await scripted({});
    const messages = [{ role: 'user', content: 'a' } as const, { role: 'assistant', content: '' } as const];
    expect(await complete(request(model.url, { messages }))).toMatchObject({
      code: 'HISTORY_REJECTED',
      bytes: { sent: 0 },
    });
    expect(model.requests).toEqual([]);
  });
});

describe('the house', () => {
  it('is not left by address', async () => {
    expect(await complete(request('http://192.0.2.1/'))).toMatchObject({ code: 'CONFIG_INVALID', bytes: { sent: 0 } });
  });

  it('is not left by a redirect, not even to itself', async () => {
    let asked = 0;
    const url = await serving((_request, response) => {
      asked += 1;
      response.writeHead(307, { location: 'http://example.com/v1/chat/completions' }).end();
    });
    const completion = await complete(request(url));
    expect(completion).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('example.com') as string,
    });
    expect(asked).toBe(1);
  });

  it('sends the key as a bearer token and keeps it out of every result', async () => {
    const apiKey = 'sk-very-secret';
    const url = await serving((incoming, response) => {
      const said = JSON.stringify({ error: { message: `Incorrect key: ${incoming.headers.authorization}` } });
      response.writeHead(401, { 'content-type': 'application/json' }).end(said);
    });
    const completion = await complete(request(url, { endpoint: { baseUrl: url, apiKey } }));
    expect(completion.raw).toContain('Bearer [api key]');
    expect(JSON.stringify(completion)).not.toContain(apiKey);
  });
});
