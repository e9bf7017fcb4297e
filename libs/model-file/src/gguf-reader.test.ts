import fc from 'fast-check';
import { seededRandom, sizeModel, totalOf } from '@plumbline/domain';
import { describe, expect, it } from 'vitest';
import { ModelFileError } from './failure.js';
import { ggufBytes, memorySource, type Entry, type GgufParts } from './gguf.fixture.js';
import { readGguf } from './gguf-reader.js';

const arch: Entry = ['general.architecture', 'str', 'llama'];
const two: GgufParts['tensors'] = [
  ['token_embd.weight', [8, 4], 0],
  ['blk.0.attn_q.weight', [8, 8], 0],
];
const read = (parts: GgufParts, sizeBytes?: number) => readGguf(memorySource(ggufBytes(parts), sizeBytes));

async function fault(work: Promise<unknown>): Promise<ModelFileError> {
  const error = await work.then(
    () => new Error('nothing was wrong'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ModelFileError)) throw error;
  return error;
}

describe('a header', () => {
  it.each([1, 2, 3])('of version %i gives metadata and tensors', async (version) => {
    const metadata: Entry[] = [
      arch,
      ['a.u8', 'u8', 7],
      ['a.i16', 'i16', -3],
      ['a.u64', 'u64', 5n],
      ['a.big', 'u64', 2n ** 60n],
      ['a.i64', 'i64', -5n],
      ['a.f64', 'f64', 0.5],
      ['a.flag', 'bool', true],
      ['a.flags', 'arr:bool', [true, false]],
      ['a.list', 'arr:u32', [1, 2, 3]],
      ['a.wide', 'arr:u64', [1n, 2n ** 60n]],
      ['a.words', 'arr:str', ['x', 'yy']],
      ['a.text', 'str', 'ünï'],
    ];
    const file = await read({ version, metadata, tensors: two });
    expect(Object.fromEntries(file.metadata)).toEqual({
      'general.architecture': 'llama',
      'a.u8': 7,
      'a.i16': -3,
      'a.u64': 5,
      'a.big': 2n ** 60n,
      'a.i64': -5,
      'a.f64': 0.5,
      'a.flag': true,
      'a.flags': { length: 2, values: [true, false] },
      'a.list': { length: 3, values: [1, 2, 3] },
      'a.wide': { length: 2, values: [1, Number.NaN] },
      'a.words': { length: 2, values: null },
      'a.text': 'ünï',
    });
    expect(file.tensors).toEqual([
      { name: 'token_embd.weight', dims: [8, 4], type: 0, bytes: 128 },
      { name: 'blk.0.attn_q.weight', dims: [8, 8], type: 0, bytes: 256 },
    ]);
    expect(file.dataOffset % 32).toBe(0);
  });

  it('is read alone: of a file of 40 GB less than a step beyond the header', async () => {
    const tensors: GgufParts['tensors'] = [['w', [10_000_000_000], 0]];
    const bytes = ggufBytes({ tensors, dataBytes: 0 });
    const source = memorySource(bytes, bytes.length + 40_000_000_000);
    await readGguf(source, { headerBytesMax: 1 << 20, stepBytes: 4096 });
    expect(source.stats.read).toBeLessThan(bytes.length + 4096);
  });

  it('passes over long lists without keeping or reading them', async () => {
    const list = Array.from({ length: 500_000 }, (_, n) => n);
    const source = memorySource(
      ggufBytes({ metadata: [arch, ['tokenizer.ggml.scores', 'arr:f32', list], ['b', 'u32', 1]] }),
    );
    const file = await readGguf(source, { headerBytesMax: 1 << 24, stepBytes: 4096 });
    expect(file.metadata.get('tokenizer.ggml.scores')).toEqual({ length: 500_000, values: null });
    expect(file.metadata.get('b')).toBe(1);
    expect(source.stats.read).toBeLessThan(16_384);
  });

  it('with a tensor of an unknown type gives it the room up to the next', async () => {
    const tensors: GgufParts['tensors'] = [
      ['a', [64], 99, 0],
      ['b', [8], 0, 96],
    ];
    expect((await read({ tensors, dataBytes: 128 })).tensors).toMatchObject([{ bytes: 96 }, { bytes: 32 }]);
  });

  it('keeps to the alignment it states', async () => {
    const metadata: Entry[] = [arch, ['general.alignment', 'u32', 64]];
    const tensors: GgufParts['tensors'] = [
      ['a', [8], 0],
      ['b', [8], 0],
    ];
    const file = await read({ metadata, tensors, alignment: 64 });
    expect(file.dataOffset % 64).toBe(0);
    expect((await fault(read({ metadata, tensors, alignment: 32 }))).fault).toBe('malformed');
  });
});

