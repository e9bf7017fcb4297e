import { chmodSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sizeDocumentSchema, type SizeDocument } from '@plumbline/domain';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runCli } from '../program.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'plumb-size-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

async function plumb(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const written = { out: '', err: '' };
  const into = (key: 'out' | 'err') =>
    ((chunk: unknown) => {
      written[key] += String(chunk);
      return true;
    }) as typeof process.stdout.write;
  vi.spyOn(process.stdout, 'write').mockImplementation(into('out'));
  vi.spyOn(process.stderr, 'write').mockImplementation(into('err'));
  try {
    return { code: await runCli(argv), ...written };
  } finally {
    vi.restoreAllMocks();
  }
}

async function json(...argv: string[]): Promise<{ code: number; document: SizeDocument }> {
  const { code, out } = await plumb('size', '--json', ...argv);
  return { code, document: sizeDocumentSchema.parse(JSON.parse(out)) };
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const text = (value: string): Buffer => Buffer.concat([u64(value.length), Buffer.from(value)]);

/** A model of two layers, sparse on disk. */
function model(name = 'm.gguf', architecture = 'llama'): string {
  const numbers = { context_length: 4096, embedding_length: 256, block_count: 2, feed_forward_length: 512 };
  const metadata = [
    Buffer.concat([text('general.architecture'), u32(8), text(architecture)]),
    ...Object.entries({ ...numbers, 'attention.head_count': 4, 'attention.head_count_kv': 2 }).map(([key, value]) =>
      Buffer.concat([text(`${architecture}.${key}`), u32(4), u32(value)]),
    ),
  ];
  const tensors = ([0, 1] as const).flatMap((il): [string, number[]][] => [
    [`blk.${il}.attn_q.weight`, [256, 256]],
    [`blk.${il}.ffn_down.weight`, [512, 256]],
  ]);
  const all: [string, number[]][] = [['token_embd.weight', [256, 1000]], ...tensors];
  let offset = 0;
  const table = all.map(([tensor, dims]) => {
    const entry = Buffer.concat([text(tensor), u32(2), ...dims.map(u64), u32(0), u64(offset)]);
    offset += 4 * (dims[0] ?? 0) * (dims[1] ?? 0);
    return entry;
  });
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(all.length),
    u64(metadata.length),
    ...metadata,
    ...table,
  ]);
  const path = join(folder, name);
  writeFileSync(path, header);
  truncateSync(path, Math.ceil(header.length / 32) * 32 + offset);
  return path;
}

