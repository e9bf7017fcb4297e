/** What the process says to its caller; the meaning is the same for every command. */
export const exitCodes = { ok: 0, refused: 1, usage: 2, incomplete: 3, interrupted: 130 } as const;

/**
 * Something a person can act on. `message` is one sentence on what is wrong, `mend` one on what to do; `detail` may quote the last lines a
 * process wrote.
 */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly mend: string;
  readonly exitCode: number;
  readonly detail: readonly string[];
  /** `later` when the same may work by itself after a while: somebody was away. */
  readonly retry: 'later' | 'never';

  constructor(
    message: string,
    mend: string,
    options: { exitCode?: number; detail?: readonly string[]; cause?: unknown; retry?: 'later' | 'never' } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.mend = mend;
    this.exitCode = options.exitCode ?? exitCodes.refused;
    this.detail = options.detail ?? [];
    this.retry = options.retry ?? 'never';
  }
}

/** What a user asked for cannot be read as a request: exit code 2. */
export function badInput(message: string, mend: string): CliError {
  return new CliError(message, mend, { exitCode: exitCodes.usage });
}

/** The work was stopped by the person who started it. Never shown as an error. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  constructor() {
    super('interrupted');
  }
}

/** `error` in one line: its message without stack, or `undefined`'s and its like's text. Errors that carry a `mend` keep it. */
export function explain(error: unknown): { message: string; mend?: string; detail: readonly string[] } {
  if (error instanceof CliError) return { message: error.message, mend: error.mend, detail: error.detail };
  if (!(error instanceof Error)) return { message: String(error), detail: [] };
  const [message = error.name, ...rest] = error.message.split('\n');
  const mend = (error as { mend?: unknown }).mend;
  return { message, detail: rest.slice(0, 20), ...(typeof mend === 'string' ? { mend } : {}) };
}

/** Throws {@link Interrupted} once the person has asked to stop, so that what then fails is not shown as an error. */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw new Interrupted();
}
