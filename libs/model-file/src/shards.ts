import type { ModelHeader, TensorInfo } from '@plumbline/domain';
import type { ReadLimits } from './byte-cursor.js';
import type { ByteSource } from './byte-source.js';
import { ModelFileError } from './failure.js';
import { readGguf, type GgufFile } from './gguf-reader.js';

const shardName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;
const shardsMax = 512;

/** Opens the file at an address like that of a first one, on the same disk or server. */
export type Opener = (address: string) => Promise<ByteSource>;

/** The addresses of all shards of a model, in order; the address itself where its name is not that of a shard. */
export function shardAddresses(address: string): readonly string[] {
  const [path, query] = splitQuery(address);
  const [, stem = '', , count = ''] = shardName.exec(path) ?? [];
  if (count === '') return [address];
  const total = Number(count);
  if (total < 1 || total > shardsMax)
    throw new ModelFileError('malformed', `${path} says it is one of ${total} shards.`, 'Check its name.');
  return Array.from({ length: total }, (_, n) => `${stem}-${String(n + 1).padStart(5, '0')}-of-${count}.gguf${query}`);
}

/**
 * Reads a GGUF model, all shards of a split one, and puts their tensors together. A missing shard is named; one that belongs to another model is
 * refused.
 */
export async function readGgufModel(address: string, open: Opener, limits?: ReadLimits): Promise<ModelHeader> {
  const addresses = shardAddresses(address);
  const files: GgufFile[] = [];
  const missing: string[] = [];
  for (const shard of addresses) {
    const file = await readOne(shard, open, limits);
    if (file === null) missing.push(nameOf(shard));
    else files.push(file);
  }
  const [first] = files;
  if (missing.length > 0 || first === undefined) throw missingShards(address, missing, addresses.length);
  if (addresses.length === 1) return whole(first, address);
  files.forEach((file, n) => checkShard(file, n, files.length, addresses[n] ?? address));
  const tensors = files.flatMap((file) => file.tensors);
  checkTotal(first, tensors, address);
  return { metadata: first.metadata, tensors, fileBytes: files.reduce((sum, file) => sum + file.fileBytes, 0) };
}

async function readOne(address: string, open: Opener, limits: ReadLimits | undefined): Promise<GgufFile | null> {
  let source: ByteSource;
  try {
    source = await open(address);
  } catch (error) {
    if (error instanceof ModelFileError && error.fault === 'not-found') return null;
    throw error;
  }
  try {
    return await readGguf(source, limits);
  } finally {
    await source.close();
  }
}

function whole(file: GgufFile, address: string): ModelHeader {
  const count = file.metadata.get('split.count');
  if (typeof count === 'number' && count > 1)
    throw new ModelFileError(
      'missing-shards',
      `${nameOf(address)} is one of ${count} shards, but its name does not say how the others are called.`,
      'Give the shards back their names: NAME-00001-of-0000N.gguf.',
    );
  return { metadata: file.metadata, tensors: file.tensors, fileBytes: file.fileBytes };
}

function checkShard(file: GgufFile, n: number, count: number, address: string): void {
  const [number, total] = [file.metadata.get('split.no'), file.metadata.get('split.count')];
  if (number === n && total === count) return;
  throw inconsistent(
    `${nameOf(address)} says it is shard ${String(number)} of ${String(total)}, expected ${n} of ${count}`,
  );
}

function checkTotal(first: GgufFile, tensors: readonly TensorInfo[], address: string): void {
  const said = first.metadata.get('split.tensors.count');
  if (said !== tensors.length)
    throw inconsistent(
      `The shards of ${nameOf(address)} have ${tensors.length} tensors together, expected ${String(said)}`,
    );
  if (new Set(tensors.map(({ name }) => name)).size !== tensors.length)
    throw inconsistent(`The shards of ${nameOf(address)} have tensors in common`);
}

function inconsistent(what: string): ModelFileError {
  return new ModelFileError('inconsistent-shards', `${what}.`, 'The shards are not of one model; download them again.');
}

function missingShards(address: string, missing: readonly string[], count: number): ModelFileError {
  if (count === 1) return new ModelFileError('not-found', `There is no file ${address}.`, 'Check the path.');
  const shown = missing.slice(0, 5).join(', ') + (missing.length > 5 ? ` and ${missing.length - 5} more` : '');
  return new ModelFileError(
    'missing-shards',
    `${missing.length} of ${count} shards are missing: ${shown}.`,
    'Put all shards beside each other; what is missing would be memory nobody counted.',
  );
}

function splitQuery(address: string): [string, string] {
  const url = /^https?:/.test(address) ? address.indexOf('?') : -1;
  return url < 0 ? [address, ''] : [address.slice(0, url), address.slice(url)];
}

function nameOf(address: string): string {
  return splitQuery(address)[0].split('/').at(-1) ?? address;
}
