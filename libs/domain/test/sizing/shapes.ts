import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { LaunchOptions } from '../../src/sizing/launch.js';
import type { MetadataValue, ModelHeader, TensorInfo } from '../../src/sizing/model-header.js';
import { tensorTypes, type CacheTypeName } from '../../src/sizing/tensor-types.js';

/** A model shape of the data sets; see README.md beside them. */
export interface Shape {
  readonly architecture: string;
  readonly metadata: Readonly<Record<string, readonly [string, unknown]>>;
  readonly tensors: readonly (readonly [string, readonly number[], string, string?])[];
}

export interface ShapeCase {
  readonly id: string;
  readonly shape: string;
  readonly config: {
    readonly ctx: number;
    readonly parallel: number;
    readonly unified: boolean;
    readonly cacheK: string;
    readonly cacheV: string;
    readonly swaFull: boolean;
    readonly flashAttn: string;
    readonly ubatch: number;
  };
  readonly bytes?: { readonly model: number; readonly context: number; readonly computeServer: number };
  readonly refused?: string;
}

export interface DataSet {
  readonly shapes: Readonly<Record<string, Shape>>;
  readonly cases: readonly ShapeCase[];
}

/** `memory`: 507 cases of eight published models; `architectures`: cases of the many architectures of the table. */
export function dataSet(name: 'memory' | 'architectures'): DataSet {
  return JSON.parse(sample(name)) as DataSet;
}

/** Shapes of `memory` with numbers of slots that do not divide the pass, or exceed it. */
export function oddSlots(): DataSet {
  const { cases } = JSON.parse(sample('slots')) as Pick<DataSet, 'cases'>;
  return { shapes: dataSet('memory').shapes, cases };
}

function sample(name: string): string {
  return readFileSync(fileURLToPath(new URL(`./sample/${name}.json`, import.meta.url)), 'utf8');
}

/** The header that a file of this shape has. */
export function headerOf(shape: Shape): ModelHeader {
  const metadata = new Map<string, MetadataValue>();
  for (const [key, [type, value]] of Object.entries(shape.metadata)) {
    const values = value as (number | boolean)[];
    metadata.set(key, type.startsWith('arr:') ? { length: values.length, values } : (value as MetadataValue));
  }
  const tensors = expand(shape);
  return { metadata, tensors, fileBytes: tensors.reduce((sum, tensor) => sum + tensor.bytes, 0) };
}

export function launchOf({ config }: ShapeCase): LaunchOptions {
  return {
    ctx: config.ctx,
    parallel: config.parallel,
    kvUnified: config.unified,
    cacheTypeK: config.cacheK as CacheTypeName,
    cacheTypeV: config.cacheV as CacheTypeName,
    swaFull: config.swaFull,
    flashAttn: config.flashAttn as 'on' | 'off' | 'auto',
    ubatch: config.ubatch,
  };
}

const typeNumbers = new Map([...tensorTypes].map(([number, { name }]) => [name, number]));

function expand(shape: Shape): TensorInfo[] {
  return shape.tensors.flatMap(([name, dims, typeName, layers]) => {
    const type = typeNumbers.get(typeName.toLowerCase());
    const { block, bytes } = tensorTypes.get(type ?? -1) ?? { block: 1, bytes: 0 };
    if (type === undefined) throw new Error(`unknown tensor type ${typeName}`);
    const size = (dims.reduce((product, dim) => product * dim, 1) / block) * bytes;
    const numbers = layers === undefined ? [undefined] : layerNumbers(layers);
    return numbers.map((il) => ({ name: name.replace('{i}', String(il)), dims, type, bytes: size }));
  });
}

/** "0-2,4-6", "3-47/4" (every fourth from 3). */
function layerNumbers(selector: string): number[] {
  return selector.split(',').flatMap((part) => {
    const [, first = '0', last = first, step = '1'] = /^(\d+)(?:-(\d+))?(?:\/(\d+))?$/.exec(part) ?? [];
    const numbers: number[] = [];
    for (let il = Number(first); il <= Number(last); il += Number(step)) numbers.push(il);
    return numbers;
  });
}
