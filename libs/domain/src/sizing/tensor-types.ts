/** How a tensor or cache type stores its elements: `bytes` for every `block` elements of a row. */
export interface TensorType {
  readonly name: string;
  readonly block: number;
  readonly bytes: number;
}

const type = (name: string, block: number, bytes: number): TensorType => ({ name, block, bytes });

/**
 * Types by their number in a GGUF file. Facts of ggml's type traits (ggml/include/ggml.h and ggml/src/ggml.c of llama.cpp v0.5.0). Numbers
 * that are missing were withdrawn or are unknown; a tensor of such a type still has a size in the file, see `tensorBytes`.
 */
export const tensorTypes: ReadonlyMap<number, TensorType> = new Map([
  [0, type('f32', 1, 4)],
  [1, type('f16', 1, 2)],
  [2, type('q4_0', 32, 18)],
  [3, type('q4_1', 32, 20)],
  [6, type('q5_0', 32, 22)],
  [7, type('q5_1', 32, 24)],
  [8, type('q8_0', 32, 34)],
  [9, type('q8_1', 32, 36)],
  [10, type('q2_k', 256, 84)],
  [11, type('q3_k', 256, 110)],
  [12, type('q4_k', 256, 144)],
  [13, type('q5_k', 256, 176)],
  [14, type('q6_k', 256, 210)],
  [15, type('q8_k', 256, 292)],
  [16, type('iq2_xxs', 256, 66)],
  [17, type('iq2_xs', 256, 74)],
  [18, type('iq3_xxs', 256, 98)],
  [19, type('iq1_s', 256, 50)],
  [20, type('iq4_nl', 32, 18)],
  [21, type('iq3_s', 256, 110)],
  [22, type('iq2_s', 256, 82)],
  [23, type('iq4_xs', 256, 136)],
  [24, type('i8', 1, 1)],
  [25, type('i16', 1, 2)],
  [26, type('i32', 1, 4)],
  [27, type('i64', 1, 8)],
  [28, type('f64', 1, 8)],
  [29, type('iq1_m', 256, 56)],
  [30, type('bf16', 1, 2)],
  [34, type('tq1_0', 256, 54)],
  [35, type('tq2_0', 256, 66)],
  [39, type('mxfp4', 32, 17)],
]);

/** Types that llama-server takes for `--cache-type-k` and `--cache-type-v`. */
export const cacheTypeNames = ['f32', 'f16', 'bf16', 'q8_0', 'q5_1', 'q5_0', 'q4_1', 'q4_0', 'iq4_nl'] as const;
export type CacheTypeName = (typeof cacheTypeNames)[number];

const byName = new Map([...tensorTypes.values()].map((entry) => [entry.name, entry]));

/** The storage of a cache type. */
export function cacheType(name: CacheTypeName): TensorType {
  const found = byName.get(name);
  if (found === undefined) throw new Error(`no tensor type for cache type ${name}`);
  return found;
}

/** Whether elements are stored in blocks with a common scale. */
export function isQuantized(name: CacheTypeName): boolean {
  return cacheType(name).block > 1;
}
