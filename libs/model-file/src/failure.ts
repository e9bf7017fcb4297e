/** What is wrong with a model file or with whoever serves it; each has a sentence of its own. */
export const modelFileFaults = [
  'not-found',
  'not-a-file',
  'unreadable',
  'not-gguf',
  'html-page',
  'lfs-pointer',
  'big-endian',
  'unsupported-version',
  'truncated',
  'malformed',
  'over-limit',
  'missing-shards',
  'inconsistent-shards',
  'bad-config',
  'bad-url',
  'forbidden-address',
  'unresolved',
  'unreachable',
  'timeout',
  'unauthorized',
  'status',
  'ignored-range',
  'wrong-range',
  'unknown-length',
  'wrong-length',
  'encoded',
  'redirect',
  'changed',
  'interrupted',
  'oracle-failed',
] as const;
export type ModelFileFault = (typeof modelFileFaults)[number];

/** A model file that cannot be read. `message` says what was found and what was expected, `mend` what to do. */
export class ModelFileError extends Error {
  override readonly name = 'ModelFileError';
  readonly fault: ModelFileFault;
  readonly mend: string;
  readonly retry: 'later' | 'never';

  constructor(
    fault: ModelFileFault,
    message: string,
    mend: string,
    options: { retry?: 'later' | 'never'; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.fault = fault;
    this.mend = mend;
    this.retry = options.retry ?? 'never';
  }
}
