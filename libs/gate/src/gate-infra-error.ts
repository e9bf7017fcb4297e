/**
 * The machine, not the change, kept a check from being run: no sandbox, no disk space, a toolchain that is missing. Never counts as red;
 * the gate may be tried again, here or elsewhere.
 */
export class GateInfraError extends Error {
  override readonly name = 'GateInfraError';
  readonly retry = 'later';

  constructor(
    readonly what: string,
    readonly mend: string,
    options?: ErrorOptions,
  ) {
    super(`The gate could not run: ${what}. ${mend}`, options);
  }
}
