import { describe, expect, it } from 'vitest';
import { architectures } from './architecture-table.js';
import type { Architecture, RecurrentRule, WindowRule } from './architecture.js';
import { dataSet, headerOf, launchOf, type ShapeCase } from '../../test/sizing/shapes.js';
import { sizeModel } from './size-model.js';

/** Every fact of the table, broken: an entry that could be wrong without a case noticing is no knowledge. */
function mutants(traits: Architecture): [string, Architecture][] {
  return [
    ...(
      [
        'window',
        'latent',
        'recurrent',
        'sharedCache',
        'secondEmbedding',
        'indexer',
        'noFlashAttention',
        'loops',
      ] as const
    )
      .filter((fact) => traits[fact] !== undefined)
      .map((fact): [string, Architecture] => [`without ${fact}`, without(traits, fact)]),
    ...(traits.window === undefined ? [] : windowMutants(traits, traits.window)),
    ...(traits.recurrent === undefined ? [] : recurrentMutants(traits, traits.recurrent)),
    ...(typeof traits.sharedCache === 'number'
      ? [[`one layer more has a cache`, { ...traits, sharedCache: traits.sharedCache + 1 }] as [string, Architecture]]
      : []),
    ...(traits.secondEmbedding === undefined
      ? []
      : [
          [
            'the other of two embeddings',
            {
              ...traits,
              secondEmbedding: traits.secondEmbedding === 'output-only' ? 'embedding-first' : 'output-only',
            },
          ] as [string, Architecture],
        ]),
  ];
}

function without(traits: Architecture, fact: keyof Architecture): Architecture {
  const copy: Partial<Record<keyof Architecture, unknown>> = { ...traits };
  delete copy[fact];
  return copy as unknown as Architecture;
}

function windowMutants(traits: Architecture, window: WindowRule): [string, Architecture][] {
  const changed = (name: string, rule: Partial<WindowRule>): [string, Architecture] => [
    name,
    { ...traits, window: { ...window, ...rule } },
  ];
  const { layers } = window;
  if (layers.by === 'pattern') return [changed('all layers windowed', { layers: { by: 'attention' } })];
  if (layers.by === 'attention') return [changed('every second layer full', { layers: { by: 'period', period: 2 } })];
  const { period, fullFirst } = layers;
  return [
    changed('a period longer by one', { layers: { ...layers, period: period + 1 } }),
    changed('a period shorter by one', { layers: { ...layers, period: period - 1 } }),
    changed('all layers windowed', { layers: { by: 'attention' } }),
    ...(window.fixed === undefined ? [] : [changed('half the window', { fixed: window.fixed / 2 })]),
    // With a whole number of periods both orders have as many full layers, so only some shapes can tell.
    ...(fullFirst === true ? [changed('full last', { layers: { by: 'period', period } })] : []),
  ];
}

function recurrentMutants(traits: Architecture, rule: RecurrentRule): [string, Architecture][] {
  const changed = (name: string, part: Partial<RecurrentRule>): [string, Architecture] => [
    name,
    { ...traits, recurrent: { ...rule, ...part } },
  ];
  const states = ['mamba', 'mamba-grouped', 'rwkv', 'shortconv', 'kda'] as const;
  const layers = ['all', 'no-kv-heads', 'interval', 'beside-attention'] as const;
  return [
    ...states.filter((state) => state !== rule.state).map((state) => changed(`state of ${state}`, { state })),
    ...layers.filter((name) => name !== rule.layers).map((name) => changed(`layers ${name}`, { layers: name })),
  ];
}

const set = dataSet('architectures');
const casesOf = new Map<string, ShapeCase[]>();
for (const example of set.cases) {
  const name = set.shapes[example.shape]?.architecture ?? '';
  casesOf.set(name, [...(casesOf.get(name) ?? []), example]);
}
const headers = new Map(Object.entries(set.shapes).map(([id, shape]) => [id, headerOf(shape)]));

/** The first case in which the table says something else than llama.cpp. */
function caught(name: string, traits: Architecture): string | undefined {
  const known = new Map([[name, traits]]);
  return (casesOf.get(name) ?? []).find((example) => {
    const header = headers.get(example.shape);
    if (header === undefined) return false;
    const sized = sizeModel(header, launchOf(example), {}, known);
    if (example.bytes === undefined || !sized.ok) return sized.ok === (example.bytes === undefined);
    const { weights, kvCache, recurrentState, compute } = sized.value.components;
    const { model, context, computeServer } = example.bytes;
    return weights !== model || kvCache + recurrentState !== context || compute < computeServer;
  })?.id;
}

/**
 * Mutants that mean the same as the original for every file there is: llama.cpp's rwkv6 takes no attention heads, and plamo2 has no groups.
 */
const equivalent = new Set(['rwkv6: layers no-kv-heads', 'rwkv6: layers beside-attention', 'plamo2: state of mamba']);

describe('the table of architectures', () => {
  const all = [...architectures].flatMap(([name, traits]) =>
    mutants(traits).map(([what, mutant]) => ({ name, what, mutant })),
  );

  it('has no fact that may be wrong unnoticed', () => {
    expect(all.length).toBeGreaterThan(150);
    const survivors = all
      .filter(({ name, what, mutant }) => !equivalent.has(`${name}: ${what}`) && caught(name, mutant) === undefined)
      .map(({ name, what }) => `${name}: ${what}`);
    expect(survivors).toEqual([]);
  });

  it('names the file of llama.cpp for every entry', () => {
    for (const [name, { source }] of architectures) expect(source, name).toMatch(/^[a-z0-9-]+\.cpp$/);
  });
});
