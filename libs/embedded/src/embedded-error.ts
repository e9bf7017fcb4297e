/** What went wrong with a server of ours; each code is one situation a user can act on. */
export type EmbeddedErrorCode =
  | 'binary-missing'
  | 'port-taken'
  | 'data-dir-in-use'
  | 'data-dir-foreign'
  | 'data-dir-other-version'
  | 'disk-full'
  | 'wrong-password'
  | 'config-invalid'
  | 'root-refused'
  | 'start-timeout'
  | 'start-failed';

/** Situations that may pass by themselves; the rest needs a person. */
const PASSING: ReadonlySet<EmbeddedErrorCode> = new Set([
  'port-taken',
  'data-dir-in-use',
  'disk-full',
  'start-timeout',
]);

/**
 * A server could not be started. `message` says which server and what it met, `mend` is one sentence on what to do,
 * `log` holds the last lines the server wrote in this start (empty when it never ran).
 */
export class EmbeddedError extends Error {
  readonly retry: 'later' | 'never';

  constructor(
    readonly code: EmbeddedErrorCode,
    message: string,
    readonly mend: string,
    readonly log = '',
  ) {
    super(log === '' ? message : `${message}\nThe server's last words:\n${log}`);
    this.name = 'EmbeddedError';
    this.retry = PASSING.has(code) ? 'later' : 'never';
  }
}
