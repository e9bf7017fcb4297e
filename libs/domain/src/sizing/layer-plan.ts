import { architectures } from './architecture-table.js';
import type { Architecture, RecurrentRule } from './architecture.js';
import { Hyperparameters, type ModelHeader } from './model-header.js';
import { refuse, whole } from './refusal.js';

/** What one layer keeps per token, in elements. */
export interface CachedLayer {
  readonly windowed: boolean;
  readonly keyWidth: number;
  readonly valueWidth: number;
}

/** Everything about a model's layers that its memory depends on. */
export interface LayerPlan {
  readonly architecture: string;
  readonly traits: Architecture;
  readonly contextLength: number;
  readonly embedding: number;
  /** Of the file, prediction layers included; those are its last. */
  readonly fileLayers: number;
  readonly predictionLayers: number;
  readonly window: number;
  readonly latent: boolean;
  readonly cached: readonly CachedLayer[];
  /** The widest rows of any layer that attention reads, also where V is part of K. */
  readonly rowWidths: { readonly key: number; readonly value: number };
  /** The widest V row of any layer: without flash attention every layer's V is padded to it. */
  readonly valueWidthMax: number;
  readonly headSizes: { readonly key: readonly number[]; readonly value: readonly number[] };
  readonly headsMax: number;
  /** Layers with an indexer's key row of this width. */
  readonly indexer: { readonly layers: number; readonly width: number };
  readonly recurrent: { readonly layers: number; readonly convolution: number; readonly state: number };
}

/** llama.cpp's own bound on layers. */
const layersMax = 512;

/**
 * Reads what the layers of `header` keep in memory. Refuses (see `attempt`) architectures that are not `known` and headers that do not say
 * enough.
 */
export function planLayers(header: ModelHeader, known: ReadonlyMap<string, Architecture> = architectures): LayerPlan {
  const keys = new Hyperparameters(header);
  const traits = known.get(keys.architecture);
  if (traits === undefined) return refuseArchitecture(keys.architecture);
  const base = readBase(keys, traits);
  const recurrent = recurrentLayers(keys, traits.recurrent, base);
  const windowed = windowedLayers(keys, traits, base, recurrent);
  const latent = isLatent(keys, traits);
  checkShared(keys, traits, base, windowed.flags);
  if (
    base.heads[0] === 0 &&
    base.sizes.key === 0 &&
    base.kvHeads.some((heads) => heads > 0) &&
    traits.recurrent?.layers !== 'all'
  )
    refuse('bad-metadata', 'The first layer has no attention heads, so the width of the others is not known.');
  const widths = base.layers.map((il) => {
    const swa = windowed.flags[il] === true;
    const heads = base.kvHeads[il] ?? 0;
    const key = swa ? base.sizes.keyWindowed : base.sizes.key;
    const value = swa ? base.sizes.valueWindowed : base.sizes.value;
    return { key, value, keyWidth: whole(key * heads, 'a K row'), valueWidth: whole(value * heads, 'a V row') };
  });
  const cached = base.layers
    .filter((il) => hasCache(il, keys, traits, base, recurrent))
    .map((il) => ({
      windowed: windowed.flags[il] === true,
      keyWidth: widths[il]?.keyWidth ?? 0,
      valueWidth: latent ? 0 : (widths[il]?.valueWidth ?? 0),
    }));
  return {
    architecture: keys.architecture,
    traits,
    contextLength: keys.number('context_length'),
    embedding: base.embedding,
    fileLayers: base.fileLayers,
    predictionLayers: keys.optional('nextn_predict_layers', 0),
    window: windowed.size,
    latent,
    cached,
    rowWidths: {
      key: Math.max(0, ...widths.map((w) => w.keyWidth)),
      value: Math.max(0, ...widths.map((w) => w.valueWidth)),
    },
    valueWidthMax: Math.max(0, ...widths.map((w) => w.valueWidth)),
    headSizes: { key: distinct(widths.map((w) => w.key)), value: distinct(widths.map((w) => w.value)) },
    headsMax: Math.max(0, ...base.heads),
    indexer: indexerLayers(keys, traits, base),
    recurrent: recurrentState(keys, traits.recurrent, base, recurrent),
  };
}

