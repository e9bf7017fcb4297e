import { CliError } from '../failure.js';

/** `plumb check`: the command line is there, the gate it is to call is not; it refuses, and never reads as a pass. */
export async function check(): Promise<number> {
  throw new CliError('`plumb check` is not wired to the gate yet.', 'Submit a task to have a change judged.');
}
