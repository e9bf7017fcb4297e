/** Why a service cannot start, as one sentence for the operator: what was found, and what to do. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly retry = 'never';

  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
  }
}
