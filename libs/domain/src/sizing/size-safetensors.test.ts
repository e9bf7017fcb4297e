import { describe, expect, it } from 'vitest';
import { sizeSafetensors, type SafetensorsOptions, type SafetensorsSize } from './size-safetensors.js';

const qwen = {
  model_type: 'qwen3',
  num_hidden_layers: 28,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  head_dim: 128,
  hidden_size: 1024,
  intermediate_size: 3072,
  vocab_size: 151_936,
  max_position_embeddings: 40_960,
  torch_dtype: 'bfloat16',
};
const deepseek = {
  ...qwen,
  model_type: 'deepseek_v3',
  kv_lora_rank: 512,
  qk_rope_head_dim: 64,
  qk_nope_head_dim: 128,
  v_head_dim: 128,
};
const size = (config: Record<string, unknown>, options: Partial<SafetensorsOptions> = {}) =>
  sizeSafetensors({ config, tensorBytes: 1_192_135_680 }, { runtime: 'vllm', ctx: 4096, parallel: 2, ...options });

const value = (...args: Parameters<typeof size>): SafetensorsSize => {
  const result = size(...args);
  if (!result.ok) throw new Error(result.refusal.message);
  return result.value;
};

describe('safetensors', () => {
  it('count weights as stored and a cache in full for every sequence', () => {
    const result = size(qwen);
    expect(result).toMatchObject({
      ok: true,
      value: { modelType: 'qwen3', components: { weights: 1_192_135_680, kvCache: 2 * 28 * 8 * 128 * 2 * 4096 * 2 } },
    });
    expect(size({ ...qwen, torch_dtype: 'float32' })).toMatchObject({
      value: { components: { kvCache: 2 * 2 * 28 * 8 * 128 * 2 * 4096 * 2 } },
    });
  });

  it('say the flags that make it true', () => {
    expect(value(qwen).flags.join(' ')).toBe(
      `--max-model-len 4096 --max-num-seqs 2 --max-num-batched-tokens 2048 --kv-cache-memory-bytes ${2 * 28 * 8 * 128 * 2 * 4096 * 2}`,
    );
    const mlx = value(qwen, { runtime: 'mlx' });
    expect(mlx.flags).toContain('--prompt-cache-bytes');
    expect(mlx.components.host).toBeGreaterThan(0);
  });

  it('keep a compressed row in vLLM and every head in MLX', () => {
    expect(size(deepseek)).toMatchObject({ value: { components: { kvCache: 28 * 576 * 2 * 4096 * 2 } } });
    expect(size(deepseek, { runtime: 'mlx' })).toMatchObject({
      value: { components: { kvCache: 28 * 16 * (128 + 64 + 128) * 2 * 4096 * 2 } },
    });
  });

  it.each([
    ['an unknown type', { ...qwen, model_type: 'mamba2' }, 'unknown-architecture'],
    ['no type', { ...qwen, model_type: undefined }, 'unknown-architecture'],
    ['no layers', { ...qwen, num_hidden_layers: undefined }, 'missing-metadata'],
    ['layers in words', { ...qwen, num_hidden_layers: '28' }, 'bad-metadata'],
    ['half a layer', { ...qwen, num_hidden_layers: 0.5 }, 'bad-metadata'],
    ['an odd dtype', { ...qwen, torch_dtype: 'int3' }, 'bad-metadata'],
    ['no compressed row', { ...deepseek, kv_lora_rank: undefined }, 'missing-metadata'],
  ])('are refused: %s', (_, config, code) => {
    expect(size(config)).toMatchObject({ ok: false, refusal: { code } });
  });
});
