import { alignBytes, recurrentBytes, windowCells } from './cache.js';
import type { Launch } from './launch.js';
import type { LayerPlan } from './layer-plan.js';
import { Hyperparameters, type ModelHeader } from './model-header.js';
import { refuse, whole } from './refusal.js';
import { layerOf } from './weights.js';

const f16 = 2;
const f32 = 4;
/** What lies between the tensors of the bound and those of the graph: fragments of the allocator, norms, positions, rotations. */
const fragments = { factor: 1.15, bytes: 1024 * 1024 };

/** Elements per token that the layers' widest parts hold at once. */
interface Widths {
  readonly attention: number;
  readonly dense: number;
  readonly experts: number;
  /** Inputs that every layer has its share of, and that live through the whole pass. */
  readonly perLayerInput: number;
}

/**
 * An upper bound of the compute buffer that llama-server reserves with `outputs` logit rows at most. The graph is evaluated part by part and the
 * allocator reuses what is dead, so the peak is the largest part plus what lives throughout. The widths come from the tensors themselves; how
 * many of a part's tensors live at once was read off llama.cpp's graphs and checked against its own figures, CPU backend, v0.5.0.
 */
export function computeBound(header: ModelHeader, plan: LayerPlan, launch: Launch, outputs: number): number {
  const widths = tensorWidths(header, plan);
  const row = f32 * passTokens(launch);
  const recurrent = plan.recurrent.layers > 0;
  const parts = {
    attention: (2 * widths.attention + 4 * plan.embedding) * row + attentionExtra(plan, launch),
    feedForward: (widths.dense + (recurrent ? 6 : 4) * plan.embedding) * row,
    experts: widths.experts === 0 ? 0 : (widths.experts + 4 * plan.embedding) * row,
    logits: f32 * outputs * vocabulary(header) + 2 * plan.embedding * row,
  };
  const peak = Math.max(...Object.values(parts));
  const throughout = maskBytes(plan, launch) + widths.perLayerInput * row;
  return whole(Math.ceil(throughout + peak * fragments.factor) + fragments.bytes, 'the compute buffer');
}

/** Tokens that a pass is reserved for: as many for every slot (graph_reserve in src/llama-context.cpp). */
function passTokens(launch: Launch): number {
  return Math.ceil(launch.ubatch / launch.parallel) * launch.parallel;
}

/** Who may see whom: one entry per cell and token, for full and for windowed layers. */
function maskBytes(plan: LayerPlan, launch: Launch): number {
  if (plan.cached.length === 0) return 0;
  const cells = widestCells(plan, launch) + (plan.window > 0 ? windowCells(plan, launch) : 0);
  return cells * passTokens(launch) * (launch.flashAttention ? f16 : f32);
}

/** Cells of the largest cache there is: a model may have windowed layers alone. */
function widestCells(plan: LayerPlan, launch: Launch): number {
  return plan.cached.every((layer) => layer.windowed) ? windowCells(plan, launch) : launch.cells;
}

function attentionExtra(plan: LayerPlan, launch: Launch): number {
  const cells = widestCells(plan, launch);
  const scores = launch.flashAttention ? 0 : f32 * plan.headsMax * cells * passTokens(launch);
  // Choosing what to attend to: scores, their order and a mask, for every cell and token.
  const choice = plan.indexer.layers > 0 ? 4 * f32 * cells * passTokens(launch) : 0;
  // Flash attention has no kernel for f32 rows: the layer's whole cache is copied as f16.
  const copied =
    (launch.keyType === 'f32' ? plan.rowWidths.key + plan.indexer.width : 0) +
    (launch.valueType === 'f32' ? plan.rowWidths.value : 0);
  const copy = launch.flashAttention ? f16 * copied * cells * launch.streams : 0;
  const state = plan.recurrent.layers > 0 ? (3 * recurrentBytes(plan, launch.parallel)) / plan.recurrent.layers : 0;
  return scores + choice + copy + state;
}

function tensorWidths(header: ModelHeader, plan: LayerPlan): Widths {
  const used = expertsUsed(header);
  const layers = new Map<number, Map<string, readonly number[]>>();
  for (const tensor of header.tensors) {
    const il = layerOf(tensor);
    if (il === undefined) continue;
    const layer = layers.get(il) ?? new Map<string, readonly number[]>();
    layer.set(tensor.name.slice(`blk.${il}.`.length), tensor.dims);
    layers.set(il, layer);
  }
  const all = [...layers.values()];
  const perLayer = header.tensors.find(({ name }) => name === 'per_layer_token_embd.weight')?.dims[0] ?? 0;
  const alternatives = plan.traits.wide === 'altup' ? 8 * plan.embedding : 0;
  return {
    attention: Math.max(0, ...all.map(attentionWidth)),
    dense: Math.max(0, ...all.map(denseWidth)),
    experts: Math.max(0, ...all.map((layer) => expertWidth(layer, used, plan.embedding))),
    perLayerInput: 2 * perLayer + alternatives,
  };
}

type LayerTensors = ReadonlyMap<string, readonly number[]>;
const mixer = /^(attn|ssm|time_mix|shortconv|indexer|channel_mix).*weight$/;

/** The rows that a layer's projections yield: queries, keys, values, gates, states. */
function attentionWidth(layer: LayerTensors): number {
  let width = 0;
  for (const [name, [, rows = 0, heads = 1]] of layer) if (mixer.test(name)) width += rows * heads;
  return width;
}

function denseWidth(layer: LayerTensors): number {
  const up = layer.get('ffn_up.weight')?.[1] ?? 0;
  const inner = layer.get('ffn_down.weight')?.[0] ?? up;
  const gated = layer.has('ffn_gate.weight') || up > inner;
  return inner * (gated ? 4 : 3);
}

/** Every token's rows for each of the experts it is sent to, those of the shared expert, and the choice among all. */
function expertWidth(layer: LayerTensors, used: number, embedding: number): number {
  const [inner = 0, , experts = 0] = layer.get('ffn_down_exps.weight') ?? [];
  if (experts === 0) return 0;
  const chunk = layer.get('ffn_down_chexps.weight')?.[0] ?? 0;
  const shared = layer.get('ffn_down_shexp.weight')?.[0] ?? 0;
  return used * (3 * Math.max(inner, chunk) + 2 * embedding) + 3 * shared + 3 * experts;
}

function expertsUsed(header: ModelHeader): number {
  const keys = new Hyperparameters(header);
  const isMixture = header.tensors.some(({ name }) => name.includes('_exps.'));
  return isMixture ? keys.number('expert_used_count') : 0;
}

/** Rows of the output: the larger of output and embedding matrix. */
export function vocabulary(header: ModelHeader): number {
  const rows = header.tensors
    .filter(({ name }) => name === 'output.weight' || name === 'token_embd.weight')
    .map(({ dims }) => dims[1] ?? 0);
  const size = Math.max(0, ...rows);
  if (size === 0)
    refuse('bad-tensors', 'The file has neither token_embd.weight nor output.weight; it is no language model.');
  return alignBytes(size);
}
