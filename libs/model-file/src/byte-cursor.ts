import type { ByteSource } from './byte-source.js';
import { ModelFileError } from './failure.js';

/** How far a header is read at most, and in which steps; what is read beyond its end is less than a step. */
export interface ReadLimits {
  readonly headerBytesMax: number;
  readonly stepBytes: number;
}

/** Vocabularies of 500,000 entries with their merges take about 20 MB. */
export const defaultReadLimits: ReadLimits = { headerBytesMax: 64 * 1024 * 1024, stepBytes: 256 * 1024 };

/** Reads a file forwards, in steps, never past its end nor past the limit. Little-endian. */
export class ByteCursor {
  private readonly source: ByteSource;
  private readonly limits: ReadLimits;
  private window = new Uint8Array(0);
  private view = new DataView(new ArrayBuffer(0));
  /** Of the window's first byte in the file. */
  private start = 0;
  private at = 0;

  constructor(source: ByteSource, limits: ReadLimits) {
    this.source = source;
    this.limits = limits;
  }

  /** Of the next byte in the file. */
  get position(): number {
    return this.start + this.at;
  }

  /** Bytes between here and the end of the file. */
  get remaining(): number {
    return this.source.sizeBytes - this.position;
  }

  async u8(what: string): Promise<number> {
    const at = await this.take(1, what);
    return this.view.getUint8(at);
  }
  async i8(what: string): Promise<number> {
    const at = await this.take(1, what);
    return this.view.getInt8(at);
  }
  async u16(what: string): Promise<number> {
    const at = await this.take(2, what);
    return this.view.getUint16(at, true);
  }
  async i16(what: string): Promise<number> {
    const at = await this.take(2, what);
    return this.view.getInt16(at, true);
  }
  async u32(what: string): Promise<number> {
    const at = await this.take(4, what);
    return this.view.getUint32(at, true);
  }
  async i32(what: string): Promise<number> {
    const at = await this.take(4, what);
    return this.view.getInt32(at, true);
  }
  async f32(what: string): Promise<number> {
    const at = await this.take(4, what);
    return this.view.getFloat32(at, true);
  }
  async f64(what: string): Promise<number> {
    const at = await this.take(8, what);
    return this.view.getFloat64(at, true);
  }
  async u64(what: string): Promise<bigint> {
    const at = await this.take(8, what);
    return this.view.getBigUint64(at, true);
  }
  async i64(what: string): Promise<bigint> {
    const at = await this.take(8, what);
    return this.view.getBigInt64(at, true);
  }

  /** The next `length` bytes, as a copy. */
  async bytes(length: number, what: string): Promise<Uint8Array> {
    const at = await this.take(length, what);
    return this.window.slice(at, at + length);
  }

  /** Passes over `length` bytes without looking at them; what lies beyond the window is not read at all. */
  skip(length: number, what: string): void {
    this.check(length, what);
    if (this.at + length <= this.window.length) {
      this.at += length;
      return;
    }
    this.start = this.position + length;
    this.at = 0;
    this.setWindow(new Uint8Array(0));
  }

  /** Makes `length` bytes part of the window; returns where they begin in it. Look at the window only after this. */
  private async take(length: number, what: string): Promise<number> {
    if (this.at + length > this.window.length) await this.fill(length, what);
    const at = this.at;
    this.at += length;
    return at;
  }

  private async fill(length: number, what: string): Promise<void> {
    this.check(length, what);
    const kept = this.window.subarray(this.at);
    const from = this.start + this.window.length;
    const wanted = Math.max(length - kept.length, this.limits.stepBytes);
    const read = await this.source.read(from, Math.min(wanted, this.source.sizeBytes - from));
    const window = new Uint8Array(kept.length + read.length);
    window.set(kept);
    window.set(read, kept.length);
    this.start = this.position;
    this.at = 0;
    this.setWindow(window);
  }

  private check(length: number, what: string): void {
    if (length > this.remaining)
      throw new ModelFileError(
        'truncated',
        `${this.source.label} ends at ${this.source.sizeBytes} bytes, in the middle of ${what} at ${this.position}.`,
        'Download it again.',
      );
    if (this.position + length > this.limits.headerBytesMax)
      throw new ModelFileError(
        'over-limit',
        `The header of ${this.source.label} is longer than ${this.limits.headerBytesMax} bytes, with ${what} at ${this.position}.`,
        'A model has no such header; check where the file is from.',
      );
  }

  private setWindow(window: Uint8Array): void {
    this.window = window as Uint8Array<ArrayBuffer>;
    this.view = new DataView(window.buffer as ArrayBuffer, window.byteOffset, window.byteLength);
  }
}