describe('a header that lies is refused', () => {
  const big = 2n ** 63n;
  it.each<[string, GgufParts, string, RegExp]>([
    ['version 4', { version: 4 }, 'unsupported-version', /version 4, expected 1, 2 or 3/],
    ['version 0', { version: 0 }, 'unsupported-version', /version 0/],
    ['big-endian', { version: 0x0300_0000 }, 'big-endian', /big-endian/],
    ['endless tensors', { tensorCount: big }, 'over-limit', /number of tensors is 9223372036854775808/],
    ['endless metadata', { metadataCount: 2n ** 64n - 1n }, 'over-limit', /number of metadata keys/],
    ['more keys than there are', { metadataCount: 9n }, 'truncated', /metadata key 2/],
    ['more tensors than there are', { tensorCount: 9n }, 'truncated', /tensor 1/],
    ['a key twice', { metadata: [arch, arch] }, 'malformed', /general\.architecture is there twice/],
    [
      'a tensor twice',
      {
        tensors: [
          ['a', [8], 0],
          ['a', [8], 0],
        ],
      },
      'malformed',
      /tensor a is there twice/,
    ],
    ['a value type that does not exist', { metadata: [['x', 13, 0]] }, 'malformed', /x has value type 13/],
    ['a truth value of 2', { metadata: [['x', 'bool', 2]] }, 'malformed', /truth value of 2/],
    ['no dimensions', { tensors: [['a', [], 0]] }, 'malformed', /0 dimensions, expected 1 to 4/],
    ['five dimensions', { tensors: [['a', [1, 1, 1, 1, 1], 0]] }, 'malformed', /5 dimensions/],
    ['a dimension of 0', { tensors: [['a', [0], 0]] }, 'malformed', /dimension of 0/],
    [
      'dimensions whose product wraps around',
      { tensors: [['a', [2n ** 33n, 2n ** 33n], 0]], dataBytes: 64 },
      'malformed',
      /more than a file can hold/,
    ],
    [
      'a tensor beyond the file',
      { tensors: [['a', [1_000_000], 0]], dataBytes: 64 },
      'truncated',
      /reaches to 4000000/,
    ],
    [
      'an offset beyond the file',
      { tensors: [['a', [8], 0, big]], dataBytes: 64 },
      'truncated',
      /reaches to 9223372036854775808/,
    ],
    [
      'an offset between steps',
      {
        tensors: [
          ['a', [8], 0, 0],
          ['b', [8], 0, 33],
        ],
        dataBytes: 96,
      },
      'malformed',
      /33 are left for it/,
    ],
    [
      'tensors one on the other',
      {
        tensors: [
          ['a', [64], 0, 0],
          ['b', [64], 0, 32],
        ],
        dataBytes: 512,
      },
      'malformed',
      /needs 256 bytes, but the next tensor begins after 32/,
    ],
    [
      'an offset between steps behind a type of unknown size',
      {
        tensors: [
          ['a', [8], 99, 0],
          ['b', [8], 0, 33],
        ],
        dataBytes: 96,
      },
      'malformed',
      /steps of 32/,
    ],
    [
      'tensors backwards',
      {
        tensors: [
          ['a', [8], 0, 0],
          ['b', [8], 0, 64],
          ['c', [8], 0, 32],
        ],
        dataBytes: 512,
      },
      'malformed',
      /steps of 32|are left/,
    ],
    [
      'a gap',
      {
        tensors: [
          ['a', [8], 0, 0],
          ['b', [8], 0, 64],
        ],
        dataBytes: 512,
      },
      'malformed',
      /64 are left for it/,
    ],
    [
      'an alignment that is none',
      { metadata: [arch, ['general.alignment', 'u32', 33]] },
      'malformed',
      /alignment is 33/,
    ],
    ['an alignment of 0', { metadata: [arch, ['general.alignment', 'u32', 0]] }, 'malformed', /alignment is 0/],
  ])('%s', async (_, parts, name, message) => {
    const error = await fault(read(parts));
    expect(error.fault).toBe(name);
    expect(error.message).toMatch(message);
    expect(error.mend).not.toBe('');
  });

  it('an array of arrays, an array of nothing known, a string longer than the file', async () => {
    const header = ggufBytes({ metadataCount: 1n, metadata: [] });
    const with_ = (...words: (number | bigint)[]): Uint8Array => {
      const bytes = Buffer.concat([
        header,
        ...words.map((word) => {
          const field = Buffer.alloc(typeof word === 'bigint' ? 8 : 4);
          if (typeof word === 'bigint') field.writeBigUInt64LE(word);
          else field.writeUInt32LE(word);
          return field;
        }),
      ]);
      return new Uint8Array(bytes);
    };
    const short = (words: Uint8Array): Promise<ModelFileError> => fault(readGguf(memorySource(words)));
    const named = (...rest: (number | bigint)[]): Uint8Array => {
      const bytes = Buffer.concat([
        header,
        Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]),
        Buffer.from('x'),
        with_(...rest).subarray(header.length),
      ]);
      return new Uint8Array(bytes);
    };
    expect((await short(named(9, 9, 3n))).message).toMatch(/array of arrays/);
    expect((await short(named(9, 77, 3n))).message).toMatch(/elements of type 77/);
    expect((await short(named(8, 100_000n))).fault).toBe('truncated');
    expect((await short(named(8, 2n ** 40n))).fault).toBe('over-limit');
    expect((await short(named(9, 8, 2n ** 40n))).fault).toBe('over-limit');
    expect((await short(named(9, 4, 1_000_000n))).fault).toBe('truncated');
  });

  it.each([
    ['<!DOCTYPE html><html><head>', 'html-page', /\/resolve\//],
    ['version https://git-lfs.github.com/spec/v1', 'lfs-pointer', /git lfs pull/],
    ['PK\u0003\u0004 an archive of some kind', 'not-gguf', /\.gguf/],
    ['GGUF', 'not-gguf', /\.gguf/],
    ['', 'not-gguf', /\.gguf/],
  ])('%j is no model', async (text, name, mend) => {
    const error = await fault(readGguf(memorySource(new Uint8Array(Buffer.from(text)))));
    expect(error.fault).toBe(name);
    expect(error.mend).toMatch(mend);
  });

  it('longer than the limit, before it is read', async () => {
    const words = Array.from({ length: 2000 }, (_, n) => `word ${n}`);
    const source = memorySource(ggufBytes({ metadata: [arch, ['tokens', 'arr:str', words]] }));
    expect((await fault(readGguf(source, { headerBytesMax: 8192, stepBytes: 1024 }))).fault).toBe('over-limit');
    expect(source.stats.read).toBeLessThanOrEqual(8192 + 1024);
  });
});

