import { describe, expect, it } from 'vitest';
import { AnswerAssembler } from './assembler.js';

function assemble(...chunks: unknown[]): AnswerAssembler {
  const assembler = new AnswerAssembler({ turn: 3 });
  for (const chunk of chunks) expect(assembler.read(JSON.stringify(chunk))).toMatchObject({ outcome: 'read' });
  return assembler;
}
const delta = (piece: unknown, finish: string | null = null) => ({
  choices: [{ index: 0, delta: piece, finish_reason: finish }],
});
const call = (piece: { index?: number; id?: string; name?: string; args?: unknown }) =>
  delta({ tool_calls: [{ index: piece.index, id: piece.id, function: { name: piece.name, arguments: piece.args } }] });

describe('AnswerAssembler', () => {
  it.each([
    ['reasoning_content', { reasoning_content: 'hm' }],
    ['reasoning', { reasoning: 'hm' }],
    ['both, as servers in transition do', { reasoning: 'hm', reasoning_content: 'hm' }],
    ['one of them empty', { reasoning: 'hm', reasoning_content: '' }],
  ])('reads reasoning from %s', (_name, piece) => {
    expect(assemble(delta(piece)).reasoning).toBe('hm');
  });

  it('joins interleaved calls by index', () => {
    const { toolCalls } = assemble(
      call({ index: 0, id: 'a', name: 'run', args: '' }),
      call({ index: 1, id: 'b', name: 'read', args: '{"p"' }),
      call({ index: 0, args: '{"c":' }),
      call({ index: 1, args: ':1}' }),
      call({ index: 0, id: 'a', name: 'run', args: '2}' }),
    );
    expect(toolCalls).toEqual([
      { id: 'a', name: 'run', arguments: '{"c":2}' },
      { id: 'b', name: 'read', arguments: '{"p":1}' },
    ]);
  });

  it.each([
    ['index 0 for every call', 0],
    ['no index', undefined],
  ])('tells calls apart with %s', (_name, index) => {
    const at = index === undefined ? {} : { index };
    const byId = assemble(
      call({ ...at, id: 'a', name: 'run', args: '{}' }),
      call({ ...at, id: 'b', name: 'run', args: '{"x":1}' }),
    );
    expect(byId.toolCalls.map((one) => one.arguments)).toEqual(['{}', '{"x":1}']);
    const byName = assemble(call({ ...at, name: 'run', args: '{}' }), call({ ...at, name: 'run', args: '{"x":1}' }));
    expect(byName.toolCalls.map((one) => one.arguments)).toEqual(['{}', '{"x":1}']);
  });

  it('makes up missing and repeated ids: nine alphanumerics, the same each time, other ones in another turn', () => {
    const chunks = [
      call({ index: 0, name: 'run' }),
      call({ index: 1, id: 'same', name: 'run' }),
      call({ index: 2, id: 'same', name: 'run' }),
    ];
    const ids = assemble(...chunks).toolCalls.map(({ id }) => id);
    expect(ids).toEqual(['call00300', 'same', 'call00302']);
    expect(assemble(...chunks).toolCalls.map(({ id }) => id)).toEqual(ids);
    const other = new AnswerAssembler({ turn: 4 });
    other.read(JSON.stringify(chunks[0]));
    expect(other.toolCalls[0]?.id).not.toBe(ids[0]);
  });

  it('joins a name that comes in pieces, and takes arguments that come as an object', () => {
    const { toolCalls } = assemble(
      call({ index: 0, id: 'a', name: 'str_' }),
      call({ index: 0, name: 'replace' }),
      call({ index: 0, args: { old: 'x' } }),
    );
    expect(toolCalls).toEqual([{ id: 'a', name: 'str_replace', arguments: '{"old":"x"}' }]);
  });

  it('reads usage, cached tokens and the timings of llama.cpp', () => {
    const usage = { prompt_tokens: 10, completion_tokens: 2 };
    const timings = { cache_n: 8, prompt_n: 2, predicted_n: 3, predicted_ms: 1 };
    expect(assemble({ choices: [], usage }).usage).toEqual({ promptTokens: 10, completionTokens: 2 });
    expect(assemble({ choices: [], usage: { ...usage, prompt_tokens_details: { cached_tokens: 4 } } }).usage).toEqual({
      promptTokens: 10,
      completionTokens: 2,
      cachedTokens: 4,
    });
    expect(assemble({ choices: [], timings }).usage).toEqual({
      promptTokens: 10,
      completionTokens: 3,
      cachedTokens: 8,
    });
    expect(assemble({ choices: [], usage, timings }).usage).toEqual({
      promptTokens: 10,
      completionTokens: 2,
      cachedTokens: 8,
    });
    expect(assemble({ choices: [], usage: { prompt_tokens: -1, completion_tokens: 'x' } }).usage).toBeUndefined();
  });

  it('takes no finish from null, an empty string or another choice', () => {
    expect(assemble(delta({}, null)).finishReason).toBeUndefined();
    expect(assemble(delta({}, '')).finishReason).toBeUndefined();
    const other = assemble({ choices: [{ index: 1, delta: { content: 'x' }, finish_reason: 'stop' }] });
    expect([other.finishReason, other.content]).toEqual([undefined, '']);
    expect(assemble(delta({}, 'stop'), delta({}, 'length')).finishReason).toBe('stop');
  });

  it('counts prompt progress only when it moves', () => {
    const assembler = new AnswerAssembler({ turn: 0 });
    const progress = (processed: number) => assembler.read(JSON.stringify({ prompt_progress: { processed } }));
    expect([5, 5, 6].map((processed) => progress(processed))).toMatchObject([
      { progressed: true },
      { progressed: false },
      { progressed: true },
    ]);
  });

  it.each([
    '{"choices":[{"del',
    '',
    '42',
    'null',
    '[]',
    '{"choices":{}}',
    '{"choices":[{"delta":{"content":5}}]}',
    '{"choices":[{"delta":{"tool_calls":[{"index":-1}]}}]}',
  ])('calls %j malformed and keeps the answer as it was', (data) => {
    const assembler = assemble(delta({ content: 'a' }));
    expect(assembler.read(data).outcome).toBe('malformed');
    expect(assembler.content).toBe('a');
  });

  it('reads an error with its status, and 500 where it has none', () => {
    const read = (error: unknown) => new AnswerAssembler({ turn: 0 }).read(JSON.stringify({ error }));
    expect(read({ code: 429, message: 'x' })).toMatchObject({ outcome: 'error', status: 429 });
    expect(read('boom')).toMatchObject({ outcome: 'error', status: 500 });
    expect(read({ code: 'rate' })).toMatchObject({ outcome: 'error', status: 500 });
  });
});