function refuseArchitecture(name: string): never {
  const shown = /^[\w.-]{1,60}$/.test(name) ? name : 'a name that is none';
  return refuse(
    'unknown-architecture',
    `Nothing is known of how architecture "${shown}" uses memory, and a guess may take the machine down. ` +
      `Measure it with llama-fit-params (--oracle), or declare its memory (--declared MiB).`,
  );
}

interface Base {
  readonly embedding: number;
  readonly fileLayers: number;
  readonly trunk: number;
  /** Layer numbers, loops and prediction layers included. */
  readonly layers: readonly number[];
  readonly heads: readonly number[];
  readonly kvHeads: readonly number[];
  readonly feedForward: readonly number[];
  readonly sizes: { key: number; value: number; keyWindowed: number; valueWindowed: number };
}

function readBase(keys: Hyperparameters, traits: Architecture): Base {
  const embedding = keys.number('embedding_length');
  const fileLayers = keys.number('block_count');
  const loops = traits.loops === true ? Math.max(1, keys.optional('num_loops', 1)) : 1;
  if (fileLayers < 1 || fileLayers * loops > layersMax)
    refuse('bad-metadata', `block_count is ${fileLayers}, expected 1 to ${layersMax} layers.`);
  const prediction = keys.optional('nextn_predict_layers', 0);
  if (prediction >= fileLayers)
    refuse(
      'unsupported-configuration',
      `All ${fileLayers} layers are prediction layers (nextn_predict_layers is ${prediction}); such a file is a draft, not a model.`,
    );
  const repeat = (values: readonly number[]): number[] => Array.from({ length: loops }, () => values).flat();
  const headCount = keys.has('attention.head_count')
    ? keys.perLayer('attention.head_count', fileLayers)
    : noHeads(keys, traits, fileLayers);
  const heads = repeat(headCount);
  const kvHeads = keys.has('attention.head_count_kv')
    ? repeat(keys.perLayer('attention.head_count_kv', fileLayers))
    : heads;
  const ffn = keys.has('feed_forward_length') ? keys.perLayer('feed_forward_length', fileLayers) : [0];
  return {
    embedding,
    fileLayers,
    trunk: fileLayers * loops - prediction,
    layers: Array.from({ length: fileLayers * loops }, (_, il) => il),
    heads,
    kvHeads,
    feedForward: repeat(ffn),
    sizes: headSizes(keys, embedding, heads[0] ?? 0),
  };
}

function noHeads(keys: Hyperparameters, traits: Architecture, layers: number): readonly number[] {
  if (traits.recurrent?.layers === 'all') return Array.from({ length: layers }, () => 0);
  return [keys.number('attention.head_count')];
}

/** The first layer's heads decide the default; a first layer without heads makes llama.cpp take all rows as empty, which is refused here. */
function headSizes(keys: Hyperparameters, embedding: number, heads: number): Base['sizes'] {
  const fallback = heads > 0 ? Math.floor(embedding / heads) : 0;
  const read = heads > 0 || keys.architecture === 'plamo2';
  const key = read ? keys.optional('attention.key_length', fallback) : 0;
  const value = read ? keys.optional('attention.value_length', fallback) : 0;
  return {
    key,
    value,
    keyWindowed: keys.optional('attention.key_length_swa', key),
    valueWindowed: keys.optional('attention.value_length_swa', value),
  };
}

function isLatent(keys: Hyperparameters, traits: Architecture): boolean {
  if (traits.latent === undefined) return false;
  const key = keys.optional('attention.key_length_mla', 0);
  const value = keys.optional('attention.value_length_mla', 0);
  if (key > 0 && value > 0) return true;
  if (key > 0 || value > 0 || traits.latent === 'required')
    refuse(
      'missing-metadata',
      `${keys.architecture} needs attention.key_length_mla and attention.value_length_mla, both above 0.`,
    );
  return false;
}

