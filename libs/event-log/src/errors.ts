/**
 * Something outside the program's logic went wrong: a lost connection, a refused payload, a database of another version.
 * `retry: 'later'` means that the same call may succeed unchanged; `'never'` means that it cannot.
 */
export class OperationalError extends Error {
  readonly retry: 'later' | 'never';

  constructor(message: string, options: { retry: 'later' | 'never'; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'OperationalError';
    this.retry = options.retry;
  }
}

/** The caller's input cannot be stored as it is; `path` names the offending field, e.g. `streams[0].events[1].data`. */
export class InvalidInputError extends OperationalError {
  readonly path: string;

  constructor(path: string, problem: string) {
    super(`${path}: ${problem}`, { retry: 'never' });
    this.name = 'InvalidInputError';
    this.path = path;
  }
}

/** SQLSTATE of a Postgres error, or the Node error code of a socket error; undefined for anything else. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : undefined;
}

const lostConnectionMessages =
  /connection terminated|connection ended|client has encountered a connection error|timeout expired|timeout exceeded when trying to connect|not queryable|client was closed/i;

/** True when the connection to Postgres broke or could not be made: the outcome of a running commit is then unknown. */
export function isConnectionLoss(error: unknown): boolean {
  const code = errorCode(error);
  if (code !== undefined && /^(08...|57P0.|E[A-Z_]{3,})$/.test(code)) return true;
  return error instanceof Error && code === undefined && lostConnectionMessages.test(error.message);
}

/** True when Postgres rolled the transaction back for a reason that passes: deadlock, serialisation, resources, lock timeout. */
export function isTransientFailure(error: unknown): boolean {
  if (error instanceof OperationalError) return error.retry === 'later';
  if (isConnectionLoss(error)) return true;
  const code = errorCode(error);
  return code !== undefined && /^(40...|53...|55P03|57014|58...)$/.test(code);
}

/** Wraps whatever the driver threw while doing `what` as an {@link OperationalError}; those pass through unchanged. */
export function toOperationalError(error: unknown, what: string): OperationalError {
  if (error instanceof OperationalError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new OperationalError(`${what}: ${message}`, {
    retry: isTransientFailure(error) ? 'later' : 'never',
    cause: error,
  });
}
