import { describe, expect, it } from 'vitest';
import { architectures } from './architecture-table.js';
import { dataSet, headerOf, launchOf, oddSlots, type DataSet } from '../../test/sizing/shapes.js';
import { sizeModel } from './size-model.js';

interface Score {
  cases: number;
  refused: number;
  wrong: string[];
  ratios: number[];
}

function score(set: DataSet): Score {
  const headers = new Map(Object.entries(set.shapes).map(([id, shape]) => [id, headerOf(shape)]));
  const result: Score = { cases: 0, refused: 0, wrong: [], ratios: [] };
  for (const example of set.cases) {
    const header = headers.get(example.shape);
    if (header === undefined) throw new Error(`no shape ${example.shape}`);
    const sized = sizeModel(header, launchOf(example));
    if (example.bytes === undefined) {
      result.refused += 1;
      if (sized.ok) result.wrong.push(`${example.id}: sized, llama.cpp says: ${example.refused ?? ''}`);
      continue;
    }
    result.cases += 1;
    if (!sized.ok) {
      result.wrong.push(`${example.id}: ${sized.refusal.message}`);
      continue;
    }
    const { weights, kvCache, recurrentState, compute } = sized.value.components;
    const { bytes } = example;
    if (weights !== bytes.model) result.wrong.push(`${example.id}: weights ${weights}, are ${bytes.model}`);
    if (kvCache + recurrentState !== bytes.context)
      result.wrong.push(`${example.id}: caches ${kvCache + recurrentState}, are ${bytes.context}`);
    if (compute < bytes.computeServer)
      result.wrong.push(`${example.id}: compute buffer ${compute}, is ${bytes.computeServer}`);
    result.ratios.push(compute / bytes.computeServer);
  }
  result.ratios.sort((a, b) => a - b);
  return result;
}

const median = (sorted: readonly number[]): number => sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;

describe('against what llama.cpp computes', () => {
  it('sizes eight published models: weights and caches to the byte, the compute buffer from above', () => {
    const { cases, refused, wrong, ratios } = score(dataSet('memory'));
    expect({ cases, refused }).toEqual({ cases: 502, refused: 5 });
    expect(wrong).toEqual([]);
    expect(median(ratios)).toBeLessThan(1.5);
    expect(ratios.at(-1)).toBeLessThan(2.5);
  });

  it('sizes shapes of all kinds of architectures likewise', () => {
    const set = dataSet('architectures');
    const { cases, wrong, ratios } = score(set);
    expect(cases).toBeGreaterThan(900);
    expect(wrong).toEqual([]);
    expect(median(ratios)).toBeLessThan(2);
  });

  it('sizes any number of slots', () => {
    const { cases, wrong } = score(oddSlots());
    expect(cases).toBe(24);
    expect(wrong).toEqual([]);
  });

  it('knows no architecture that was never compared', () => {
    const compared = new Set(Object.values(dataSet('architectures').shapes).map((shape) => shape.architecture));
    expect([...architectures.keys()].filter((name) => !compared.has(name))).toEqual([]);
    expect(architectures.size).toBeGreaterThan(90);
  });
});
