import type { SafetensorsModel } from '@plumbline/domain';
import type { ByteSource } from './byte-source.js';
import { ModelFileError } from './failure.js';
import type { Opener } from './shards.js';

const headerBytesMax = 32 * 1024 * 1024;
const jsonBytesMax = 32 * 1024 * 1024;
const tensorsMax = 200_000;
const filesMax = 1_000;

/**
 * Reads a folder in the format of Transformers: config.json and the headers of all safetensors files that model.safetensors.index.json names, or
 * of model.safetensors alone. `folder` ends without a slash. Throws {@link ModelFileError}.
 */
export async function readSafetensorsModel(folder: string, open: Opener): Promise<SafetensorsModel> {
  const config = await readJson(`${folder}/config.json`, open);
  if (config === null)
    throw new ModelFileError(
      'not-found',
      `There is no config.json in ${folder}.`,
      'Without it nothing is known of the cache.',
    );
  const index = await readJson(`${folder}/model.safetensors.index.json`, open);
  const names = index === null ? ['model.safetensors'] : filesOf(index, folder);
  const missing: string[] = [];
  let tensorBytes = 0;
  for (const name of names) {
    const bytes = await sizeOfFile(`${folder}/${name}`, open);
    if (bytes === null) missing.push(name);
    else tensorBytes += bytes;
  }
  if (missing.length > 0)
    throw new ModelFileError(
      'missing-shards',
      `${missing.length} of ${names.length} safetensors files are missing in ${folder}: ${missing.slice(0, 5).join(', ')}.`,
      'Put all of them there; what is missing would be memory nobody counted.',
    );
  return { config, tensorBytes };
}

type Json = Readonly<Record<string, unknown>>;

async function readJson(address: string, open: Opener): Promise<Json | null> {
  return withFile(address, open, async (source) => {
    if (source.sizeBytes > jsonBytesMax) throw bad(address, `has ${source.sizeBytes} bytes, more than ${jsonBytesMax}`);
    return parseObject(await source.read(0, source.sizeBytes), address);
  });
}

function filesOf(index: Json, folder: string): readonly string[] {
  const map = index['weight_map'];
  if (typeof map !== 'object' || map === null) throw bad(`${folder}/model.safetensors.index.json`, 'has no weight_map');
  const names = [...new Set(Object.values(map))];
  const plain = names.filter(
    (name): name is string => typeof name === 'string' && /^[\w][\w.-]*\.safetensors$/.test(name),
  );
  if (plain.length !== names.length || names.length === 0 || names.length > filesMax)
    throw bad(`${folder}/model.safetensors.index.json`, 'names files that are none of this folder');
  return plain;
}

/** Bytes of all tensors of one file; null when it is not there. Format: 8 bytes length, JSON header, data (github.com/huggingface/safetensors). */
async function sizeOfFile(address: string, open: Opener): Promise<number | null> {
  return withFile(address, open, async (source) => {
    if (source.sizeBytes < 8) throw bad(address, `has only ${source.sizeBytes} bytes`);
    const head = await source.read(0, 8);
    const length = new DataView(head.buffer, head.byteOffset, 8).getBigUint64(0, true);
    if (length > BigInt(headerBytesMax))
      throw bad(address, `says its header has ${length} bytes, more than ${headerBytesMax}`);
    const end = 8 + Number(length);
    if (end > source.sizeBytes) throw truncated(address, source.sizeBytes, end);
    return dataBytes(parseObject(await source.read(8, Number(length)), address), source.sizeBytes - end, address);
  });
}

function dataBytes(header: Json, room: number, address: string): number {
  const tensors = Object.entries(header).filter(([name]) => name !== '__metadata__');
  if (tensors.length === 0 || tensors.length > tensorsMax) throw bad(address, `lists ${tensors.length} tensors`);
  let total = 0;
  for (const [name, tensor] of tensors) {
    const offsets = (tensor as { data_offsets?: unknown } | null)?.data_offsets;
    const [from, to] = Array.isArray(offsets) ? (offsets as unknown[]) : [];
    if (!isOffset(from) || !isOffset(to) || to < from)
      throw bad(address, `gives no place for ${JSON.stringify(name.slice(0, 60))}`);
    if (to > room) throw truncated(address, room, to);
    total += to - from;
  }
  // Every byte belongs to one tensor: overlaps would count twice, gaps not at all.
  if (total !== room) throw bad(address, `has ${room} bytes of data, its tensors take ${total}`);
  return total;
}

function isOffset(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function parseObject(bytes: Uint8Array, address: string): Json {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  } catch (error) {
    throw bad(address, `holds no JSON (${(error as Error).message.slice(0, 80)})`);
  }
  throw bad(address, 'holds no JSON object');
}

async function withFile<T>(address: string, open: Opener, work: (source: ByteSource) => Promise<T>): Promise<T | null> {
  let source: ByteSource;
  try {
    source = await open(address);
  } catch (error) {
    if (error instanceof ModelFileError && error.fault === 'not-found') return null;
    throw error;
  }
  try {
    return await work(source);
  } finally {
    await source.close();
  }
}

function bad(address: string, what: string): ModelFileError {
  return new ModelFileError('bad-config', `${address} ${what}.`, 'Download the model again.');
}

function truncated(address: string, has: number, needs: number): ModelFileError {
  return new ModelFileError(
    'truncated',
    `${address} has ${has} bytes where ${needs} are needed.`,
    'Download it again.',
  );
}
