import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { launchFlags, type LaunchOptions } from './launch.js';
import type { MetadataValue, ModelHeader, TensorInfo } from './model-header.js';
import { dataSet, headerOf } from '../../test/sizing/shapes.js';
import { sizeModel, totalOf, type ModelSize } from './size-model.js';
import { marginBytes } from './source-chain.js';
import { cacheTypeNames } from './tensor-types.js';

const published = dataSet('memory').shapes;
const header = (id: string): ModelHeader => {
  const shape = published[id];
  if (shape === undefined) throw new Error(`no shape ${id}`);
  return headerOf(shape);
};
const llama = header('llama-3.1-8b');
const gemma = header('gemma-3-27b');
const latent = header('deepseek-v2-lite');
const hybrid = header('qwen3-next-80b-a3b');

function sized(model: ModelHeader, options: LaunchOptions = {}): ModelSize {
  const result = sizeModel(model, options);
  if (!result.ok) throw new Error(result.refusal.message);
  return result.value;
}

/** A copy with some metadata changed; null takes a key away. */
function changed(model: ModelHeader, changes: Readonly<Record<string, MetadataValue | null>>): ModelHeader {
  const metadata = new Map(model.metadata);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) metadata.delete(key);
    else metadata.set(key, value);
  }
  return { ...model, metadata };
}

const MiB = 1024 * 1024;

describe('what is not known is refused with the reason', () => {
  const list = (...values: number[]): MetadataValue => ({ length: values.length, values });
  it.each<[string, ModelHeader, LaunchOptions, string, RegExp]>([
    [
      'no architecture',
      changed(llama, { 'general.architecture': null }),
      {},
      'missing-metadata',
      /general\.architecture/,
    ],
    [
      'a new one',
      changed(llama, { 'general.architecture': 'llama5' }),
      {},
      'unknown-architecture',
      /"llama5".*--declared/,
    ],
    [
      'one that would move the cursor',
      changed(llama, { 'general.architecture': '\u001b[2J' }),
      {},
      'unknown-architecture',
      /a name that is none/,
    ],
    ['no layers', changed(llama, { 'llama.block_count': null }), {}, 'missing-metadata', /llama\.block_count/],
    [
      'none at all',
      changed(llama, { 'llama.block_count': 0 }),
      {},
      'bad-metadata',
      /block_count is 0, expected 1 to 512/,
    ],
    ['four thousand million', changed(llama, { 'llama.block_count': 0xffff_ffff }), {}, 'bad-metadata', /block_count/],
    ['half a layer', changed(llama, { 'llama.block_count': 1.5 }), {}, 'bad-metadata', /block_count is 1\.5/],
    [
      'heads beyond 2^53',
      changed(llama, { 'llama.attention.head_count': 2n ** 60n }),
      {},
      'bad-metadata',
      /head_count is 1152921504606846976/,
    ],
    [
      'too few entries',
      changed(llama, { 'llama.attention.head_count_kv': list(8, 8) }),
      {},
      'bad-metadata',
      /2 entries, expected one for each of 32/,
    ],
    ['no window size', changed(gemma, { 'general.architecture': 'cohere2' }), {}, 'missing-metadata', /cohere2/],
    [
      'no windowed layer',
      changed(gemma, { 'gemma3.attention.sliding_window_pattern': 1 }),
      {},
      'bad-metadata',
      /No layer .* has a window/,
    ],
    [
      'half of latent attention',
      changed(latent, { 'deepseek2.attention.value_length_mla': null }),
      {},
      'missing-metadata',
      /value_length_mla/,
    ],
    [
      'prediction layers alone',
      changed(llama, { 'llama.nextn_predict_layers': 32 }),
      {},
      'unsupported-configuration',
      /prediction layers/,
    ],
    [
      'no experts used',
      changed(latent, { 'deepseek2.expert_used_count': null }),
      {},
      'missing-metadata',
      /expert_used_count/,
    ],
    ['no state size', changed(hybrid, { 'qwen3next.ssm.state_size': null }), {}, 'missing-metadata', /ssm\.state_size/],
    ['K unlike V in one row', latent, { cacheTypeK: 'q8_0' }, 'unsupported-configuration', /must be the same/],
    [
      'quantized V without flash attention',
      llama,
      { cacheTypeV: 'q8_0', flashAttn: 'off' },
      'unsupported-configuration',
      /needs flash attention/,
    ],
    [
      'heads that do not divide',
      changed(llama, { 'llama.attention.key_length': 80, 'llama.attention.value_length': 80 }),
      { cacheTypeK: 'q4_0' },
      'unsupported-configuration',
      /have 80/,
    ],
    ['no slots', llama, { parallel: 0 }, 'unsupported-configuration', /--parallel is 0/],
    ['257 slots', llama, { parallel: 257 }, 'unsupported-configuration', /from 0 to 256/],
    ['a context that is no number', llama, { ctx: Number.NaN }, 'unsupported-configuration', /--ctx is NaN/],
    ['a negative batch', llama, { ubatch: -1 }, 'unsupported-configuration', /--ubatch is -1/],
    [
      'more layers than it says',
      changed(llama, { 'llama.block_count': 31 }),
      {},
      'bad-tensors',
      /31 layers, but the file has blk\.31/,
    ],
    [
      'another width than it says',
      changed(llama, { 'llama.embedding_length': 2048 }),
      {},
      'bad-tensors',
      /token_embd\.weight is 4096 wide/,
    ],
    ['no tensors', { ...llama, tensors: [] }, {}, 'bad-tensors', /no language model/],
    ['no context length', changed(llama, { 'llama.context_length': 0 }), {}, 'bad-metadata', /context is 0/],
  ])('%s', (_, model, options, code, message) => {
    const result = sizeModel(model, options);
    expect(result).toMatchObject({ ok: false, refusal: { code, message: expect.stringMatching(message) as string } });
  });
});

