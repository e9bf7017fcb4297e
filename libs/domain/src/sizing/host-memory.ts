import { checkpointBytes } from './cache.js';
import type { Launch } from './launch.js';
import type { LayerPlan } from './layer-plan.js';
import { whole } from './refusal.js';

const MiB = 1024 * 1024;

/** Measured: a server without a model. */
const processBytes = 21 * MiB;
/** Per vocabulary entry: its text, its place in the maps, its merge. */
const tokenBytes = 384;
/** Per cell of a cache: position, sequences it belongs to, links. */
const cellBytes = 96;
/** What a graphics driver keeps for a process until it was measured. */
const deviceContextBytes = 512 * MiB;

/**
 * Memory that a server takes later, up to its own limits: the prompt cache, and checkpoints of slots whose cache cannot be wound back. 0 with both
 * switched off.
 */
export function growingHostBytes(plan: LayerPlan, launch: Launch): number {
  const checkpoints = launch.ctxCheckpoints * launch.parallel * checkpointBytes(plan, launch);
  return whole(launch.cacheRamMiB * MiB + checkpoints, 'the host caches');
}

/** What a server takes besides: the process, the vocabulary, the bookkeeping of the cache, the rows of logits handed out, a driver's context. */
export function overheadBytes(
  launch: Launch,
  model: { vocabulary: number; embedding: number; outputs: number },
): number {
  const outputs = 4 * model.outputs * (model.vocabulary + model.embedding);
  const cells = 2 * launch.cells * launch.streams * cellBytes;
  const device = launch.device === 'gpu' ? deviceContextBytes : 0;
  return whole(processBytes + model.vocabulary * tokenBytes + cells + outputs + device, 'the overhead');
}
