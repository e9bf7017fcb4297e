import type { Launch } from './launch.js';
import { padCells } from './launch.js';
import type { CachedLayer, LayerPlan } from './layer-plan.js';
import { refuse, whole } from './refusal.js';
import { cacheType, isQuantized, type CacheTypeName } from './tensor-types.js';

/** Buffers are allocated in steps of this many bytes (TENSOR_ALIGNMENT of ggml's CPU backend). */
const alignment = 32;

/** Rounds a tensor's bytes up as the allocator does. */
export function alignBytes(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

/** Cells of one stream of a windowed layer's cache (src/llama-kv-cache-iswa.cpp): what the window and one pass need, per slot that shares it. */
export function windowCells(plan: LayerPlan, launch: Launch): number {
  if (launch.swaFull) return launch.cells;
  const window = plan.window * (launch.unified ? launch.parallel : 1) + launch.ubatch;
  return padCells(Math.min(launch.cells, window));
}

/** Bytes of the K and V caches of all layers, indexer keys included. Refuses combinations that llama.cpp refuses. */
export function kvCacheBytes(plan: LayerPlan, launch: Launch): number {
  checkTypes(plan, launch);
  const narrow = windowCells(plan, launch);
  const bytes = plan.cached.reduce(
    (sum, layer) => sum + layerBytes(plan, layer, launch, layer.windowed ? narrow : launch.cells),
    0,
  );
  const row = rowBytes(plan.indexer.width, launch.keyType, 'an indexer key');
  const indexer = plan.indexer.layers * alignBytes(row * launch.cells * launch.streams);
  return whole(bytes + indexer, 'the KV cache');
}

function layerBytes(plan: LayerPlan, layer: CachedLayer, launch: Launch, cells: number): number {
  const rows = cells * launch.streams;
  const key = rowBytes(layer.keyWidth, launch.keyType, 'a K row') * rows;
  // Without flash attention V is stored transposed, every layer as wide as the widest (src/llama-kv-cache.cpp).
  const width = launch.flashAttention || plan.latent ? layer.valueWidth : plan.valueWidthMax;
  const value = rowBytes(width, launch.valueType, 'a V row') * rows;
  return alignBytes(whole(key, 'a K cache')) + alignBytes(whole(value, 'a V cache'));
}

function rowBytes(width: number, name: CacheTypeName, what: string): number {
  const { block, bytes } = cacheType(name);
  if (width % block !== 0)
    refuse(
      'unsupported-configuration',
      `${what} of ${width} elements does not divide into blocks of ${block} of cache type ${name}; use f16.`,
    );
  return (width / block) * bytes;
}

function checkTypes(plan: LayerPlan, launch: Launch): void {
  if (plan.latent && launch.keyType !== launch.valueType)
    refuse(
      'unsupported-configuration',
      `${plan.architecture} caches K and V as one row; --cache-type-k ${launch.keyType} and --cache-type-v ${launch.valueType} must be the same.`,
    );
  if (!launch.flashAttention) return;
  const sides = [
    ['K', launch.keyType, plan.headSizes.key],
    ['V', launch.valueType, plan.headSizes.value],
  ] as const;
  for (const [side, name, sizes] of sides) {
    const { block } = cacheType(name);
    const odd = isQuantized(name) ? sizes.find((size) => size % block !== 0) : undefined;
    if (odd !== undefined)
      refuse(
        'unsupported-configuration',
        `A ${side} cache of type ${name} needs heads of a multiple of ${block} elements; this model's have ${odd}. Use f16.`,
      );
  }
}

/**
 * Bytes of the recurrent states of all slots: always f32, whatever the cache types and the context (src/llama-memory-recurrent.cpp).
 * `rollback` states per slot are kept besides when a draft may be taken back.
 */
export function recurrentBytes(plan: LayerPlan, slots: number, rollback = 0): number {
  const { layers, convolution, state } = plan.recurrent;
  const rows = slots * (1 + rollback);
  return whole(layers * (alignBytes(4 * convolution * rows) + alignBytes(4 * state * rows)), 'the recurrent state');
}

/** Bytes that one checkpoint of one slot can take: its recurrent state and what its windowed layers hold. 0 for models that need none. */
export function checkpointBytes(plan: LayerPlan, launch: Launch): number {
  const recurrent = recurrentBytes(plan, 1);
  if (plan.window === 0 || launch.swaFull) return recurrent;
  const cells = Math.min(launch.cells, padCells(plan.window + launch.ubatch));
  const windowed = plan.cached
    .filter((layer) => layer.windowed)
    .reduce((sum, layer) => sum + layerBytes(plan, layer, { ...launch, streams: 1 }, cells), 0);
  return whole(recurrent + windowed, 'a checkpoint');
}
