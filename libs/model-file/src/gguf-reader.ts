import { ByteCursor, defaultReadLimits, type ReadLimits } from './byte-cursor.js';
import type { ByteSource } from './byte-source.js';
import type { MetadataValue, TensorInfo } from '@plumbline/domain';
import { tensorStorage } from '@plumbline/domain';
import { ModelFileError } from './failure.js';

/** One GGUF file's header. */
export interface GgufFile {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: readonly TensorInfo[];
  readonly dataOffset: number;
  readonly fileBytes: number;
}

/** Bounds far above any published model and far below what hurts. */
const bounds = {
  metadataCount: 8_192,
  tensorCount: 131_072,
  keyBytes: 1_024,
  stringBytes: 16 * 1024 * 1024,
  arrayLength: 8_000_000,
  keptArrayLength: 4_096,
  nameBytes: 256,
  dims: 4,
  alignmentMax: 1 << 20,
} as const;

const STRING = 8;
const ARRAY = 9;
/** Bytes of each scalar value type; strings and arrays have none. */
const scalarBytes: ReadonlyMap<number, number> = new Map([
  [0, 1],
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 4],
  [5, 4],
  [6, 4],
  [7, 1],
  [10, 8],
  [11, 8],
  [12, 8],
]);

/**
 * Reads the header of a GGUF file (versions 1 to 3, little-endian) and checks that its tensors lie within the file, one after the other, as
 * llama.cpp demands. Tensor data is never read. Throws {@link ModelFileError} with what was found; what a header claims is never allocated before
 * the file is seen to be long enough for it. Format: docs/gguf.md of ggml.
 */
export async function readGguf(source: ByteSource, limits: ReadLimits = defaultReadLimits): Promise<GgufFile> {
  const reader = new GgufReader(source, new ByteCursor(source, limits));
  return reader.read();
}

class GgufReader {
  private readonly source: ByteSource;
  private readonly cursor: ByteCursor;
  private version = 0;

  constructor(source: ByteSource, cursor: ByteCursor) {
    this.source = source;
    this.cursor = cursor;
  }

  async read(): Promise<GgufFile> {
    await this.readMagic();
    const tensorCount = await this.count('the number of tensors', bounds.tensorCount);
    const metadataCount = await this.count('the number of metadata keys', bounds.metadataCount);
    const metadata = await this.readMetadata(metadataCount);
    const listed = await this.readTensors(tensorCount);
    const alignment = this.alignment(metadata);
    const dataOffset = Math.ceil(this.cursor.position / alignment) * alignment;
    const fileBytes = this.source.sizeBytes;
    const tensors = this.placeTensors(listed, { alignment, dataBytes: fileBytes - dataOffset });
    return { version: this.version, metadata, tensors, dataOffset, fileBytes };
  }

  private async readMagic(): Promise<void> {
    if (this.source.sizeBytes < 24) throw this.notGguf('it has only ' + this.source.sizeBytes + ' bytes');
    const head = await this.cursor.bytes(4, 'the magic number');
    const text = Buffer.from(head).toString('latin1');
    if (text !== 'GGUF') {
      if (/^\s*<[!hH?]/.test(text)) throw this.webPage();
      if (text === 'vers') throw this.lfsPointer();
      throw this.notGguf(`it begins with ${JSON.stringify(text)}`);
    }
    this.version = await this.cursor.u32('the version');
    if (this.version >= 0x10000 && (this.version & 0xffff) === 0)
      throw new ModelFileError(
        'big-endian',
        `${this.source.label} is big-endian, which llama.cpp reads only on big-endian machines.`,
        'Convert the model again for little-endian machines.',
      );
    if (this.version < 1 || this.version > 3)
      throw new ModelFileError(
        'unsupported-version',
        `${this.source.label} is GGUF version ${this.version}, expected 1, 2 or 3.`,
        'Convert the model with a current converter.',
      );
  }