describe('plumb size', () => {
  it('prints bytes per part, the flags that make them true, and the chain', async () => {
    const { code, document } = await json(model(), '--ctx', '1024', '--parallel', '2', '--cache-ram', '0');
    expect(code).toBe(0);
    expect(document).toMatchObject({
      ok: true,
      source: 'local-header',
      confidence: 'exact',
      model: { format: 'gguf', architecture: 'llama' },
      components: {
        weights: 4 * (256 * 1000 + 2 * (256 * 256 + 512 * 256)),
        kvCache: 2 * 2 * (2 * 64) * 2 * 512 * 2,
        recurrentState: 0,
        host: 0,
      },
    });
    const sum = Object.values(document.components ?? {}).reduce((total, bytes) => total + bytes, 0);
    expect(document.total).toBe(sum + (document.margin ?? 0));
    expect(document.flags.join(' ')).toMatch(/^--fit off -c 1024 -np 2 --no-kv-unified .*--cache-ram 0/);
    expect(document.chain.map(({ source, outcome }) => `${source} ${outcome}`)).toEqual([
      'measured skipped',
      'oracle skipped',
      'local-header used',
      'remote-header skipped',
      'content-length skipped',
      'declared skipped',
    ]);
  });

  it('takes the options of llama-server', async () => {
    const options = [
      '--kv-unified',
      '--cache-type-k',
      'q8_0',
      '--cache-type-v',
      'q8_0',
      '--swa-full',
      '--flash-attn',
      'on',
    ];
    const { document } = await json(
      model(),
      ...options,
      '--parallel',
      '2',
      '--ubatch',
      '256',
      '--ctx-checkpoints',
      '1',
      '--device',
      'cuda',
    );
    expect(document.flags.join(' ')).toBe(
      '--fit off -c 4096 -np 2 --kv-unified -b 2048 -ub 256 -ctk q8_0 -ctv q8_0 -fa on --swa-full --cache-ram 8192 ' +
        '--ctx-checkpoints 1 -ngl 999 --no-repack --no-mmproj',
    );
    expect(document.confidence).toBe('bounded');
  });

  it('says it to people in a table with bars', async () => {
    const { code, out } = await plumb('size', model(), '--ctx', '1024');
    expect(code).toBe(0);
    expect(out).toMatch(/weights +2\.5 MiB +\S/);
    expect(out).toMatch(/total +\d+\.\d GiB/);
    expect(out).toMatch(/-c 1024 -np 4 --kv-unified/);
    expect(out).toMatch(/✓ local-header/);
    for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(140);
  });

  it('refuses what is not known, with the chain, and exits 1', async () => {
    const { code, document } = await json(model('x.gguf', 'unheard-of'));
    expect(code).toBe(1);
    expect(document).toMatchObject({ ok: false, source: null, total: null, refusal: { code: 'unknown-architecture' } });
    expect(document.chain.find(({ outcome }) => outcome === 'failed')?.reason).toMatch(/"unheard-of"/);
    const shown = await plumb('size', join(folder, 'none.gguf'));
    expect(shown.code).toBe(1);
    expect(shown.out).toMatch(/✗ not sized {2}unreadable-model/);
  });

  it('takes what was declared only when nothing else tells, and says so', async () => {
    const declared = await json(model('x.gguf', 'unheard-of'), '--declared', '100');
    expect(declared).toMatchObject({
      code: 0,
      document: { source: 'declared', confidence: 'declared', total: 100 * 1024 * 1024, margin: 0 },
    });
    const { document } = await json(model(), '--declared', '1');
    expect(document.source).toBe('local-header');
    expect(document.chain.filter(({ outcome }) => outcome === 'used')).toHaveLength(1);
  });

  it('asks llama-fit-params first, and goes on when it fails', async () => {
    const oracle = join(folder, 'fit');
    writeFileSync(oracle, '#!/bin/sh\necho "Host 7 9 11"\n');
    chmodSync(oracle, 0o755);
    const asked = await json(model(), '--parallel', '1', '--oracle', oracle);
    expect(asked.document).toMatchObject({
      source: 'oracle',
      components: { weights: 8 << 20, kvCache: 10 << 20, compute: 12 << 20 },
    });
    const failed = await json(model(), '--parallel', '1', '--oracle', join(folder, 'none'));
    expect(failed.document).toMatchObject({ ok: true, source: 'local-header' });
    expect(failed.document.chain[1]).toMatchObject({ source: 'oracle', outcome: 'failed' });
  });

  it('reads a header from a server by ranges, and refuses one that ignores them', async () => {
    const bytes = readFileSync(model());
    const server = createServer((request, response) => {
      const [, from = '0', to = '0'] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
      if (request.url !== '/m.gguf') {
        response.writeHead(200).end(bytes);
        return;
      }
      const end = Math.min(Number(to), bytes.length - 1);
      response.writeHead(206, { 'content-range': `bytes ${from}-${end}/${bytes.length}` });
      response.end(bytes.subarray(Number(from), end + 1));
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const remote = await json(`${url}/m.gguf`);
      expect(remote).toMatchObject({ code: 0, document: { source: 'remote-header' } });
      expect(remote.document.components).toEqual((await json(model())).document.components);
      expect(await json(`${url}/other.gguf`)).toMatchObject({
        code: 1,
        document: { refusal: { code: 'hostile-server' } },
      });
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
    expect(await json('http://8.8.8.8/m.gguf')).toMatchObject({
      code: 1,
      document: { refusal: { code: 'forbidden-address' } },
    });
  });

  it('sizes a folder with safetensors', async () => {
    const config = {
      model_type: 'llama',
      num_hidden_layers: 2,
      num_attention_heads: 4,
      hidden_size: 64,
      intermediate_size: 128,
      vocab_size: 100,
      max_position_embeddings: 2048,
    };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    const header = Buffer.from(JSON.stringify({ a: { dtype: 'F32', shape: [4], data_offsets: [0, 16] } }));
    writeFileSync(join(folder, 'model.safetensors'), Buffer.concat([u64(header.length), header, Buffer.alloc(16)]));
    const { code, document } = await json(folder, '--runtime', 'mlx');
    expect(code).toBe(0);
    expect(document).toMatchObject({
      model: { format: 'safetensors' },
      confidence: 'bounded',
      components: { weights: 16, kvCache: 2 * 2 * 64 * 2 * 2048 * 4 },
    });
  });

  it.each([
    [['--ctx', 'many'], /Expected a whole number/],
    [['--ctx', '-1'], /Expected a whole number|unknown option/i],
    [['--cache-type-k', 'q9'], /Allowed choices/],
    [['--flash-attn', 'perhaps'], /Allowed choices/],
    [['--device', 'abacus'], /Allowed choices/],
  ])('%j is bad input', async (options, message) => {
    const { code, err } = await plumb('size', model(), ...options);
    expect(code).toBe(2);
    expect(err).toMatch(message);
  });
});