describe('a launch', () => {
  it('without options is what llama-server does: four slots that share one cache of the whole context', () => {
    const { launch } = sized(llama);
    expect(launch).toMatchObject({ ctx: 131_072, cells: 131_072, parallel: 4, unified: true, streams: 1, ubatch: 512 });
    expect(sized(llama, { parallel: 4 }).launch).toMatchObject({ unified: false, streams: 4, cells: 32_768 });
  });

  it('is told in flags that leave nothing to a default', () => {
    const { launch } = sized(gemma, {
      ctx: 8192,
      parallel: 2,
      cacheTypeK: 'q8_0',
      ubatch: 4096,
      swaFull: true,
      cacheRamMiB: 0,
    });
    expect(launchFlags(launch).join(' ')).toBe(
      '--fit off -c 8192 -np 2 --no-kv-unified -b 4096 -ub 4096 -ctk q8_0 -ctv f16 -fa auto --swa-full ' +
        '--cache-ram 0 --ctx-checkpoints 32 -ngl 0 --no-repack --no-mmproj',
    );
    expect(launchFlags(launch, { mmproj: 'p.gguf', draft: 'd.gguf' }).join(' ')).toMatch(
      /--mmproj p\.gguf -md d\.gguf$/,
    );
  });

  it('rounds the context up as llama.cpp does', () => {
    expect(sized(llama, { ctx: 1, parallel: 1 }).launch).toMatchObject({ cells: 256, ubatch: 1 });
    expect(sized(llama, { ctx: 1000, parallel: 3 }).launch).toMatchObject({ cells: 512, streams: 3 });
  });
});