  private async readMetadata(count: number): Promise<ReadonlyMap<string, MetadataValue>> {
    const metadata = new Map<string, MetadataValue>();
    for (let n = 0; n < count; n += 1) {
      const key = await this.string(`metadata key ${n + 1}`, bounds.keyBytes);
      if (metadata.has(key)) throw this.malformed(`the key ${show(key)} is there twice`);
      metadata.set(key, await this.value(show(key)));
    }
    return metadata;
  }

  private async value(key: string): Promise<MetadataValue> {
    const type = await this.cursor.u32(`the type of ${key}`);
    if (type === STRING) return this.string(key, bounds.stringBytes);
    if (type === ARRAY) return this.array(key);
    return this.scalar(type, key);
  }

  private async scalar(type: number, key: string): Promise<number | bigint | boolean> {
    const { cursor } = this;
    switch (type) {
      case 0:
        return cursor.u8(key);
      case 1:
        return cursor.i8(key);
      case 2:
        return cursor.u16(key);
      case 3:
        return cursor.i16(key);
      case 4:
        return cursor.u32(key);
      case 5:
        return cursor.i32(key);
      case 6:
        return cursor.f32(key);
      case 7: {
        const flag = await cursor.u8(key);
        if (flag > 1) throw this.malformed(`${key} is a truth value of ${flag}, expected 0 or 1`);
        return flag === 1;
      }
      case 10:
        return narrow(await cursor.u64(key));
      case 11:
        return narrow(await cursor.i64(key));
      case 12:
        return cursor.f64(key);
      default:
        throw this.malformed(`${key} has value type ${type}, which does not exist`);
    }
  }

  private async array(key: string): Promise<MetadataValue> {
    const type = await this.cursor.u32(`the element type of ${key}`);
    const length = await this.count(`the length of ${key}`, bounds.arrayLength);
    if (type === ARRAY) throw this.malformed(`${key} is an array of arrays, which llama.cpp does not read`);
    if (type === STRING) {
      for (let n = 0; n < length; n += 1) this.cursor.skip(await this.length(key, bounds.stringBytes), key);
      return { length, values: null };
    }
    const width = scalarBytes.get(type);
    if (width === undefined) throw this.malformed(`${key} has elements of type ${type}, which does not exist`);
    if (length > bounds.keptArrayLength) {
      this.cursor.skip(length * width, key);
      return { length, values: null };
    }
    const values: (number | boolean)[] = [];
    for (let n = 0; n < length; n += 1) {
      const value = await this.scalar(type, key);
      values.push(typeof value === 'bigint' ? Number.NaN : value);
    }
    return { length, values };
  }

  private async readTensors(count: number): Promise<readonly ListedTensor[]> {
    const tensors: ListedTensor[] = [];
    const names = new Set<string>();
    for (let n = 0; n < count; n += 1) {
      const name = await this.string(`the name of tensor ${n + 1}`, bounds.nameBytes);
      if (names.has(name)) throw this.malformed(`tensor ${show(name)} is there twice`);
      names.add(name);
      tensors.push(await this.readTensor(name));
    }
    return tensors;
  }

  private async readTensor(name: string): Promise<ListedTensor> {
    const shown = show(name);
    const rank = await this.cursor.u32(`the dimensions of ${shown}`);
    if (rank < 1 || rank > bounds.dims)
      throw this.malformed(`${shown} has ${rank} dimensions, expected 1 to ${bounds.dims}`);
    const dims: number[] = [];
    let elements = 1n;
    for (let d = 0; d < rank; d += 1) {
      const dim = this.version === 1 ? BigInt(await this.cursor.u32(shown)) : await this.cursor.u64(shown);
      elements *= dim;
      if (dim < 1n || elements > BigInt(Number.MAX_SAFE_INTEGER))
        throw this.malformed(`${shown} has a dimension of ${dim}; its elements are none or more than a file can hold`);
      dims.push(Number(dim));
    }
    const type = await this.cursor.u32(`the type of ${shown}`);
    const offset = await this.cursor.u64(`the offset of ${shown}`);
    if (offset > BigInt(this.source.sizeBytes)) throw this.outside(shown, offset);
    return { name, dims, type, offset: Number(offset) };
  }

