import type { FaultCode } from './faults.js';

/** A step ends without its result, for a reason of the taxonomy. Thrown by whatever works on a step; recorded as the step's failure. */
export class StepFault extends Error {
  override readonly name = 'StepFault';
  constructor(
    readonly code: FaultCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