describe('parts', () => {
  it('count what grows later: the prompt cache to its limit, checkpoints of models that cannot go back', () => {
    const host = (model: ModelHeader, options: LaunchOptions): number => sized(model, options).components.host;
    expect(host(llama, {})).toBe(8192 * MiB);
    expect(host(llama, { cacheRamMiB: 100, ctxCheckpoints: 5 })).toBe(100 * MiB);
    expect(host(hybrid, { cacheRamMiB: 0, ctxCheckpoints: 0 })).toBe(0);
    const { recurrentState } = sized(hybrid, { parallel: 1 }).components;
    expect(host(hybrid, { cacheRamMiB: 0, ctxCheckpoints: 3, parallel: 2 })).toBe(3 * 2 * recurrentState);
    expect(host(gemma, { cacheRamMiB: 0, ctxCheckpoints: 1, parallel: 1 })).toBeGreaterThan(400 * MiB);
    expect(host(gemma, { cacheRamMiB: 0, ctxCheckpoints: 1, parallel: 1, swaFull: true })).toBe(0);
  });

  it('count a tied embedding twice on a card of its own, and the driver', () => {
    const cpu = sized(gemma, {}).components;
    const gpu = sized(gemma, { device: 'gpu' }).components;
    const embedding = gemma.tensors.find(({ name }) => name === 'token_embd.weight')?.bytes ?? 0;
    expect(gpu.weights - cpu.weights).toBe(embedding);
    expect(gpu.overhead - cpu.overhead).toBe(512 * MiB);
    expect(sized(llama, { device: 'gpu' }).components.weights).toBe(sized(llama).components.weights);
  });

  it('leave prediction layers out, cache and weights', () => {
    const layers = 31;
    const model = changed(llama, { 'llama.nextn_predict_layers': 1 });
    const { weights, kvCache } = sized(model, { ctx: 4096 }).components;
    const last = llama.tensors
      .filter(({ name }) => name.startsWith('blk.31.'))
      .reduce((sum, { bytes }) => sum + bytes, 0);
    expect(weights).toBe(sized(llama).components.weights - last);
    expect(kvCache).toBe((sized(llama, { ctx: 4096 }).components.kvCache / 32) * layers);
  });

  it('size a draft as a whole model of its own, and its rows of logits', () => {
    const small = header('qwen3-0.6b');
    const options = { ctx: 8192, parallel: 2 };
    const both = sizeModel(llama, options, { draft: small });
    if (!both.ok) throw new Error(both.refusal.message);
    const alone = sized(small, { ...options, cacheRamMiB: 0 }).components;
    expect(both.value.components.draft).toBe(totalOf(alone));
    expect(both.value.components.overhead).toBeGreaterThan(sized(llama, options).components.overhead);
  });

  it('take a tensor of an unknown type for as long as the file has it, and refuse one that is longer than its place', () => {
    const replace = (change: Partial<TensorInfo>): ModelHeader => ({
      ...llama,
      tensors: llama.tensors.map((tensor) =>
        tensor.name === 'output_norm.weight' ? { ...tensor, ...change } : tensor,
      ),
    });
    const { weights } = sized(llama).components;
    expect(sized(replace({ type: 99, bytes: 1_000_000 })).components.weights).toBe(weights - 16_384 + 1_000_000);
    expect(sizeModel(replace({ bytes: 16_380 }), {})).toMatchObject({ ok: false, refusal: { code: 'bad-tensors' } });
  });
});

describe('rules that no case of the data sets needs', () => {
  const shape = (id: string): ModelHeader => {
    const found = dataSet('architectures').shapes[id];
    if (found === undefined) throw new Error(`no shape ${id}`);
    return headerOf(found);
  };

  it('a shared cache must be that of a layer of its kind', () => {
    const model = shape('gemma3n-a');
    expect(sizeModel(model, {}).ok).toBe(true);
    expect(sizeModel(changed(model, { 'gemma3n.attention.sliding_window_pattern': 3 }), {})).toMatchObject({
      ok: false,
      refusal: {
        code: 'bad-metadata',
        message: expect.stringMatching(/share the cache of layers 18 and 19/) as string,
      },
    });
  });

  it('a prediction layer has no recurrent state, whatever a list says', () => {
    const flags = { length: 48, values: Array.from({ length: 48 }, (_, il) => il % 4 !== 3 || il === 47) };
    const { recurrentState } = sized(hybrid, { parallel: 1 }).components;
    const listed = changed(hybrid, { 'qwen3next.attention.recurrent_layers': flags });
    expect(sized(listed, { parallel: 1 }).components.recurrentState).toBeGreaterThan(recurrentState);
    const predicting = changed(listed, { 'qwen3next.nextn_predict_layers': 1 });
    expect(sized(predicting, { parallel: 1 }).components.recurrentState).toBe(recurrentState);
  });

  it('a pass has as many tokens for every slot', () => {
    const compute = (ubatch: number, parallel: number): number =>
      sized(latent, { ctx: 8192, ubatch, parallel, kvUnified: true }).components.compute;
    expect(compute(32, 64)).toBe(compute(64, 64));
    expect(compute(512, 3)).toBe(compute(513, 3));
    expect(compute(512, 4)).toBeLessThan(compute(513, 4));
  });

  it('the margin is 5 % and 256 MiB of a header, 2 % of the oracle, nothing of a declaration', () => {
    expect(marginBytes('local-header', 1000 * MiB)).toBe(306 * MiB);
    expect(marginBytes('remote-header', 1000 * MiB)).toBe(306 * MiB);
    expect(marginBytes('oracle', 1000 * MiB)).toBe(20 * MiB);
    expect(marginBytes('measured', 1000 * MiB)).toBe(30 * MiB);
    expect(marginBytes('declared', 1000 * MiB)).toBe(0);
  });
});

