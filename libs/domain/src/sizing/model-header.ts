import { refuse } from './refusal.js';

/**
 * One metadata value of a model file. Long arrays (vocabularies) are kept as their length alone; integers beyond 2^53 as bigint.
 */
export type MetadataValue =
  | string
  | number
  | bigint
  | boolean
  | { readonly length: number; readonly values: readonly (number | boolean)[] | null };

/** A tensor as the header lists it: dimensions fastest first, `bytes` as it occupies the file, padding included where the type is unknown. */
export interface TensorInfo {
  readonly name: string;
  readonly dims: readonly number[];
  /** Number of the type in the file. */
  readonly type: number;
  readonly bytes: number;
}

/** What the header of a model in GGUF format says, over all its shards. */
export interface ModelHeader {
  readonly metadata: ReadonlyMap<string, MetadataValue>;
  readonly tensors: readonly TensorInfo[];
  /** Of all shards. */
  readonly fileBytes: number;
}

/** Reads numbers out of a header under the architecture's prefix; what is absent or of the wrong kind is refused, with the key's name. */
export class Hyperparameters {
  readonly architecture: string;
  private readonly header: ModelHeader;

  constructor(header: ModelHeader) {
    const name = header.metadata.get('general.architecture');
    if (typeof name !== 'string' || name === '')
      refuse('missing-metadata', 'The header has no general.architecture; without it nothing is known of the cache.');
    this.architecture = name as string;
    this.header = header;
  }

  has(key: string): boolean {
    return this.header.metadata.has(this.full(key));
  }

  isArray(key: string): boolean {
    const value = this.header.metadata.get(this.full(key));
    return typeof value === 'object';
  }

  /** A whole number from 0 to 2^32 - 1. */
  number(key: string): number {
    const value = this.header.metadata.get(this.full(key));
    if (value === undefined)
      refuse(
        'missing-metadata',
        `The header has no ${this.full(key)}; ${this.architecture} cannot be sized without it.`,
      );
    return this.asNumber(value as MetadataValue, key);
  }

  optional(key: string, fallback: number): number {
    return this.has(key) ? this.number(key) : fallback;
  }

  /** One number per layer: an array of exactly `layers`, or a scalar that holds for all. */
  perLayer(key: string, layers: number): readonly number[] {
    const value = this.header.metadata.get(this.full(key));
    if (value === undefined) return [this.number(key)];
    if (typeof value !== 'object') return Array.from({ length: layers }, () => this.asNumber(value, key));
    if (value.length !== layers || value.values === null)
      refuse(
        'bad-metadata',
        `${this.full(key)} has ${value.length} entries, expected one for each of ${layers} layers.`,
      );
    return (value.values ?? []).map((entry) => this.asNumber(typeof entry === 'boolean' ? Number(entry) : entry, key));
  }

  /** Entries of the tokenizer's vocabulary, 0 when the header has none. */
  tokens(): number {
    const value = this.header.metadata.get('tokenizer.ggml.tokens');
    return typeof value === 'object' ? value.length : 0;
  }

  private asNumber(value: MetadataValue, key: string): number {
    if (typeof value === 'boolean') return Number(value);
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff) return value;
    const shown = typeof value === 'object' ? 'an array' : String(value).slice(0, 40);
    return refuse('bad-metadata', `${this.full(key)} is ${shown}, expected a whole number from 0 to 2^32 - 1.`);
  }

  private full(key: string): string {
    return `${this.architecture}.${key}`;
  }
}
