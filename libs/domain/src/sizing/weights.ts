import { alignBytes } from './cache.js';
import type { LayerPlan } from './layer-plan.js';
import type { ModelHeader, TensorInfo } from './model-header.js';
import { refuse, whole } from './refusal.js';
import { tensorTypes } from './tensor-types.js';

/** Bytes that a tensor's type and dimensions need; null for a type that is not known. Refuses rows that do not divide into the type's blocks. */
export function tensorStorage(tensor: Pick<TensorInfo, 'name' | 'dims' | 'type'>): number | null {
  const type = tensorTypes.get(tensor.type);
  if (type === undefined) return null;
  const [row = 1, ...rest] = tensor.dims;
  const bytes = rest.reduce((product, dim) => product * dim, Math.ceil(row / type.block) * type.bytes);
  return Number.isSafeInteger(bytes) ? bytes : Number.MAX_SAFE_INTEGER;
}

/** Bytes of a tensor in memory. A type that is not known takes what the header leaves the tensor up to the next one. */
function tensorBytes(tensor: TensorInfo): number {
  const needed = tensorStorage(tensor);
  if (needed === null) return tensor.bytes;
  const block = tensorTypes.get(tensor.type)?.block ?? 1;
  if ((tensor.dims[0] ?? 0) % block !== 0)
    refuse(
      'bad-tensors',
      `${tensor.name} has rows of ${tensor.dims[0]}, not a multiple of ${block} as its type needs.`,
    );
  if (needed > tensor.bytes)
    refuse('bad-tensors', `${tensor.name} needs ${needed} bytes, the file has ${tensor.bytes} for it; it is damaged.`);
  return needed;
}

/**
 * Weights as loaded: everything but prediction layers, which llama-server leaves out unless it drafts with them, and tied embeddings twice where
 * the architecture loads them twice.
 */
export function weightBytes(header: ModelHeader, plan: LayerPlan, options: { prediction: boolean }): number {
  const trunk = plan.fileLayers - plan.predictionLayers;
  const kept = header.tensors.filter((tensor) => options.prediction || (layerOf(tensor) ?? 0) < trunk);
  checkTensors(header, plan);
  if (!kept.some((tensor) => layerOf(tensor) !== undefined))
    refuse('bad-tensors', 'The file has no layer of the model itself; a file of prediction layers alone is a draft.');
  return whole(
    kept.reduce((sum, tensor) => sum + alignBytes(tensorBytes(tensor)), secondEmbedding(header, plan)),
    'the weights',
  );
}

/** Tensors that contradict the metadata: llama.cpp does not load such a file, and what the metadata says of it is worth nothing. */
function checkTensors(header: ModelHeader, plan: LayerPlan): void {
  const beyond = header.tensors.find((tensor) => (layerOf(tensor) ?? 0) >= plan.fileLayers);
  if (beyond !== undefined)
    refuse('bad-tensors', `The header says ${plan.fileLayers} layers, but the file has ${beyond.name}.`);
  const width = header.tensors.find(({ name }) => name === 'token_embd.weight')?.dims[0];
  if (width !== undefined && width !== plan.embedding)
    refuse('bad-tensors', `The header says an embedding of ${plan.embedding}, but token_embd.weight is ${width} wide.`);
}

function secondEmbedding(header: ModelHeader, plan: LayerPlan): number {
  if (plan.traits.secondEmbedding === undefined) return 0;
  const [present, absent] =
    plan.traits.secondEmbedding === 'embedding-first'
      ? ['token_embd.weight', 'output.weight']
      : ['output.weight', 'token_embd.weight'];
  const tensor = header.tensors.find(({ name }) => name === present);
  const tied = !header.tensors.some(({ name }) => name === absent);
  return tied && tensor !== undefined ? alignBytes(tensorBytes(tensor)) : 0;
}

/** On a card of its own, an embedding that also serves as output is held twice: on the host for looking up, on the card for the output. */
export function duplicatedOutputBytes(header: ModelHeader): number {
  const embedding = header.tensors.find((tensor) => tensor.name === 'token_embd.weight');
  const tied = !header.tensors.some((tensor) => tensor.name === 'output.weight');
  return tied && embedding !== undefined ? alignBytes(tensorBytes(embedding)) : 0;
}

/** The layer a tensor belongs to; undefined for embedding, output and the like. */
export function layerOf(tensor: TensorInfo): number | undefined {
  const digits = /^blk\.(\d{1,4})\./.exec(tensor.name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