  private placeTensors(
    listed: readonly ListedTensor[],
    { alignment, dataBytes }: { alignment: number; dataBytes: number },
  ): readonly TensorInfo[] {
    return listed.map((tensor, n) => {
      const next = listed[n + 1]?.offset ?? dataBytes;
      const room = next - tensor.offset;
      if (tensor.offset % alignment !== 0 || room < 0 || (n === 0 && tensor.offset !== 0))
        throw this.malformed(
          `${show(tensor.name)} lies at ${tensor.offset}, but tensors follow one another in steps of ${alignment}`,
        );
      const bytes = tensorStorage(tensor);
      if (bytes !== null && bytes > room) {
        if (n === listed.length - 1) throw this.outside(show(tensor.name), BigInt(tensor.offset + bytes));
        throw this.malformed(`${show(tensor.name)} needs ${bytes} bytes, but the next tensor begins after ${room}`);
      }
      if (bytes !== null && n < listed.length - 1 && Math.ceil(bytes / alignment) * alignment !== room)
        throw this.malformed(`${show(tensor.name)} needs ${bytes} bytes, but ${room} are left for it`);
      return { name: tensor.name, dims: tensor.dims, type: tensor.type, bytes: bytes ?? room };
    });
  }

  private alignment(metadata: ReadonlyMap<string, MetadataValue>): number {
    const value = metadata.get('general.alignment') ?? 32;
    if (typeof value === 'number' && value >= 8 && value <= bounds.alignmentMax && Number.isInteger(Math.log2(value)))
      return value;
    throw this.malformed(
      `general.alignment is ${String(value)}, expected a power of two from 8 to ${bounds.alignmentMax}`,
    );
  }

  private async string(what: string, bytesMax: number): Promise<string> {
    const length = await this.length(what, bytesMax);
    return Buffer.from(await this.cursor.bytes(length, what)).toString('utf8');
  }

  private async length(what: string, bytesMax: number): Promise<number> {
    return this.count(`the length of ${what}`, bytesMax);
  }

  private async count(what: string, max: number): Promise<number> {
    const value = this.version === 1 ? BigInt(await this.cursor.u32(what)) : await this.cursor.u64(what);
    if (value > BigInt(max)) throw this.overLimit(what, value, max);
    return Number(value);
  }

  private notGguf(found: string): ModelFileError {
    return new ModelFileError(
      'not-gguf',
      `${this.source.label} is no GGUF file: ${found}, expected "GGUF".`,
      'Name a .gguf file, or a folder with safetensors and config.json.',
    );
  }

  private webPage(): ModelFileError {
    return new ModelFileError(
      'html-page',
      `${this.source.label} is a web page, not the model.`,
      'Use the address of the file itself; on model hubs that is /resolve/ in place of /blob/.',
    );
  }

  private lfsPointer(): ModelFileError {
    return new ModelFileError(
      'lfs-pointer',
      `${this.source.label} seems to be a pointer to a large file, not the model.`,
      'Fetch the file itself, for example with git lfs pull.',
    );
  }

  private malformed(what: string): ModelFileError {
    return new ModelFileError(
      'malformed',
      `The header of ${this.source.label} is damaged: ${what}.`,
      'Download or convert the model again.',
    );
  }

  private overLimit(what: string, value: bigint, max: number): ModelFileError {
    return new ModelFileError(
      'over-limit',
      `The header of ${this.source.label} says that ${what} is ${value}, more than ${max}.`,
      'No model has that; check where the file is from.',
    );
  }

  private outside(name: string, end: bigint): ModelFileError {
    return new ModelFileError(
      'truncated',
      `${this.source.label} has ${this.source.sizeBytes} bytes, but ${name} reaches to ${end} of its data.`,
      'The download is not complete; download it again.',
    );
  }
}

interface ListedTensor {
  readonly name: string;
  readonly dims: readonly number[];
  readonly type: number;
  readonly offset: number;
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Names from a file may hold anything; people are shown what is printable of them. */
function show(name: string): string {
  return JSON.stringify(name.slice(0, 60)).slice(1, -1);
}
