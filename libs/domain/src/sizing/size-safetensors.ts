import { attempt, refuse, whole, type Sized } from './refusal.js';
import type { SizeComponents } from './size-model.js';

/** A model as Transformers keeps it: its config.json and the bytes of all tensors of its safetensors files. */
export interface SafetensorsModel {
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensorBytes: number;
}

export type SafetensorsRuntime = 'vllm' | 'mlx';

export interface SafetensorsOptions {
  readonly runtime: SafetensorsRuntime;
  /** Tokens per sequence; absent: what the model was made for. */
  readonly ctx?: number;
  /** Sequences at a time. */
  readonly parallel?: number;
}

export interface SafetensorsSize {
  readonly modelType: string;
  readonly components: SizeComponents;
  readonly flags: readonly string[];
}

/**
 * `model_type`s of Transformers whose cache is K and V of every layer, or, marked `latent`, one compressed row in vLLM. Windows are not counted
 * as smaller: both runtimes may keep every layer in full. What keeps other states is not here and is refused.
 */
const modelTypes: ReadonlyMap<string, 'full' | 'latent'> = new Map([
  ['llama', 'full'],
  ['mistral', 'full'],
  ['mixtral', 'full'],
  ['qwen2', 'full'],
  ['qwen2_moe', 'full'],
  ['qwen3', 'full'],
  ['qwen3_moe', 'full'],
  ['gemma', 'full'],
  ['gemma2', 'full'],
  ['gemma3_text', 'full'],
  ['gpt_oss', 'full'],
  ['phi3', 'full'],
  ['granite', 'full'],
  ['olmo2', 'full'],
  ['olmo3', 'full'],
  ['cohere', 'full'],
  ['cohere2', 'full'],
  ['starcoder2', 'full'],
  ['smollm3', 'full'],
  ['seed_oss', 'full'],
  ['ernie4_5', 'full'],
  ['glm4', 'full'],
  ['glm4_moe', 'full'],
  ['deepseek_v2', 'latent'],
  ['deepseek_v3', 'latent'],
]);

const defaultParallel = 4;
const GiB = 1024 ** 3;
/** Tokens in one pass: vLLM's max_num_batched_tokens as given in the flags, mlx-lm's prefill step. */
const passTokens = { vllm: 2048, mlx: 2048 } as const;
/** CUDA context, graphs and workspace of vLLM; Metal's heaps of MLX. Not measured, generous. */
const runtimeBytes = { vllm: 3 * GiB, mlx: 1 * GiB } as const;

/** Memory of vLLM or mlx-lm with this model: weights as stored, a cache in full for every sequence, a bound on what one pass takes. */
export function sizeSafetensors(model: SafetensorsModel, options: SafetensorsOptions): Sized<SafetensorsSize> {
  return attempt(() => {
    const modelType = model.config['model_type'];
    const kind = typeof modelType === 'string' ? modelTypes.get(modelType) : undefined;
    if (kind === undefined)
      refuse(
        'unknown-architecture',
        `Nothing is known of how model_type "${String(modelType).slice(0, 60)}" uses memory in ${options.runtime}; declare its memory (--declared MiB).`,
      );
    const keys = new Config(model.config);
    const ctx = options.ctx === undefined || options.ctx === 0 ? keys.number('max_position_embeddings') : options.ctx;
    const parallel = options.parallel ?? defaultParallel;
    if (parallel < 1) refuse('unsupported-configuration', '--parallel is 0, expected 1 or more.');
    const kvCache = whole(cacheRow(keys, kind as 'full' | 'latent', options.runtime) * ctx * parallel, 'the KV cache');
    const components = {
      weights: whole(model.tensorBytes, 'the weights'),
      kvCache,
      recurrentState: 0,
      compute: passBytes(keys, options.runtime, parallel),
      // mlx-lm keeps caches of earlier prompts up to the limit in the flags.
      host: options.runtime === 'mlx' ? kvCache : 0,
      projector: 0,
      draft: 0,
      overhead: runtimeBytes[options.runtime],
    };
    return { modelType: modelType as string, components, flags: flagsOf(options.runtime, { ctx, parallel, kvCache }) };
  });
}

/** Bytes that one token takes in the cache of all layers. */
function cacheRow(keys: Config, kind: 'full' | 'latent', runtime: SafetensorsRuntime): number {
  const layers = keys.number('num_hidden_layers');
  const elementBytes = keys.elementBytes();
  const heads = keys.number('num_attention_heads');
  if (kind === 'full') {
    const head = keys.optional('head_dim') ?? Math.ceil(keys.number('hidden_size') / heads);
    return 2 * layers * (keys.optional('num_key_value_heads') ?? heads) * head * elementBytes;
  }
  const rope = keys.number('qk_rope_head_dim');
  // mlx-lm may keep K and V of every head; vLLM keeps the compressed row.
  const row =
    runtime === 'vllm'
      ? keys.number('kv_lora_rank') + rope
      : heads * (keys.number('qk_nope_head_dim') + rope + keys.number('v_head_dim'));
  return layers * row * elementBytes;
}

function passBytes(keys: Config, runtime: SafetensorsRuntime, parallel: number): number {
  const experts = keys.optional('num_experts_per_tok') ?? 0;
  const inner = Math.max(keys.number('intermediate_size'), experts * (keys.optional('moe_intermediate_size') ?? 0));
  const hidden = keys.number('hidden_size') * Math.max(1, experts);
  const row = 4 * inner + 8 * hidden;
  return whole(4 * (passTokens[runtime] * row + 2 * parallel * keys.number('vocab_size')), 'the pass');
}

function flagsOf(
  runtime: SafetensorsRuntime,
  { ctx, parallel, kvCache }: { ctx: number; parallel: number; kvCache: number },
): readonly string[] {
  if (runtime === 'mlx')
    return [
      '--decode-concurrency',
      String(parallel),
      '--prompt-concurrency',
      '1',
      '--prompt-cache-bytes',
      String(kvCache),
    ];
  return [
    ...['--max-model-len', String(ctx), '--max-num-seqs', String(parallel)],
    ...['--max-num-batched-tokens', String(passTokens.vllm), '--kv-cache-memory-bytes', String(kvCache)],
  ];
}

/** Numbers of a config.json; models with several parts keep those of the text in `text_config`. */
class Config {
  private readonly values: Readonly<Record<string, unknown>>;

  constructor(values: Readonly<Record<string, unknown>>) {
    this.values = values;
  }

  number(key: string): number {
    const value = this.optional(key);
    if (value === undefined)
      refuse('missing-metadata', `config.json has no ${key}; the model cannot be sized without it.`);
    return value as number;
  }

  optional(key: string): number | undefined {
    const value = this.values[key];
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 0xffff_ffff) return value;
    return refuse(
      'bad-metadata',
      `config.json says ${key} is ${JSON.stringify(value).slice(0, 40)}, expected a whole number above 0.`,
    );
  }

  /** Of the cache: that of the weights' type, which is what both runtimes take for it. */
  elementBytes(): number {
    const name = this.values['dtype'] ?? this.values['torch_dtype'];
    if (name === 'float32') return 4;
    if (name === undefined || name === null || name === 'bfloat16' || name === 'float16') return 2;
    return refuse(
      'bad-metadata',
      `config.json says dtype is ${JSON.stringify(name).slice(0, 40)}, expected float32, float16 or bfloat16.`,
    );
  }
}