function recurrentLayers(
  keys: Hyperparameters,
  rule: RecurrentRule | undefined,
  base: Pick<Base, 'layers' | 'trunk' | 'kvHeads' | 'feedForward' | 'fileLayers'>,
): readonly boolean[] {
  switch (rule?.layers) {
    case undefined:
      return base.layers.map(() => false);
    case 'all':
    case 'beside-attention':
      return base.layers.map(() => true);
    case 'no-kv-heads':
      return base.layers.map((il) => base.kvHeads[il] === 0);
    case 'no-kv-heads-no-ffn':
      return base.layers.map((il) => base.kvHeads[il] === 0 && base.feedForward[il] === 0);
    case 'interval': {
      if (keys.has('attention.recurrent_layers'))
        return keys.perLayer('attention.recurrent_layers', base.fileLayers).map((flag) => flag !== 0);
      const interval = keys.optional('full_attention_interval', 4);
      if (interval < 1) refuse('bad-metadata', 'full_attention_interval is 0, expected 1 or more.');
      return base.layers.map((il) => il < base.trunk && (il + 1) % interval !== 0);
    }
  }
}

function hasCache(
  il: number,
  keys: Hyperparameters,
  traits: Architecture,
  base: Base,
  recurrent: readonly boolean[],
): boolean {
  // Prediction layers are cached in a context of their own, and only when the server drafts with them.
  if (il >= base.trunk) return false;
  if (traits.sharedCache !== undefined && il >= firstShared(keys, traits, base)) return false;
  switch (traits.recurrent?.layers) {
    case 'all':
      return false;
    case 'beside-attention':
    case undefined:
      return true;
    case 'no-kv-heads-no-ffn':
      return recurrent[il] === false && base.feedForward[il] === 0;
    case 'no-kv-heads':
    case 'interval':
      return recurrent[il] === false;
  }
}

function windowedLayers(
  keys: Hyperparameters,
  traits: Architecture,
  base: Base,
  recurrent: readonly boolean[],
): { size: number; flags: readonly boolean[] } {
  const none = { size: 0, flags: base.layers.map(() => false) };
  const rule = traits.window;
  if (rule === undefined) return none;
  const given = keys.has('attention.sliding_window') ? keys.number('attention.sliding_window') : undefined;
  if (rule.size === 'required' && given === undefined) keys.number('attention.sliding_window');
  if (rule.when === 'positive' && (given === undefined || given === 0)) return none;
  if (rule.when === 'not-zero' && given === 0) return none;
  if (rule.when === '64-layers' && base.trunk !== 64 && base.fileLayers !== 64) return none;
  const size = rule.fixed ?? given ?? (typeof rule.size === 'number' ? rule.size : 0);
  const flags = windowFlags(keys, rule.layers, base, recurrent);
  // llama.cpp ends the process on these.
  if (!flags.includes(true))
    refuse(
      'bad-metadata',
      `No layer of this ${keys.architecture} model has a window, though it says it has one of ${size} tokens.`,
    );
  return { size, flags };
}

const patternKey = 'attention.sliding_window_pattern';

function windowFlags(
  keys: Hyperparameters,
  layers: NonNullable<Architecture['window']>['layers'],
  base: Base,
  recurrent: readonly boolean[],
): readonly boolean[] {
  const trunk = (flag: (il: number) => boolean): boolean[] => base.layers.map((il) => il < base.trunk && flag(il));
  const listed = (): boolean[] => {
    const flags = keys.perLayer(patternKey, base.fileLayers).map((flag) => flag !== 0);
    return base.layers.map((il) => flags[il] === true);
  };
  switch (layers.by) {
    case 'attention':
      return trunk((il) => recurrent[il] === false);
    case 'pattern':
      if (keys.has(patternKey) && !keys.isArray(patternKey))
        refuse(
          'bad-metadata',
          `${keys.architecture}.${patternKey} is a number, expected a list with one entry per layer.`,
        );
      return listed();
    case 'period': {
      if (keys.isArray(patternKey)) return listed();
      const period = keys.optional(patternKey, layers.period);
      if (period === 0) return trunk(() => true);
      return layers.fullFirst === true ? trunk((il) => il % period !== 0) : trunk((il) => il % period < period - 1);
    }
  }
}

