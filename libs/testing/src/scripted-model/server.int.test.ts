import { afterEach, describe, expect, it } from 'vitest';
import { startScriptedModel, type ScriptedModel } from './server.js';
import type { ScenarioInput } from './scenario.js';

const running: ScriptedModel[] = [];
afterEach(async () => {
  for (const model of running.splice(0)) await model.stop();
});

type Turn = ScenarioInput['turns'][number];
async function start(...turns: Turn[]): Promise<ScriptedModel> {
  const model = await startScriptedModel({ scenarios: [{ name: 'case', describes: 'a case', turns }] });
  running.push(model);
  return model;
}

const question = { role: 'user', content: 'go' };
function ask(model: ScriptedModel, body: object = {}, signal?: AbortSignal): Promise<Response> {
  return fetch(`${model.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'scripted/case', messages: [question], stream: true, ...body }),
    ...(signal && { signal }),
  });
}

interface Chunk {
  choices: { delta: { content?: string }; finish_reason: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number; prompt_tokens_details: { cached_tokens: number } };
}
const chunksOf = (text: string): Chunk[] =>
  [...text.matchAll(/^data: (\{.*\})$/gm)].map((match) => JSON.parse(match[1] ?? '') as Chunk);

describe('startScriptedModel', () => {
  it('says everywhere that it is scripted', async () => {
    const model = await start({ reply: { content: 'hi' } });
    const health = await fetch(`${model.url}/health`);
    expect([health.headers.get('x-plumbline-scripted'), await health.json()]).toMatchObject([
      '*',
      { status: 'ok', scripted: true },
    ]);
    const models = await fetch(`${model.url}/v1/models`);
    expect(await models.json()).toMatchObject({
      scripted: true,
      data: [{ id: 'scripted/case' }],
      scenarios: [{ name: 'case' }],
    });
    const answer = await ask(model);
    expect(answer.headers.get('x-plumbline-scripted')).toBe('case');
    expect(await answer.text()).toContain('"system_fingerprint":"plumbline-scripted"');
    expect((await fetch(`${model.url}/other`)).headers.get('x-plumbline-scripted')).toBe('*');
  });

  it('streams in whole code points, then finish, usage if asked, [DONE]', async () => {
    const model = await start({ reply: { content: 'a👋b' }, chunkChars: 1 });
    const text = await (await ask(model, { stream_options: { include_usage: true } })).text();
    const chunks = chunksOf(text);
    expect(chunks.map(({ choices }) => choices[0]?.delta.content)).toEqual(['', 'a', '👋', 'b', undefined, undefined]);
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('stop');
    expect(chunks.at(-1)?.usage).toMatchObject({ completion_tokens: 1 });
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    expect(await (await ask(model)).text()).not.toContain('"usage"');
  });

  it('answers in one piece without stream', async () => {
    const model = await start({ reply: { content: 'hi', toolCalls: [{ name: 'run', arguments: { a: 1 } }] } });
    expect(await (await ask(model, { stream: false })).json()).toMatchObject({
      object: 'chat.completion',
      choices: [
        {
          message: { content: 'hi', tool_calls: [{ function: { name: 'run', arguments: '{"a":1}' } }] },
          finish_reason: 'tool_calls',
        },
      ],
    });
  });

  it('gives a repeated and a resumed conversation the same bytes, also after a restart', async () => {
    const turns: Turn[] = [{ reply: { content: 'one' } }, { reply: { content: 'two' } }];
    const model = await start(...turns);
    const later = { messages: [question, { role: 'assistant', content: 'whatever' }, question] };
    const [first, second] = [await (await ask(model)).text(), await (await ask(model, later)).text()];
    expect(chunksOf(second)[1]?.choices[0]?.delta.content).toBe('two');
    expect(await (await ask(model)).text()).toBe(first);
    const restarted = await start(...turns);
    expect(await (await ask(restarted, later)).text()).toBe(second);
  });

  it('refuses what no scenario answers, and names what was looked for', async () => {
    const model = await start({ reply: { content: 'hi' } });
    const later = await ask(model, { messages: [question, { role: 'assistant', content: 'a' }, question] });
    expect([later.status, later.headers.get('x-plumbline-scripted')]).toEqual([422, 'case']);
    expect(await later.json()).toMatchObject({
      error: { code: 422, message: expect.stringContaining('has no turn 1') as string },
    });
    const unknown = await ask(model, { model: 'qwen3' });
    expect([unknown.status, await unknown.text()]).toEqual([404, expect.stringContaining('scripted/case')]);
    expect((await ask(model, { messages: [] })).status).toBe(400);
    const broken = await fetch(`${model.url}/v1/chat/completions`, { method: 'POST', body: '{' });
    expect(broken.status).toBe(400);
    expect(model.requests.map(({ answer, reason }) => [answer, reason?.slice(0, 8)])).toEqual([
      ['refused', 'scenario'],
      ['refused', 'no scena'],
    ]);
  });

  it('records what it was asked and what it did', async () => {
    const model = await start({ reply: {}, fault: { kind: 'status', status: 500, times: 1 } });
    await (await ask(model, { seed: 7 })).text();
    await (await ask(model, { seed: 7 })).text();
    const [first, second] = model.requests;
    expect(first).toMatchObject({
      answer: 'fault:status',
      scenario: 'case',
      turn: 0,
      body: { seed: 7, messages: [question] },
    });
    expect(second).toMatchObject({ answer: 'reply', conversation: first?.conversation });
  });

  it('reports characters / 4 as tokens, and a shared prefix as cached', async () => {
    const model = await start({ reply: { content: 'x'.repeat(40) } }, { reply: { content: 'two' } });
    const usage = async (body: object) =>
      chunksOf(await (await ask(model, { stream_options: { include_usage: true }, ...body })).text()).at(-1)?.usage;
    const long = { role: 'user', content: 'y'.repeat(4_000) };
    const first = await usage({ messages: [long] });
    expect(first).toMatchObject({ completion_tokens: 10, prompt_tokens_details: { cached_tokens: 0 } });
    expect(first?.prompt_tokens).toBeGreaterThan(1_000);
    expect(first?.prompt_tokens).toBeLessThan(1_020);
    const longer = await usage({ messages: [long, { role: 'assistant', content: 'x' }, question] });
    expect(longer?.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual((first?.prompt_tokens ?? 0) - 1);
    const other = await usage({ messages: [{ role: 'user', content: 'z' }] });
    expect(other?.prompt_tokens_details.cached_tokens).toBeLessThan(20);
  });
});

describe('faults', () => {
  it('counts "the first n times" per conversation', async () => {
    const model = await start({
      reply: { content: 'hi' },
      fault: { kind: 'status', status: 503, message: 'Loading model', times: 2 },
    });
    const status = async (content: string) => {
      const response = await ask(model, { messages: [{ role: 'user', content }] });
      await response.text();
      return response.status;
    };
    expect([
      await status('a'),
      await status('b'),
      await status('a'),
      await status('a'),
      await status('b'),
      await status('b'),
    ]).toEqual([503, 503, 503, 200, 503, 200]);
  });

  it('status carries Retry-After and its text', async () => {
    const model = await start({
      reply: {},
      fault: { kind: 'status', status: 429, retryAfterSeconds: 2, message: 'slow', type: 'limit' },
    });
    const response = await ask(model);
    expect([response.status, response.headers.get('retry-after'), await response.json()]).toEqual([
      429,
      '2',
      { error: { code: 429, message: 'slow', type: 'limit' } },
    ]);
  });

  it.each<[Turn['fault'] & object, number]>([
    [{ kind: 'eof', afterChunks: 2 }, 2],
    [{ kind: 'error-event', afterChunks: 0 }, 0],
  ])('%j ends cleanly after its chunks, without finish', async (fault, said) => {
    const model = await start({ reply: { content: 'abcdef' }, chunkChars: 1, fault });
    const text = await (await ask(model)).text();
    expect(text.match(/"content":"[a-f]"/g) ?? []).toHaveLength(said);
    expect(text).not.toMatch(/"finish_reason":"|\[DONE\]/);
    expect(text.includes('"error"')).toBe(fault.kind === 'error-event');
  });

  it('rst resets after what was said has gone out', async () => {
    const model = await start({ reply: { content: 'abcdef' }, chunkChars: 1, fault: { kind: 'rst', afterChunks: 2 } });
    const response = await ask(model);
    let text = '';
    const reading = (async () => {
      for await (const part of response.body ?? []) text += Buffer.from(part as Uint8Array).toString();
    })();
    await expect(reading).rejects.toThrow('terminated');
    expect(text.match(/"content":"[a-f]"/g)).toHaveLength(2);
    await expect(
      start({ reply: {}, fault: { kind: 'rst', afterChunks: 0 } }).then((early) => ask(early)),
    ).rejects.toThrow('fetch failed');
  });

  it.each<[Turn['fault'] & object, RegExp]>([
    [{ kind: 'silent', afterChunks: 1 }, /^(?!.*: ping)/s],
    [{ kind: 'pings', afterChunks: 1, everyMs: 5 }, /(?:: ping\n\n){3}/],
  ])('%j says no more but stays until the client goes', async (fault, expected) => {
    const model = await start({ reply: { content: 'ab' }, chunkChars: 1, fault });
    const controller = new AbortController();
    const response = await ask(model, {}, controller.signal);
    let text = '';
    const timer = setTimeout(() => controller.abort(), 200);
    await expect(
      (async () => {
        for await (const part of response.body ?? []) text += Buffer.from(part as Uint8Array).toString();
      })(),
    ).rejects.toThrow(/abort/i);
    clearTimeout(timer);
    expect(text).toMatch(expected);
    expect(text).toContain('"content":"a"');
    expect(text).not.toContain('"content":"b"');
  });

  it('garbage does not stop the rest', async () => {
    const model = await start({ reply: { content: 'ab' }, chunkChars: 1, fault: { kind: 'garbage' } });
    const text = await (await ask(model)).text();
    expect(text).toMatch(/"content":"a".*\ndata: \{"choices":\[\{"del\n.*"content":"b".*\[DONE\]/s);
  });

  it('truncated-arguments cuts the last call and leaves the finish', async () => {
    const toolCalls = [
      { name: 'a', arguments: { whole: true } },
      { name: 'b', arguments: { cut: 'here' } },
    ];
    const model = await start({ reply: { toolCalls }, fault: { kind: 'truncated-arguments', keepChars: 5 } });
    expect(await (await ask(model, { stream: false })).json()).toMatchObject({
      choices: [
        {
          finish_reason: 'tool_calls',
          message: {
            tool_calls: [{ function: { arguments: '{"whole":true}' } }, { function: { arguments: '{"cut' } }],
          },
        },
      ],
    });
  });

  it('refuses, for a request in one piece, a fault only a stream can show', async () => {
    const model = await start({ reply: {}, fault: { kind: 'pings' } });
    const response = await ask(model, { stream: false });
    expect([response.status, await response.text()]).toEqual([422, expect.stringContaining('stream: true')]);
  });

  it('stop() breaks off silent answers', async () => {
    const model = await start({ reply: { content: 'a' }, fault: { kind: 'silent' } });
    const response = await ask(model);
    running.length = 0;
    await model.stop();
    await expect(response.text()).rejects.toThrow();
  });
});
