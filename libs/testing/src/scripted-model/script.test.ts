import { describe, expect, it } from 'vitest';
import { parseScenarios, type ScenarioInput } from './scenario.js';
import { findReply, type PromptMessage, type Scripted } from './script.js';

const scenarios = (...inputs: Partial<ScenarioInput>[]) =>
  parseScenarios(
    inputs.map((input, at) => ({
      source: `scenario ${at}`,
      value: { name: `s${at}`, describes: 'a case', turns: [{ reply: { content: `s${at}` } }], ...input },
    })),
  );
const user = (text: string): PromptMessage => ({ role: 'user', text });
const answer = (text = ''): PromptMessage => ({ role: 'assistant', text });
const tool = (text: string): PromptMessage => ({ role: 'tool', text });
const content = (found: Scripted): string =>
  found.outcome === 'reply' ? found.reply.content : `${found.outcome}: ${found.message}`;

describe('which scenario', () => {
  it('answers for its own model by default, and only for scripted models', () => {
    const all = scenarios({}, { select: { model: 'scripted/other' } });
    expect(content(findReply(all, 'scripted/s0', [user('a')]))).toBe('s0');
    expect(content(findReply(all, 'scripted/other', [user('a')]))).toBe('s1');
    expect(content(findReply(all, 'scripted/s1', [user('a')]))).toMatch(
      /no-model: .*"scripted\/s1".*scripted\/other, scripted\/s0/,
    );
    const anyModel = scenarios({ select: { promptMatches: 'a' } });
    expect(content(findReply(anyModel, 'scripted/any', [user('a')]))).toBe('s0');
    expect(content(findReply(anyModel, 'qwen3', [user('a')]))).toMatch(/^no-model/);
  });

  it('prefers the more specific, and refuses to guess between equals', () => {
    const model = 'scripted/m';
    const all = scenarios(
      { select: { model } },
      { select: { model, promptMatches: 'review' } },
      { select: { model, promptMatches: 'drift' } },
    );
    expect(content(findReply(all, model, [user('write')]))).toBe('s0');
    expect(content(findReply(all, model, [user('please review')]))).toBe('s1');
    expect(content(findReply(all, model, [user('review drift')]))).toMatch(/no-match: scenarios s1 and s2 both match/);
    expect(content(findReply(scenarios({ select: { model, promptMatches: 'x' } }), model, [user('y')]))).toMatch(
      /no-match: .*"y".*s0 \("x"\)/,
    );
  });

  it('stays the same when a later message would fit another', () => {
    const turns = [{ reply: { content: 'one' } }, { reply: { content: 'two' } }];
    const all = scenarios({ select: { promptMatches: 'code' }, turns }, { select: { promptMatches: 'review' } });
    expect(content(findReply(all, 'scripted/m', [user('code'), answer(), tool('review')]))).toBe('two');
  });
});

describe('which turn', () => {
  const all = scenarios({
    turns: [
      { reply: { content: 'first' } },
      { reply: { content: 'second' } },
      { when: { lastMessageMatches: '^error' }, reply: { content: 'sorry' } },
      { when: { turn: 4, lastMessageMatches: '^error' }, reply: { content: 'never: the earlier condition fits' } },
      { when: { turn: 5 }, reply: { content: 'last' } },
    ],
  });
  const at = (turn: number, last = 'ok') => [
    user('go'),
    ...Array.from({ length: turn }, () => [answer(), tool('ok')])
      .flat()
      .slice(0, -1),
    ...(turn > 0 ? [tool(last)] : []),
  ];

  it.each([
    [0, 'ok', 'first'],
    [1, 'ok', 'second'],
    [1, 'all fine\nerror: no match', 'sorry'],
    [4, 'error', 'sorry'],
    [5, 'ok', 'last'],
    [2, 'no error', 'no-match: scenario s0 has no turn 2'],
    [9, 'ok', 'no-match: scenario s0 has no turn 9'],
  ])('turn %i after %j is %s', (turn, last, expected) => {
    const messages = at(turn, last);
    expect(content(findReply(all, 'scripted/s0', messages)).startsWith(expected)).toBe(true);
    expect(findReply(all, 'scripted/s0', messages)).toEqual(findReply(all, 'scripted/s0', structuredClone(messages)));
  });
});

describe('what is captured', () => {
  const prompt = [
    user('Issue: fix "it"\nclause C1: a\nclause C2: b\nclause C1: again\nfile: src/$&.ts'),
    answer('clause C3: said by the model'),
    tool('hunk H7'),
  ];
  const found = (turn: Partial<ScenarioInput['turns'][number]>) =>
    findReply(scenarios({ turns: [{ when: { turn: 1 }, reply: {}, ...turn }] }), 'scripted/s0', prompt);

  it('fills every string, in lists, objects and names, and nothing else', () => {
    const scripted = found({
      capture: { title: '^Issue: (.*)$', file: '^file: (.*)$', hunk: 'hunk (H\\d)' },
      captureAll: { clauses: '^clause (C\\d)' },
      reply: {
        reasoning: '${hunk} of ${clauses}',
        content: {
          verdict: 'GO',
          title: '${title}',
          coverage: [{ $each: 'clauses', item: { clause: '${item}', at: '${hunk}' } }, 1, null],
        },
        toolCalls: [{ name: 'edit', arguments: { path: '${file}', literal: '$${file} $${', n: 1 } }],
      },
    });
    if (scripted.outcome !== 'reply') throw new Error(scripted.message);
    expect(scripted.reply.reasoning).toBe('H7 of C1, C2, C3');
    expect(JSON.parse(scripted.reply.content)).toEqual({
      verdict: 'GO',
      title: 'fix "it"',
      coverage: [{ clause: 'C1', at: 'H7' }, { clause: 'C2', at: 'H7' }, { clause: 'C3', at: 'H7' }, 1, null],
    });
    expect(JSON.parse(scripted.reply.toolCalls[0]?.arguments ?? '')).toEqual({
      path: 'src/$&.ts',
      literal: '${file} ${',
      n: 1,
    });
    expect(scripted.reply).toMatchObject({ finish: 'tool_calls', toolCalls: [{ id: 's00001t00' }] });
  });

  it.each([{ capture: { a: 'absent (x)' } }, { captureAll: { a: 'absent (x)' } }])(
    'says what it did not find: %j',
    (turn) => {
      expect(content(found(turn))).toMatch(
        /no-match: scenario s0, turn 1: capture(All)? a \("absent \(x\)"\) matches nothing/,
      );
    },
  );
});
