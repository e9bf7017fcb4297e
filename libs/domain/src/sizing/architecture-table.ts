import type { Architecture, WindowRule } from './architecture.js';

/** Nothing special: K and V of every layer in full. */
const plain = (source: string): Architecture => ({ source });
const everyNth = (period: number): WindowRule['layers'] => ({ by: 'period', period });
const optionalWindow = (period: number): WindowRule => ({
  size: 'optional',
  when: 'positive',
  layers: everyNth(period),
});
const requiredWindow = (period: number): WindowRule => ({ size: 'required', when: 'always', layers: everyNth(period) });
const gatedDelta = { layers: 'interval', state: 'mamba-grouped' } as const;

/**
 * Architectures by `general.architecture`, as llama.cpp v0.5.0 (de3ff81) computes them. Facts read in its source (`source`, src/llama-model.cpp,
 * src/llama-hparams.cpp, src/llama-kv-cache*.cpp, src/llama-memory-*.cpp). An architecture that is not here is refused: a cache that is guessed
 * wrong takes the machine down.
 */
export const architectures: ReadonlyMap<string, Architecture> = new Map<string, Architecture>([
  ['llama', plain('llama.cpp')],
  ['deci', plain('deci.cpp')],
  ['falcon', plain('falcon.cpp')],
  ['gpt2', plain('gpt2.cpp')],
  ['gptneox', plain('gptneox.cpp')],
  ['mpt', plain('mpt.cpp')],
  ['baichuan', plain('baichuan.cpp')],
  ['starcoder', plain('starcoder.cpp')],
  ['starcoder2', plain('starcoder2.cpp')],
  ['refact', plain('refact.cpp')],
  ['bloom', plain('bloom.cpp')],
  ['stablelm', plain('stablelm.cpp')],
  ['qwen', plain('qwen.cpp')],
  ['qwen2', plain('qwen2.cpp')],
  ['qwen2moe', plain('qwen2moe.cpp')],
  ['qwen2vl', plain('qwen2vl.cpp')],
  ['qwen3', plain('qwen3.cpp')],
  ['qwen3moe', plain('qwen3moe.cpp')],
  ['qwen3vl', plain('qwen3vl.cpp')],
  ['qwen3vlmoe', plain('qwen3vlmoe.cpp')],
  ['phi2', plain('phi2.cpp')],
  // Its window is switched off in llama.cpp, so every layer is cached in full.
  ['phi3', plain('phi3.cpp')],
  ['phimoe', plain('phimoe.cpp')],
  ['plamo', plain('plamo.cpp')],
  ['codeshell', { source: 'codeshell.cpp', secondEmbedding: 'output-only' }],
  ['orion', plain('orion.cpp')],
  ['internlm2', plain('internlm2.cpp')],
  ['minicpm', plain('minicpm.cpp')],
  ['minicpm3', plain('minicpm3.cpp')],
  ['gemma', plain('gemma.cpp')],
  ['xverse', plain('xverse.cpp')],
  ['command-r', plain('command-r.cpp')],
  ['dbrx', plain('dbrx.cpp')],
  ['olmo', plain('olmo.cpp')],
  ['olmoe', plain('olmoe.cpp')],
  ['openelm', plain('openelm.cpp')],
  ['arctic', plain('arctic.cpp')],
  ['deepseek', plain('deepseek.cpp')],
  ['chatglm', plain('chatglm.cpp')],
  ['bitnet', plain('bitnet.cpp')],
  ['jais', plain('jais.cpp')],
  ['nemotron', plain('nemotron.cpp')],
  ['exaone', plain('exaone.cpp')],
  ['granite', plain('granite.cpp')],
  ['granitemoe', plain('granite-moe.cpp')],
  ['plm', plain('plm.cpp')],
  ['bailingmoe', plain('bailingmoe.cpp')],
  ['dots1', plain('dots1.cpp')],
  ['arcee', plain('arcee.cpp')],
  ['ernie4_5', plain('ernie4-5.cpp')],
  ['ernie4_5-moe', plain('ernie4-5-moe.cpp')],
  ['hunyuan-moe', plain('hunyuan-moe.cpp')],
  ['hunyuan-dense', plain('hunyuan-vl.cpp')],
  ['smollm3', plain('smollm3.cpp')],
  ['seed_oss', plain('seed-oss.cpp')],
  ['grovemoe', plain('grovemoe.cpp')],
  ['apertus', plain('apertus.cpp')],
  ['minimax-m2', plain('minimax-m2.cpp')],
  ['pangu-embedded', plain('pangu-embed.cpp')],
  ['mistral3', plain('mistral3.cpp')],
  ['paddleocr', plain('paddleocr.cpp')],
  ['maincoder', plain('maincoder.cpp')],
  ['talkie', plain('talkie.cpp')],
  ['grok', { source: 'grok.cpp', noFlashAttention: true }],
  ['nanbeige', { source: 'nanbeige.cpp', loops: true }],

  ['gemma2', { source: 'gemma2.cpp', window: { size: 4096, when: 'always', layers: everyNth(2) } }],
  ['gemma3', { source: 'gemma3.cpp', window: optionalWindow(6) }],
  [
    'gemma3n',
    {
      source: 'gemma3n.cpp',
      window: requiredWindow(5),
      sharedCache: 20,
      secondEmbedding: 'embedding-first',
      wide: 'altup',
    },
  ],
  [
    'gemma4',
    {
      source: 'gemma4.cpp',
      window: { size: 'required', when: 'always', layers: { by: 'pattern' } },
      sharedCache: 'key',
      secondEmbedding: 'embedding-first',
      wide: 'per-layer-input',
    },
  ],
  ['cohere2', { source: 'cohere2.cpp', window: requiredWindow(4) }],
  [
    'cohere2moe',
    {
      source: 'cohere2moe.cpp',
      window: {
        size: 'required',
        when: 'always',
        layers: { by: 'period', period: 4, fullFirst: true },
      },
    },
  ],
  ['gpt-oss', { source: 'openai-moe.cpp', window: requiredWindow(2) }],
  ['olmo2', { source: 'olmo2.cpp', window: optionalWindow(4) }],
  ['plamo3', { source: 'plamo3.cpp', window: optionalWindow(8) }],
  ['afmoe', { source: 'afmoe.cpp', window: optionalWindow(4) }],
  [
    'mellum',
    {
      source: 'mellum.cpp',
      window: { size: 'optional', when: 'positive', layers: { by: 'period', period: 4 } },
    },
  ],
  ['exaone4', { source: 'exaone4.cpp', window: { size: 4096, when: '64-layers', layers: everyNth(4) } }],
  ['exaone-moe', { source: 'exaone-moe.cpp', window: requiredWindow(4) }],
  // Attends in chunks of 8192, whatever the key says, unless it says 0.
  [
    'llama4',
    { source: 'llama4.cpp', window: { size: 'optional', fixed: 8192, when: 'not-zero', layers: everyNth(4) } },
  ],
  [
    'smallthinker',
    {
      source: 'smallthinker.cpp',
      window: { size: 'optional', fixed: 4096, when: 'positive', layers: { by: 'period', period: 4, fullFirst: true } },
    },
  ],
  [
    'mimo2',
    {
      source: 'mimo2.cpp',
      window: { size: 'required', when: 'always', layers: { by: 'pattern' } },
    },
  ],
  [
    'step35',
    {
      source: 'step35.cpp',
      window: { size: 'required', when: 'always', layers: { by: 'pattern' } },
    },
  ],

  ['glm4', plain('glm4.cpp')],
  ['glm4moe', plain('glm4-moe.cpp')],
  ['bailingmoe2', plain('bailingmoe2.cpp')],
  ['hy_v3', plain('hy-v3.cpp')],

  ['deepseek2', { source: 'deepseek2.cpp', latent: 'optional' }],
  ['mistral4', { source: 'mistral4.cpp', latent: 'optional' }],
  ['deepseek32', { source: 'deepseek32.cpp', latent: 'required', indexer: 'all' }],
  ['glm-dsa', { source: 'glm-dsa.cpp', latent: 'required', indexer: 'typed' }],

  ['mamba', { source: 'mamba.cpp', recurrent: { layers: 'all', state: 'mamba' } }],
  ['mamba2', { source: 'mamba2.cpp', recurrent: { layers: 'all', state: 'mamba-grouped' } }],
  ['rwkv6', { source: 'rwkv6.cpp', recurrent: { layers: 'all', state: 'rwkv' } }],
  ['rwkv6qwen2', { source: 'rwkv6qwen2.cpp', recurrent: { layers: 'all', state: 'rwkv' } }],
  ['rwkv7', { source: 'rwkv7.cpp', recurrent: { layers: 'all', state: 'rwkv' } }],
  ['arwkv7', { source: 'arwkv7.cpp', recurrent: { layers: 'all', state: 'rwkv' } }],
  ['jamba', { source: 'jamba.cpp', recurrent: { layers: 'no-kv-heads', state: 'mamba' } }],
  ['plamo2', { source: 'plamo2.cpp', recurrent: { layers: 'no-kv-heads', state: 'mamba-grouped' } }],
  ['granitehybrid', { source: 'granite-hybrid.cpp', recurrent: { layers: 'no-kv-heads', state: 'mamba-grouped' } }],
  ['falcon-h1', { source: 'falcon-h1.cpp', recurrent: { layers: 'beside-attention', state: 'mamba-grouped' } }],
  ['nemotron_h', { source: 'nemotron-h.cpp', recurrent: { layers: 'no-kv-heads-no-ffn', state: 'mamba-grouped' } }],
  ['nemotron_h_moe', { source: 'nemotron-h.cpp', recurrent: { layers: 'no-kv-heads-no-ffn', state: 'mamba-grouped' } }],
  [
    'lfm2',
    {
      source: 'lfm2.cpp',
      window: { size: 'optional', when: 'positive', layers: { by: 'attention' } },
      recurrent: { layers: 'no-kv-heads', state: 'shortconv' },
    },
  ],
  ['lfm2moe', { source: 'lfm2moe.cpp', recurrent: { layers: 'no-kv-heads', state: 'shortconv' } }],
  ['qwen3next', { source: 'qwen3next.cpp', recurrent: gatedDelta }],
  ['qwen35', { source: 'qwen35.cpp', recurrent: gatedDelta }],
  ['qwen35moe', { source: 'qwen35moe.cpp', recurrent: gatedDelta }],
  [
    'kimi-linear',
    { source: 'kimi-linear.cpp', latent: 'required', recurrent: { layers: 'no-kv-heads', state: 'kda' } },
  ],
]);
