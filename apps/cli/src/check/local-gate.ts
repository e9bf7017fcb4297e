import type { CheckDocument, Issue, Policy } from '@plumbline/domain';
import type { Sandbox, Toolchain } from '@plumbline/sandbox';
import { badInput, CliError, explain, throwIfAborted } from '../failure.js';
import { checkout } from '../system/checkout.js';

/** One change of a repository on this machine, to be judged with no services. */
export interface LocalChange {
  readonly repo: string;
  readonly base: string;
  /** A revision, or WORKTREE for the files as they are. */
  readonly head: string;
  readonly issue: Issue | null;
  readonly policy: Policy;
  readonly signal: AbortSignal;
  readonly onStart: (check: string) => void;
}

/** What `plumb check` asks of the gate. */
interface GateDoor {
  runCheck(request: LocalChange & { sandbox: Sandbox; toolchain: Toolchain | null }): Promise<CheckDocument>;
}

/** Judges a change with the gate in a sandbox. Throws CliError for what cannot be read, and when no sandbox opens: nothing runs unconfined. */
export async function judge(change: LocalChange): Promise<CheckDocument> {
  const gate = (await import('@plumbline/gate')) as Partial<GateDoor>;
  if (gate.runCheck === undefined) {
    throw new CliError(
      'The gate of this build cannot judge a change by itself.',
      'Submit a task to have a change judged.',
    );
  }
  const { nodeToolchain, openSandbox } = await import('@plumbline/sandbox');
  const { locate } = await import('@plumbline/embedded');
  const bwrap = locate('bwrap', { root: checkout, env: process.env });
  if (!('found' in bwrap)) throw new CliError(bwrap.missing, bwrap.mend);
  const sandbox = await openSandbox({ bwrapPath: bwrap.found });
  try {
    return await gate.runCheck({ ...change, sandbox, toolchain: nodeToolchain(process.execPath) });
  } catch (error) {
    throwIfAborted(change.signal);
    if (!(error instanceof Error) || error.name !== 'GitError') throw error;
    throw badInput(explain(error).message.replace(/^[A-Z_]+: /, ''), 'Check --repo, --base and --head.');
  }
}
