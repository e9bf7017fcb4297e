import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadScenarios, parseScenarios, ScenarioError } from './scenario.js';

const base = { name: 'case', describes: 'a case', turns: [{ reply: { content: 'hi' } }] };
const parse = (...values: unknown[]) => parseScenarios(values.map((value, at) => ({ source: `file ${at}`, value })));

describe('parseScenarios', () => {
  it('fills in the defaults', () => {
    expect(parse(base)[0]?.turns[0]).toEqual({
      capture: {},
      captureAll: {},
      reply: { content: 'hi', toolCalls: [] },
      delayMs: 0,
      chunkChars: 24,
    });
  });

  const turn = (more: object): object => ({ ...base, turns: [{ ...base.turns[0], ...more }] });
  it.each<[string, unknown, RegExp]>([
    ['an unknown key', { ...base, extra: 1 }, /extra/],
    ['an unknown key of a turn', turn({ replay: {} }), /replay/],
    ['an unknown key of a fault', turn({ fault: { kind: 'eof', afterChunk: 1 } }), /afterChunk/],
    ['an unknown fault', turn({ fault: { kind: 'explode' } }), /kind/],
    ['a model without prefix', { ...base, select: { model: 'qwen3' } }, /scripted\//],
    ['a name that is no header', { ...base, name: 'a b\r\n' }, /name/],
    ['no turn', { ...base, turns: [] }, /turns/],
    ['a broken pattern', { ...base, select: { promptMatches: '(' } }, /not a valid regular expression/],
    ['an empty when', turn({ when: {} }), /condition/],
    ['a capture without group', turn({ capture: { a: 'x' } }), /one capturing group/],
    ['a capture with two groups', turn({ captureAll: { a: '(x)(y)' } }), /one capturing group/],
    ['a capture named item', turn({ capture: { item: '(x)' } }), /reserved/],
    [
      'a template nobody captures',
      turn({ reply: { content: 'see ${file}' } }),
      /\$\{file\}, which this turn does not capture/,
    ],
    [
      'such a template deep in arguments',
      turn({ reply: { toolCalls: [{ name: 'x', arguments: { a: [{ b: '${c}' }] } }] } }),
      /\$\{c\}/,
    ],
    ['an $each nobody captures', turn({ reply: { content: [{ $each: 'ids', item: '${item}' }] } }), /\$\{ids\}/],
    ['a template that only every object has', turn({ reply: { content: '${constructor}' } }), /\$\{constructor\}/],
    ['an item outside $each', turn({ reply: { content: '${item}' } }), /\$\{item\}/],
    ['something else', 'text', /expected object/],
  ])('refuses %s, and says where', (_name, value, why) => {
    expect(() => parse(value)).toThrow(ScenarioError);
    expect(() => parse(value)).toThrow(why);
    expect(() => parse(value)).toThrow(/file 0/);
  });

  it('takes a literal ${ and named groups that do not capture', () => {
    expect(parse(turn({ capture: { a: '(?:x|y)(z)' }, reply: { content: '$${a} ${a}' } }))).toHaveLength(1);
  });

  it('refuses two of one name', () => {
    expect(() => parse(base, base)).toThrow('file 1 and file 0 are both named case');
  });
});

describe('loadScenarios', () => {
  const directory = mkdtempSync(join(tmpdir(), 'plumbline-scenarios-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('reads a directory in order of names, or one file, and names the file that is wrong', () => {
    writeFileSync(join(directory, 'b.json'), JSON.stringify({ ...base, name: 'second' }));
    writeFileSync(join(directory, 'a.json'), JSON.stringify({ ...base, name: 'first' }));
    writeFileSync(join(directory, 'notes.txt'), 'not read');
    expect(loadScenarios(directory).map(({ name }) => name)).toEqual(['first', 'second']);
    expect(loadScenarios(join(directory, 'b.json')).map(({ name }) => name)).toEqual(['second']);
    writeFileSync(join(directory, 'c.json'), '{');
    expect(() => loadScenarios(directory)).toThrow(/c\.json cannot be read as JSON/);
  });

  it('refuses what is not there', () => {
    expect(() => loadScenarios(join(directory, 'none'))).toThrow(ScenarioError);
    const empty = mkdtempSync(join(tmpdir(), 'plumbline-empty-'));
    expect(() => loadScenarios(empty)).toThrow(/holds no \*\.json/);
    rmSync(empty, { recursive: true });
  });
});
