import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLocalFile } from './byte-source.js';
import { ggufBytes, type Entry } from './gguf.fixture.js';
import { readSafetensorsModel } from './safetensors.js';
import { readGgufModel, shardAddresses } from './shards.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'model-file-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const shard = (n: number, count: number, total = 3): Uint8Array => {
  const split: Entry[] = [
    ['split.no', 'u16', n],
    ['split.count', 'u16', count],
    ['split.tensors.count', 'i32', total],
  ];
  return ggufBytes({
    metadata: n === 0 ? [['general.architecture', 'str', 'llama'], ...split] : split,
    tensors: [[`t${n}`, [8], 0]],
  });
};
const name = (n: number): string => join(folder, `m-0000${n}-of-00003.gguf`);
const put = (n: number, bytes = shard(n - 1, 3)): Promise<void> => writeFile(name(n), bytes);
const read = (path = name(1)) => readGgufModel(path, openLocalFile);

describe('shards', () => {
  it('are put together, whichever is named', async () => {
    await Promise.all([put(1), put(2), put(3)]);
    for (const n of [1, 2, 3]) {
      const header = await read(name(n));
      expect(header.tensors.map((tensor) => tensor.name)).toEqual(['t0', 't1', 't2']);
      expect(header.metadata.get('general.architecture')).toBe('llama');
      expect(header.fileBytes).toBe(shard(0, 3).length + shard(1, 3).length + shard(2, 3).length);
    }
  });

  it('that are missing are named', async () => {
    await put(2);
    await expect(read(name(2))).rejects.toMatchObject({
      fault: 'missing-shards',
      message: '2 of 3 shards are missing: m-00001-of-00003.gguf, m-00003-of-00003.gguf.',
    });
    await rm(name(2));
    await expect(read()).rejects.toMatchObject({ fault: 'missing-shards' });
  });

  it.each([
    ['of another order', () => shard(2, 3), /says it is shard 2 of 3, expected 1 of 3/],
    ['of another split', () => shard(1, 4), /says it is shard 1 of 4/],
    ['without a number', () => ggufBytes({ tensors: [['x', [8], 0]] }), /shard undefined/],
  ])('%s are refused', async (_, bytes, message) => {
    await Promise.all([put(1), put(2, bytes()), put(3)]);
    await expect(read()).rejects.toMatchObject({
      fault: 'inconsistent-shards',
      message: expect.stringMatching(message) as string,
    });
  });

  it('whose tensors are too few or the same are refused', async () => {
    await Promise.all([put(1, shard(0, 3, 4)), put(2), put(3)]);
    await expect(read()).rejects.toMatchObject({
      message: expect.stringMatching(/3 tensors together, expected 4/) as string,
    });
  });

  it('under a name that says nothing of the others are refused', async () => {
    await writeFile(join(folder, 'm.gguf'), shard(0, 3));
    await expect(read(join(folder, 'm.gguf'))).rejects.toMatchObject({ fault: 'missing-shards' });
  });

  it('keep the query of an address', () => {
    expect(shardAddresses('https://h/a-00002-of-00002.gguf?x=1')).toEqual([
      'https://h/a-00001-of-00002.gguf?x=1',
      'https://h/a-00002-of-00002.gguf?x=1',
    ]);
    expect(shardAddresses('/a/b.gguf')).toEqual(['/a/b.gguf']);
    expect(() => shardAddresses('/a-00001-of-99999.gguf')).toThrow(/one of 99999 shards/);
  });

  it('are sparse files of any size', async () => {
    const bytes = ggufBytes({ tensors: [['t', [2_000_000_000], 0]], dataBytes: 0 });
    await writeFile(join(folder, 'm.gguf'), bytes);
    await truncate(join(folder, 'm.gguf'), bytes.length + 8_000_000_000);
    expect((await read(join(folder, 'm.gguf'))).tensors[0]?.bytes).toBe(8_000_000_000);
    await expect(read(folder)).rejects.toMatchObject({ fault: 'not-a-file' });
    await expect(read(join(folder, 'none.gguf'))).rejects.toMatchObject({ fault: 'not-found' });
  });
});

describe('safetensors', () => {
  const file = (tensors: Record<string, unknown>, dataBytes: number, length?: bigint): Uint8Array => {
    const json = Buffer.from(JSON.stringify({ __metadata__: { format: 'pt' }, ...tensors }));
    const head = Buffer.alloc(8);
    head.writeBigUInt64LE(length ?? BigInt(json.length));
    return new Uint8Array(Buffer.concat([head, json, Buffer.alloc(dataBytes)]));
  };
  const tensor = (from: unknown, to: unknown) => ({ dtype: 'BF16', shape: [1], data_offsets: [from, to] });
  const at = (path: string): string => join(folder, path);
  const config = (): Promise<void> => writeFile(at('config.json'), '{"model_type":"llama"}');
  const index = (map: unknown): Promise<void> =>
    writeFile(at('model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
  const open = () => readSafetensorsModel(folder, openLocalFile);

  it('give the bytes of all tensors, of one file or of several', async () => {
    await config();
    await writeFile(at('model.safetensors'), file({ a: tensor(0, 10), b: tensor(10, 64) }, 64));
    expect(await open()).toEqual({ config: { model_type: 'llama' }, tensorBytes: 64 });
    await index({ a: 'model-1.safetensors', b: 'model-2.safetensors', c: 'model-1.safetensors' });
    await writeFile(at('model-1.safetensors'), file({ a: tensor(0, 8), c: tensor(8, 16) }, 16));
    await expect(open()).rejects.toMatchObject({
      fault: 'missing-shards',
      message: expect.stringContaining('model-2') as string,
    });
    await writeFile(at('model-2.safetensors'), file({ b: tensor(0, 4) }, 4));
    expect(await open()).toMatchObject({ tensorBytes: 20 });
  });

  it.each<[string, () => Uint8Array, string]>([
    ['a header longer than the file', () => file({ a: tensor(0, 4) }, 4, 1_000_000n), 'truncated'],
    ['a header without end', () => file({ a: tensor(0, 4) }, 4, 2n ** 63n), 'bad-config'],
    ['a tensor beyond the file', () => file({ a: tensor(0, 400) }, 4), 'truncated'],
    ['tensors one on the other', () => file({ a: tensor(0, 4), b: tensor(0, 4) }, 4), 'bad-config'],
    ['a gap', () => file({ a: tensor(0, 4) }, 8), 'bad-config'],
    ['backwards', () => file({ a: tensor(4, 0) }, 4), 'bad-config'],
    ['places in words', () => file({ a: tensor('0', '4') }, 4), 'bad-config'],
    ['no place', () => file({ a: null }, 4), 'bad-config'],
    ['no tensors', () => file({}, 4), 'bad-config'],
    ['no JSON', () => new Uint8Array([4, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]), 'bad-config'],
    ['nothing', () => new Uint8Array(0), 'bad-config'],
  ])('with %s are refused', async (_, bytes, name) => {
    await config();
    await writeFile(at('model.safetensors'), bytes());
    await expect(open()).rejects.toMatchObject({ fault: name });
  });

  it('without config.json, with an index that leads elsewhere, are refused', async () => {
    await expect(open()).rejects.toMatchObject({ fault: 'not-found' });
    await config();
    for (const map of [{ a: '../model.safetensors' }, { a: '/etc/passwd' }, { a: 3 }, {}, null]) {
      await index(map);
      await expect(open()).rejects.toMatchObject({ fault: 'bad-config' });
    }
  });
});
