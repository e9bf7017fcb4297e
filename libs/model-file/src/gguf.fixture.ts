import type { ByteSource } from './byte-source.js';

/** Value types of the format by name. */
const types = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  str: 8,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;
type TypeName = keyof typeof types;
export type Entry = readonly [string, TypeName | `arr:${TypeName}` | number, unknown];

export interface GgufParts {
  readonly version?: number;
  readonly metadata?: readonly Entry[];
  /** name, dims, type number, offset. */
  readonly tensors?: readonly (readonly [string, readonly (number | bigint)[], number, (number | bigint)?])[];
  readonly tensorCount?: bigint;
  readonly metadataCount?: bigint;
  readonly alignment?: number;
  /** Bytes of data behind the header; default: as much as the f32 tensors need. */
  readonly dataBytes?: number;
}

/** Bytes of a GGUF file whose data are zeros. */
export function ggufBytes(parts: GgufParts): Uint8Array {
  const { version = 3, metadata = [['general.architecture', 'str', 'llama']], tensors = [], alignment = 32 } = parts;
  const out: Buffer[] = [Buffer.from('GGUF'), u32(version)];
  const count = (value: bigint | number): Buffer => (version === 1 ? u32(Number(value)) : u64(BigInt(value)));
  const text = (value: string): Buffer => Buffer.concat([count(Buffer.byteLength(value)), Buffer.from(value)]);
  const scalar = (type: number, value: unknown): Buffer => {
    const bytes = Buffer.alloc(8);
    if (type === types.str) return text(value as string);
    if (type === types.u64) return u64(BigInt(value as bigint));
    if (type === types.i64) return (bytes.writeBigInt64LE(BigInt(value as bigint)), bytes);
    if (type === types.f64) return (bytes.writeDoubleLE(value as number), bytes);
    if (type === types.f32) return (bytes.writeFloatLE(value as number), bytes.subarray(0, 4));
    if (type <= types.i8 || type === types.bool) return Buffer.from([Number(value) & 0xff]);
    if (type <= types.i16) return (bytes.writeInt16LE(((value as number) << 16) >> 16), bytes.subarray(0, 2));
    return u32((value as number) >>> 0);
  };
  out.push(count(parts.tensorCount ?? tensors.length), count(parts.metadataCount ?? metadata.length));
  for (const [key, type, value] of metadata) {
    const name = typeof type === 'string' ? type : '';
    if (name.startsWith('arr:')) {
      const element = types[name.slice(4) as TypeName];
      const values = value as unknown[];
      const items = Buffer.concat(values.map((item) => scalar(element, item)));
      out.push(text(key), u32(9), u32(element), count(values.length), items);
    } else {
      const number = typeof type === 'number' ? type : types[type as TypeName];
      out.push(text(key), u32(number), scalar(number, value));
    }
  }
  let next = 0;
  for (const [name, dims, type, offset] of tensors) {
    out.push(text(name), u32(dims.length), ...dims.map(count), u32(type), u64(BigInt(offset ?? next)));
    next = Math.ceil((next + dims.reduce<number>((size, dim) => size * Number(dim), 4)) / alignment) * alignment;
  }
  const header = Buffer.concat(out);
  const pad = tensors.length === 0 ? 0 : Math.ceil(header.length / alignment) * alignment - header.length;
  return new Uint8Array(Buffer.concat([header, Buffer.alloc(pad + (parts.dataBytes ?? next))]));
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return bytes;
}

/** A source in memory that counts what is read of it. */
export function memorySource(
  bytes: Uint8Array,
  sizeBytes = bytes.length,
): ByteSource & { readonly stats: { read: number; reads: number } } {
  const stats = { read: 0, reads: 0 };
  return {
    label: 'm.gguf',
    sizeBytes,
    stats,
    read: (offset, length) => {
      stats.read += length;
      stats.reads += 1;
      const slice = new Uint8Array(length);
      slice.set(bytes.subarray(offset, offset + length));
      return Promise.resolve(slice);
    },
    close: () => Promise.resolve(),
  };
}