describe('a projector', () => {
  const clip = (changes: Readonly<Record<string, MetadataValue | null>> = {}): ModelHeader =>
    changed(
      {
        metadata: new Map<string, MetadataValue>([
          ['general.architecture', 'clip'],
          ['clip.has_vision_encoder', true],
          ['clip.vision.image_size', 896],
          ['clip.vision.patch_size', 14],
          ['clip.vision.embedding_length', 1152],
          ['clip.vision.feed_forward_length', 4304],
          ['clip.vision.attention.head_count', 16],
        ]),
        tensors: [{ name: 'v.patch_embd.weight', dims: [14, 14, 3, 1152], type: 1, bytes: 1_354_752 }],
        fileBytes: 2_000_000,
      },
      changes,
    );

  it('counts its weights and what encoding takes', () => {
    const result = sizeModel(gemma, {}, { projector: clip() });
    if (!result.ok) throw new Error(result.refusal.message);
    const scores = 4 * 16 * (64 * 64 + 1) ** 2;
    expect(result.value.components.projector).toBeGreaterThan(1_354_752 + scores);
  });

  it.each([
    ['another model', { 'general.architecture': 'llama' }, 'unsupported-configuration'],
    ['no encoder', { 'clip.has_vision_encoder': null }, 'missing-metadata'],
    ['no image size', { 'clip.vision.image_size': null }, 'missing-metadata'],
    ['patches of nothing', { 'clip.vision.patch_size': 0 }, 'missing-metadata'],
  ])('is refused: %s', (_, changes, code) => {
    expect(sizeModel(gemma, {}, { projector: clip(changes) })).toMatchObject({ ok: false, refusal: { code } });
  });
});

describe('properties', () => {
  const models = new Map(Object.keys(published).map((id) => [id, header(id)]));
  /** By name, so that a counterexample can be read. */
  const model = fc.constantFrom(...models.keys());
  const named = (id: string): ModelHeader => models.get(id) ?? llama;
  const options = fc.record({
    ctx: fc.integer({ min: 1, max: 200_000 }),
    parallel: fc.integer({ min: 1, max: 64 }),
    kvUnified: fc.boolean(),
    swaFull: fc.boolean(),
    ubatch: fc.integer({ min: 1, max: 4096 }),
    device: fc.constantFrom('cpu' as const, 'unified' as const, 'gpu' as const),
  });

  it('every size is a whole number above 0, and more context never takes less', () => {
    fc.assert(
      fc.property(model, options, fc.integer({ min: 0, max: 100_000 }), (id, launch, more) => {
        const of = named(id);
        const small = totalOf(sized(of, launch).components);
        expect(Number.isSafeInteger(small) && small > 0).toBe(true);
        expect(totalOf(sized(of, { ...launch, ctx: launch.ctx + more }).components)).toBeGreaterThanOrEqual(small);
      }),
      { seed: 7 },
    );
  });

  it('wider cache types never take less', () => {
    const order = ['q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'f16', 'f32'] as const;
    expect(new Set([...order, 'bf16', 'iq4_nl'])).toEqual(new Set(cacheTypeNames));
    fc.assert(
      fc.property(model, options, fc.integer({ min: 0, max: order.length - 2 }), (id, launch, at) => {
        const of = named(id);
        const cache = (name: (typeof order)[number]): number =>
          sized(of, { ...launch, cacheTypeK: name, cacheTypeV: name }).components.kvCache;
        expect(cache(order[at + 1] ?? 'f32')).toBeGreaterThanOrEqual(cache(order[at] ?? 'q4_0'));
      }),
      { seed: 7 },
    );
  });

  it('a header with facts missing is refused or sized no smaller', () => {
    // A model without a window needs no checkpoints.
    const launch = { ctx: 8192, ctxCheckpoints: 0 };
    fc.assert(
      fc.property(model, fc.nat(), (id, at) => {
        const of = named(id);
        const architecture = String(of.metadata.get('general.architecture'));
        const keys = [...of.metadata.keys()].filter((key) => key.startsWith(`${architecture}.`));
        const key = keys[at % keys.length] ?? '';
        // Without its latent keys or window a file is another model, which llama.cpp loads as such.
        if (/vocab_size|key_length$|value_length$|context_length/.test(key)) return;
        const result = sizeModel(changed(of, { [key]: null }), launch);
        if (!result.ok) return;
        const honest = sized(of, launch).components;
        expect(totalOf(result.value.components), key).toBeGreaterThanOrEqual(totalOf(honest));
      }),
      { seed: 7, numRuns: 300 },
    );
  });
});
