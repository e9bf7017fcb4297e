import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { startScriptedModel, type ScenarioInput } from '@plumbline/testing';
import { afterEach, describe, expect, it } from 'vitest';
import type { CompletionRequest } from './complete.js';
import { completeWithRetry, DEFAULT_RETRY_POLICY, type RetryClock } from './retry.js';

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

function request(baseUrl: string, more: Partial<CompletionRequest> = {}): CompletionRequest {
  return {
    endpoint: { baseUrl },
    model: 'scripted/case',
    messages: [{ role: 'user', content: 'go on' }],
    sampling: { temperature: 0, topP: 1, seed: 1, maxTokens: 100 },
    timers: { connectMs: 5_000, firstTokenMs: 200, stallMs: 200, turnMs: 20_000 },
    ...more,
  };
}

async function scripted(fault: ScenarioInput['turns'][number]['fault'] & object): Promise<string> {
  const turns = [{ reply: { content: 'done' }, fault }];
  const model = await startScriptedModel({ scenarios: [{ name: 'case', describes: 'one turn', turns }] });
  stops.push(() => model.stop());
  return model.url;
}

async function serving(handler: http.RequestListener): Promise<string> {
  const server = http.createServer(handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  stops.push(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Time that passes only by sleeping; `random` 0 means no jitter. */
function fakeClock(random = 0): { clock: RetryClock; slept: number[] } {
  const slept: number[] = [];
  const clock: RetryClock = {
    sleep: (ms) => {
      slept.push(ms);
      return Promise.resolve();
    },
    random: () => random,
    now: () => slept.reduce((sum, ms) => sum + ms, 0),
  };
  return { clock, slept };
}

describe('completeWithRetry', () => {
  it('does not retry what is complete', async () => {
    const { clock, slept } = fakeClock();
    const url = await scripted({ kind: 'no-done' });
    const retried = await completeWithRetry(request(url), { clock });
    expect(retried).toMatchObject({
      completion: { outcome: 'complete' },
      attempts: [{ counted: true }],
      healthProbes: 0,
    });
    expect(slept).toEqual([]);
  });

  it('sends the identical request again until it is complete, and records every attempt', async () => {
    const { clock, slept } = fakeClock();
    const bodies: string[] = [];
    const url = await serving((incoming, response) => {
      const parts: Buffer[] = [];
      incoming.on('data', (part: Buffer) => parts.push(part));
      incoming.on('end', () => {
        bodies.push(Buffer.concat(parts).toString());
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const finish = bodies.length < 4 ? null : 'stop';
        response.end(`data: ${JSON.stringify({ choices: [{ delta: { content: 'a' }, finish_reason: finish }] })}\n\n`);
      });
    });
    const seen: string[] = [];
    const retried = await completeWithRetry(request(url), {
      clock,
      onAttempt: ({ completion }) => seen.push(completion.outcome),
    });
    expect(retried.completion).toMatchObject({ outcome: 'complete', content: 'a' });
    expect(retried.attempts.map(({ completion, waitMs }) => [completion.outcome, waitMs])).toEqual([
      ['failed', 1_000],
      ['failed', 2_000],
      ['failed', 4_000],
      ['complete', undefined],
    ]);
    expect(seen).toEqual(['failed', 'failed', 'failed', 'complete']);
    expect(new Set(bodies).size).toBe(1);
    expect(slept).toEqual([1_000, 2_000, 4_000]);
    const sent = retried.attempts.reduce((sum, { completion }) => sum + completion.bytes.sent, 0);
    expect(retried.bytes.sent).toBe(sent);
  });

  it.each([
    ['STREAM_BROKEN', { kind: 'eof' } as const, 6],
    ['RATE_LIMITED', { kind: 'status', status: 429 } as const, 6],
    ['SERVER_ERROR', { kind: 'status', status: 500 } as const, 4],
    ['SERVER_PARSE_ERROR', { kind: 'status', status: 500, message: 'Failed to parse' } as const, 2],
    ['FIRST_TOKEN_TIMEOUT', { kind: 'silent', afterChunks: 0 } as const, 2],
    ['STREAM_STALL', { kind: 'pings' } as const, 2],
    ['CONFIG_INVALID', { kind: 'status', status: 401 } as const, 1],
    ['HISTORY_REJECTED', { kind: 'status', status: 400 } as const, 1],
    ['CONTEXT_OVERFLOW', { kind: 'status', status: 413 } as const, 1],
  ])('%s ends after its own number of attempts', async (code, fault, attempts) => {
    const { clock } = fakeClock();
    const retried = await completeWithRetry(request(await scripted(fault)), { clock });
    expect(retried.completion).toMatchObject({ outcome: 'failed', code });
    expect(retried.attempts).toHaveLength(attempts);
    expect(retried.attempts.at(-1)).not.toHaveProperty('waitMs');
  });

  it('bounds retries of different kinds together', async () => {
    let asked = 0;
    const url = await serving((incoming, response) => {
      incoming.resume();
      asked += 1;
      response.writeHead(asked % 2 === 0 ? 500 : 429).end();
    });
    const { clock } = fakeClock();
    const retried = await completeWithRetry(request(url), { clock });
    expect([asked, retried.attempts.length]).toEqual([6, 6]);
  });

  it('takes up to half off the wait, and never waits longer than the cap', async () => {
    const { clock, slept } = fakeClock(0.999_999);
    await completeWithRetry(request(await scripted({ kind: 'eof' })), { clock });
    expect(slept).toEqual([500, 1_000, 2_000, 4_000, 8_000]);
    const capped = fakeClock();
    const policy = { ...DEFAULT_RETRY_POLICY, capMs: 1_500 };
    await completeWithRetry(request(await scripted({ kind: 'eof' })), { clock: capped.clock, policy });
    expect(capped.slept).toEqual([1_000, 1_500, 1_500, 1_500, 1_500]);
  });

  it('waits at least as long as the server asks, and leaves a longer wait to the caller', async () => {
    const { clock, slept } = fakeClock();
    const patient = await scripted({ kind: 'status', status: 429, retryAfterSeconds: 7, times: 1 });
    expect(await completeWithRetry(request(patient), { clock })).toMatchObject({ completion: { outcome: 'complete' } });
    expect(slept).toEqual([7_000]);
    const { completion, attempts } = await completeWithRetry(
      request(await scripted({ kind: 'status', status: 429, retryAfterSeconds: 3_600 })),
      { clock },
    );
    expect(completion).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 3_600_000 });
    expect(attempts).toHaveLength(1);
  });

  it('a refused connection is tried five times more', async () => {
    const url = await serving(() => undefined);
    await stops.pop()?.();
    const { clock } = fakeClock();
    const retried = await completeWithRetry(request(url), { clock });
    expect(retried).toMatchObject({ completion: { code: 'ENDPOINT_UNREACHABLE' }, bytes: { sent: 0, received: 0 } });
    expect(retried.attempts).toHaveLength(6);
  });
});

describe('a loading model', () => {
  /** Loads until `polls` health probes have been answered; `health` is the status meanwhile. */
  async function loading(polls: number, health = 503): Promise<{ url: string; asked: () => number }> {
    let probes = 0;
    let asked = 0;
    const url = await serving((incoming, response) => {
      incoming.resume();
      if (incoming.url === '/health') {
        probes += 1;
        response.writeHead(probes > polls ? 200 : health).end('{"error":{"message":"Loading model"}}');
        return;
      }
      asked += 1;
      if (probes <= polls) return void response.writeHead(503).end('{"error":{"message":"Loading model"}}');
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n');
    });
    return { url, asked: () => asked };
  }

  it('is waited for by /health, and costs no retry', async () => {
    const { clock, slept } = fakeClock();
    const { url, asked } = await loading(8);
    const retried = await completeWithRetry(request(url), { clock });
    expect(retried).toMatchObject({ completion: { outcome: 'complete' }, healthProbes: 9 });
    expect(retried.attempts.map(({ counted }) => counted)).toEqual([false, true]);
    expect([asked(), slept]).toEqual([2, [1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000, 15_000, 15_000]]);
    const ofAttempts = retried.attempts.reduce((sum, { completion }) => sum + completion.bytes.received, 0);
    expect(retried.bytes.received).toBeGreaterThan(ofAttempts);
  });

  it('is asked itself where there is no /health', async () => {
    const { clock } = fakeClock();
    const { url, asked } = await loading(4, 404);
    expect(await completeWithRetry(request(url), { clock })).toMatchObject({ completion: { outcome: 'complete' } });
    expect(asked()).toBe(6);
  });

  it.each([503, 404, 200])('that never gets ready ends as a timeout of its own (health says %i)', async (health) => {
    const { clock, slept } = fakeClock();
    const { url } = await loading(Number.POSITIVE_INFINITY, health);
    const retried = await completeWithRetry(request(url), { clock });
    expect(retried.completion).toMatchObject({ outcome: 'failed', code: 'MODEL_LOADING_TIMEOUT' });
    expect(slept.reduce((sum, ms) => sum + ms, 0)).toBe(600_000);
  });
});

describe('cancelling', () => {
  it('ends a wait at once, by the real clock', async () => {
    const controller = new AbortController();
    const url = await scripted({ kind: 'status', status: 429, retryAfterSeconds: 60 });
    const startedAtMs = performance.now();
    const retried = await completeWithRetry(request(url, { signal: controller.signal }), {
      onAttempt: () => setImmediate(() => controller.abort()),
    });
    expect(retried.completion).toMatchObject({ outcome: 'failed', code: 'CANCELLED' });
    expect(retried.attempts).toHaveLength(1);
    expect(performance.now() - startedAtMs).toBeLessThan(10_000);
  });
});
