import { describe, expect, it } from 'vitest';
import { historyProblem, requestBody, type ChatMessage } from './chat.js';

const user: ChatMessage = { role: 'user', content: 'fix it' };
const calls = (...ids: string[]): ChatMessage => ({
  role: 'assistant',
  content: '',
  toolCalls: ids.map((id) => ({ id, name: 'run', arguments: '{}' })),
});
const reply = (toolCallId: string): ChatMessage => ({ role: 'tool', toolCallId, content: '' });

describe('historyProblem', () => {
  it.each<[string, ChatMessage[]]>([
    ['a question', [user]],
    ['calls and their replies in any order', [user, calls('a', 'b'), reply('b'), reply('a'), user]],
    ['an id used again in a later turn', [user, calls('a'), reply('a'), calls('a'), reply('a')]],
  ])('takes %s', (_name, messages) => expect(historyProblem(messages)).toBeUndefined());

  it.each<[string, ChatMessage[], RegExp]>([
    ['nothing', [], /no messages/],
    [
      'an empty assistant turn',
      [user, { role: 'assistant', content: ' \n', reasoning: 'hm' }],
      /message 1 .*without content/,
    ],
    ['a reply to no call', [user, reply('a')], /message 1 answers .*"a"/],
    ['two replies to a call', [user, calls('a'), reply('a'), reply('a')], /message 3/],
    ['a call without reply', [user, calls('a', 'b'), reply('a'), user], /message 3 comes before .*"b"/],
    ['a call without reply at the end', [user, calls('a')], /"a" has no reply/],
    ['two calls of one id', [user, calls('a', 'a'), reply('a')], /two tool calls/],
    [
      'cut arguments',
      [user, { role: 'assistant', content: '', toolCalls: [{ id: 'a', name: 'run', arguments: '{"x":' }] }, reply('a')],
      /"a" whose arguments/,
    ],
  ])('refuses %s', (_name, messages, why) => expect(historyProblem(messages)).toMatch(why));
});

describe('requestBody', () => {
  const request = { model: 'm', messages: [user], sampling: { temperature: 0.6, topP: 0.95, seed: 7, maxTokens: 100 } };

  it('writes the protocol, with every sampling parameter explicit', () => {
    const messages = [user, { ...calls('a'), reasoning: 'hm' }, reply('a')] as ChatMessage[];
    const tools = [{ name: 'run', description: 'runs', parameters: { type: 'object' } }];
    expect(JSON.parse(requestBody({ ...request, messages, tools, serverOptions: { top_k: 20 } }))).toEqual({
      model: 'm',
      messages: [
        { role: 'user', content: 'fix it' },
        {
          role: 'assistant',
          content: '',
          reasoning_content: 'hm',
          tool_calls: [{ id: 'a', type: 'function', function: { name: 'run', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'a', content: '' },
      ],
      tools: [{ type: 'function', function: tools[0] }],
      temperature: 0.6,
      top_p: 0.95,
      seed: 7,
      max_tokens: 100,
      stream: true,
      stream_options: { include_usage: true },
      top_k: 20,
    });
  });

  it('omits an empty tool list, which some servers refuse', () => {
    expect(requestBody({ ...request, tools: [] })).not.toContain('tools');
  });

  it.each(['stream', 'messages', 'tools', 'seed'])('does not let serverOptions replace %s', (key) => {
    expect(() => requestBody({ ...request, serverOptions: { [key]: 1 } })).toThrow(key);
  });

  it('keeps the bytes of earlier messages when one is appended', () => {
    const first = requestBody(request).split(']')[0] ?? '';
    expect(requestBody({ ...request, messages: [user, { role: 'assistant', content: 'ok' }] }).startsWith(first)).toBe(
      true,
    );
  });
});