describe('fuzz', () => {
  const hyperparameters: Entry[] = [
    arch,
    ['llama.context_length', 'u32', 4096],
    ['llama.embedding_length', 'u32', 64],
    ['llama.block_count', 'u32', 2],
    ['llama.feed_forward_length', 'u32', 128],
    ['llama.attention.head_count', 'arr:u32', [4, 4]],
    ['llama.attention.head_count_kv', 'u32', 2],
    ['llama.attention.key_length', 'u64', 16n],
    ['tokenizer.ggml.tokens', 'arr:str', ['<s>', 'a', 'b']],
  ];
  const tensors: NonNullable<GgufParts['tensors']> = [
    ['token_embd.weight', [64, 100], 0],
    ...[0, 1].flatMap((il): NonNullable<GgufParts['tensors']> => [
      [`blk.${il}.attn_q.weight`, [64, 64], 0],
      [`blk.${il}.ffn_up.weight`, [64, 128], 0],
      [`blk.${il}.ffn_down.weight`, [128, 64], 0],
    ]),
  ];
  const whole = ggufBytes({ metadata: hyperparameters, tensors });
  const headerBytes = whole.length - 4 * (64 * 100 + 2 * (64 * 64 + 2 * 64 * 128));

  /** A figure, a refusal or a fault; anything else is a crash. Reading is bounded. */
  async function outcome(bytes: Uint8Array): Promise<string> {
    const source = memorySource(bytes);
    try {
      const file = await readGguf(source, { headerBytesMax: 1 << 20, stepBytes: 4096 });
      const sized = sizeModel(file, { ctx: 512 });
      if (!sized.ok) return sized.refusal.code;
      expect(Number.isSafeInteger(totalOf(sized.value.components))).toBe(true);
      return 'sized';
    } catch (error) {
      if (!(error instanceof ModelFileError)) throw error;
      expect(error.message).not.toMatch(/[\u0000-\u001f]/);
      return error.fault;
    } finally {
      expect(source.stats.read).toBeLessThan(bytes.length + 4096);
    }
  }

  it('every byte of a header changed in turn: a figure or a reason, never a crash', async () => {
    expect(await outcome(whole)).toBe('sized');
    const seen = new Set<string>();
    for (let at = 0; at < headerBytes; at += 1) {
      for (const value of [0x00, 0xff, (whole[at] ?? 0) ^ 0x01, (whole[at] ?? 0) ^ 0x80]) {
        const bytes = whole.slice();
        bytes[at] = value;
        seen.add(await outcome(bytes));
      }
    }
    expect(seen.size).toBeGreaterThan(6);
  });

  it('cut anywhere, it is truncated', async () => {
    for (let end = 24; end < headerBytes; end += 1)
      expect(await outcome(whole.slice(0, end)), String(end)).toBe('truncated');
    expect(await outcome(whole.slice(0, whole.length - 1))).toBe('truncated');
  });

  it('several bytes at once, anything at all behind the magic number', async () => {
    const random = seededRandom('headers');
    for (let run = 0; run < 3_000; run += 1) {
      const bytes = whole.slice();
      for (let n = 0; n < 1 + Math.floor(random() * 6); n += 1)
        bytes[4 + Math.floor(random() * (headerBytes - 4))] = Math.floor(random() * 256);
      await outcome(bytes);
    }
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 20, maxLength: 400 }), async (tail) => {
        await outcome(new Uint8Array([...Buffer.from('GGUF'), 3, 0, 0, 0, ...tail]));
      }),
      { seed: 20_261_121, numRuns: 1_000 },
    );
  });
});
