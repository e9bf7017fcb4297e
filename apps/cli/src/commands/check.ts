import { CliError } from '../failure.js';

/** `plumb check`: not wired yet. */
export async function check(): Promise<number> {
  throw new CliError('`plumb check` is not wired to the gate yet.', 'Submit a task to have a change judged.');
}
