/** What went wrong on the bus; stable, for code and for metrics labels. */
export type BusErrorCode =
  | 'unreachable'
  | 'auth-failed'
  | 'forbidden'
  | 'no-jetstream'
  | 'server-too-old'
  | 'disconnected'
  | 'closed'
  | 'no-responders'
  | 'timeout'
  | 'bad-reply'
  | 'unreadable-message'
  | 'too-large'
  | 'not-serialisable'
  | 'invalid-config'
  | 'stream-drift'
  | 'start-not-reached'
  | 'not-found'
  | 'unreadable-dead-letter';

/** Whether trying the same thing again can help. */
export type Retry = 'later' | 'never';

/** An operational failure of the bus. `mend` says what a human or a caller can do about it. */
export class BusError extends Error {
  override readonly name = 'BusError';
  readonly code: BusErrorCode;
  readonly retry: Retry;
  readonly mend: string;
  readonly evidence: Readonly<Record<string, unknown>>;

  constructor(
    code: BusErrorCode,
    message: string,
    options: { retry: Retry; mend: string; evidence?: Record<string, unknown>; cause?: unknown },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retry = options.retry;
    this.mend = options.mend;
    this.evidence = options.evidence ?? {};
  }
}

/**
 * How a thrown value asks to be treated: `later` and `never` for operational errors (any error carrying a `retry` of that
 * value, from whichever room), `bug` for everything else.
 */
export function retryOf(error: unknown): Retry | 'bug' {
  if (!(error instanceof Error)) return 'bug';
  const retry = (error as { retry?: unknown }).retry;
  return retry === 'later' || retry === 'never' ? retry : 'bug';
}

/** One line for a log or a dead letter: name and message, never a stack, at most 500 characters. */
export function describeError(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : `thrown value: ${String(error)}`;
  return text.replace(/\s+/g, ' ').slice(0, 500);
}