/** Layers without a cache read that of the last windowed or the last full layer before them, which must be of their kind. */
function checkShared(keys: Hyperparameters, traits: Architecture, base: Base, windowed: readonly boolean[]): void {
  if (traits.sharedCache === undefined) return;
  const first = firstShared(keys, traits, base);
  const sharing = windowed.slice(first, base.layers.length);
  const sound = (flag: boolean): boolean => !sharing.includes(flag) || windowed[first - (flag ? 2 : 1)] === flag;
  if (sharing.length > 0 && (first < 2 || !sound(true) || !sound(false)))
    refuse(
      'bad-metadata',
      `Layers from ${first} on share the cache of layers ${first - 2} and ${first - 1}, which are not one windowed and one full layer.`,
    );
}

function firstShared(keys: Hyperparameters, traits: Architecture, base: Base): number {
  const all = base.layers.length;
  if (typeof traits.sharedCache === 'number') return Math.min(traits.sharedCache, all);
  const shared = keys.optional('attention.shared_kv_layers', 0);
  if (shared >= all) refuse('bad-metadata', `attention.shared_kv_layers is ${shared} of ${all} layers, expected less.`);
  return all - shared;
}

function indexerLayers(keys: Hyperparameters, traits: Architecture, base: Base): LayerPlan['indexer'] {
  if (traits.indexer === undefined) return { layers: 0, width: 0 };
  const width = keys.number('attention.indexer.key_length');
  switch (traits.indexer) {
    case 'all':
      return { layers: base.trunk, width };
    case 'typed':
      return { layers: typedIndexers(keys, base), width };
  }
}

/** Without a list every layer has one in models of less than 2^20 tokens; what longer ones default to is a list of one model, so it is asked for. */
function typedIndexers(keys: Hyperparameters, base: Base): number {
  if (keys.has('attention.indexer.types'))
    return keys.perLayer('attention.indexer.types', base.trunk).filter((flag, il) => il < base.trunk && flag !== 0)
      .length;
  if (keys.number('context_length') >= 1_048_576) keys.number('attention.indexer.types');
  return base.trunk;
}

function recurrentState(
  keys: Hyperparameters,
  rule: RecurrentRule | undefined,
  base: Base,
  recurrent: readonly boolean[],
): LayerPlan['recurrent'] {
  if (rule === undefined) return { layers: 0, convolution: 0, state: 0 };
  const layers = recurrent.filter((flag, il) => flag && il < base.trunk).length;
  const { convolution, state } = stateSizes(keys, rule, base);
  return {
    layers,
    convolution: whole(convolution, 'the convolution state'),
    state: whole(state, 'the recurrent state'),
  };
}

function stateSizes(keys: Hyperparameters, rule: RecurrentRule, base: Base): { convolution: number; state: number } {
  switch (rule.state) {
    case 'rwkv':
      return {
        convolution: keys.optional('token_shift_count', 2) * base.embedding,
        state: base.embedding * keys.number('wkv.head_size'),
      };
    case 'shortconv':
      return { convolution: base.embedding * Math.max(0, keys.number('shortconv.l_cache') - 1), state: 0 };
    case 'kda': {
      const head = keys.number('kda.head_dim');
      const inner = (base.heads[0] ?? 0) * head;
      const kernel = keys.number('ssm.conv_kernel');
      return { convolution: 3 * (kernel > 0 ? kernel - 1 : 3) * inner, state: head * inner };
    }
    case 'mamba':
    case 'mamba-grouped': {
      const inner = keys.number('ssm.inner_size');
      const size = keys.number('ssm.state_size');
      const groups = rule.state === 'mamba' ? 0 : keys.number('ssm.group_count');
      const kernel = keys.number('ssm.conv_kernel');
      return { convolution: Math.max(0, kernel - 1) * (inner + 2 * groups * size), state: size * inner };
    }
  }
}

function distinct(values: readonly number[]): readonly number[] {
  return [...new Set(values)];
}
