import { effectOf, type CheckResult, type Issue, type Policy } from '@plumbline/domain';
import type { Sandbox, Toolchain } from '@plumbline/sandbox';
import { allChecks } from './checks/all.js';
import { GateInfraError } from './gate-infra-error.js';
import { runGate } from './run-gate.js';
import type { BaseRuns } from './workbench.js';

const findingsShown = 5;
const feedbackCharsMax = 600;

/** What the fast gate looks at: a commit in the coder's own store. Without an issue nothing is said about scope. */
export interface FastGateInput {
  readonly gitDir: string;
  readonly base: string;
  readonly head: string;
  readonly tree: string;
  readonly policy: Policy;
  readonly signal: AbortSignal;
  readonly issue?: Issue;
}

/** `red` is feedback for whoever made the change; `error` says that the checks could not be run, which is nobody's failure. */
export type FastGateOutcome =
  | { readonly outcome: 'green' }
  | { readonly outcome: 'red'; readonly findings: readonly string[] }
  | { readonly outcome: 'error'; readonly why: string };

/** The quick checks inside the coder's loop. The clean room afterwards believes nothing of what they said. */
export type FastGate = (input: FastGateInput) => Promise<FastGateOutcome>;

/**
 * The same checks as in the clean room, for the loop of a coder: only those whose failure policy lets count, base's runs kept from round to
 * round. A check that could not tell is not red: no other code would change that.
 */
export function createFastGate(means: {
  readonly sandbox: Sandbox;
  readonly toolchain: Toolchain | null;
  readonly workDir: string;
}): FastGate {
  const baseRuns: BaseRuns = new Map();
  return async (input) => {
    const { policy, issue = null } = input;
    const checks = allChecks.filter(
      ({ id }) => effectOf(policy, id) !== 'advise' && (id !== 'scope' || issue !== null),
    );
    // One base at a time: a coder stays on its task.
    if (baseRuns.size > 8) baseRuns.clear();
    try {
      const { results } = await runGate({ ...means, ...input, issue, checks, baseRuns });
      const findings = results.filter(({ outcome }) => outcome === 'fail').flatMap(feedbackOf);
      return findings.length === 0 ? { outcome: 'green' } : { outcome: 'red', findings };
    } catch (error) {
      if (error instanceof GateInfraError) return { outcome: 'error', why: error.message };
      throw error;
    }
  };
}

/** The failure in one line, then its first findings, one line each. */
function feedbackOf(result: CheckResult): string[] {
  const shown = result.findings.slice(0, findingsShown).map(({ path, line, message }) => {
    const place = path === undefined ? '' : `${path}${line === undefined ? '' : `:${line}`}: `;
    return `${place}${message}`.slice(0, feedbackCharsMax);
  });
  const more = result.findings.length - shown.length;
  return [`${result.check}: ${result.summary}`, ...shown, ...(more > 0 ? [`and ${more} more`] : [])];
}
