/**
 * What llama.cpp does differently for one architecture as far as memory goes. Everything that is not said here is the common case: one K and
 * one V row per token and layer, `head_count_kv` heads wide.
 */
export interface Architecture {
  /** The file of llama.cpp v0.5.0 (de3ff81), below src/models, that these facts are from. */
  readonly source: string;
  /** Some layers see only the last tokens and keep a smaller cache. */
  readonly window?: WindowRule;
  /** Multi-head latent attention: one K row and no V row per token. `optional` files without its keys cache full K and V. */
  readonly latent?: 'optional' | 'required';
  /** Layers with a fixed state per sequence in place of a cache. */
  readonly recurrent?: RecurrentRule;
  /** Later layers read the cache of earlier ones. A number: only so many first layers have a cache; `key`: attention.shared_kv_layers do not. */
  readonly sharedCache?: number | 'key';
  /**
   * Tied embeddings are loaded twice: `embedding-first` without output.weight, because the output is loaded before the embedding; `output-only`
   * without token_embd.weight, likewise.
   */
  readonly secondEmbedding?: 'embedding-first' | 'output-only';
  /** A key cache of its own for choosing what to attend to. */
  readonly indexer?: IndexerRule;
  /** Flash attention is switched off whatever was asked for. */
  readonly noFlashAttention?: true;
  /** The same weights are run several times, each time with a cache of its own (`num_loops`). */
  readonly loops?: true;
  /** The feed-forward part needs more than its width says, see `compute-buffer.ts`. */
  readonly wide?: 'altup' | 'per-layer-input';
}

export interface WindowRule {
  /** `required`: no window key, no load. A number: the default, which `attention.sliding_window` replaces. */
  readonly size: 'required' | 'optional' | number;
  /** The window whatever the key says, once the rule applies at all. */
  readonly fixed?: number;
  /** `positive`: only when the key is there and not 0. `not-zero`: unless the key says 0. `64-layers`: only in a model of 64 layers. */
  readonly when: 'always' | 'positive' | 'not-zero' | '64-layers';
  readonly layers: WindowLayers;
}

export type WindowLayers =
  /**
   * Every `period`-th layer is full, the first of each period when `fullFirst`. A number in attention.sliding_window_pattern replaces the period, a
   * list there names the windowed layers.
   */
  | { readonly by: 'period'; readonly period: number; readonly fullFirst?: true }
  /** attention.sliding_window_pattern lists the windowed layers. */
  | { readonly by: 'pattern' }
  /** All layers that attend. */
  | { readonly by: 'attention' };

export interface RecurrentRule {
  /** Which layers: all of them; those without KV heads (and, for nemotron, without feed-forward part); all but every n-th; all besides attention. */
  readonly layers: 'all' | 'no-kv-heads' | 'no-kv-heads-no-ffn' | 'interval' | 'beside-attention';
  readonly state: 'mamba' | 'mamba-grouped' | 'rwkv' | 'shortconv' | 'kda';
}

/** `all`: every layer but prediction layers; `typed`: those attention.indexer.types marks. */
export type IndexerRule = 'all' | 'typed';
