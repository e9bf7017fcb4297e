import type { ArtifactRef, CheckId, Finding, Issue, Outcome } from '@plumbline/domain';
import type { FileDiff } from '@plumbline/repo';
import type { Profile } from '../profiles/profile.js';
import type { Workbench } from '../workbench.js';

/** The change under examination. Every result is about `tree`, whatever composed tree was run to find it. */
export interface Subject {
  readonly base: string;
  readonly head: string;
  readonly tree: string;
}

/** Everything a check may look at: computed by the harness from git objects and from base's own configuration. */
export interface CheckContext {
  readonly subject: Subject;
  /** A private store that holds base and the change. */
  readonly gitDir: string;
  /** What differs between base and the change, without context lines. */
  readonly changes: readonly FileDiff[];
  /** Every path of base. */
  readonly basePaths: readonly string[];
  /** Null when there is none: then nothing can be said about what was asked for. */
  readonly issue: Issue | null;
  readonly profile: Profile;
  /** Exported trees, and what was found by running them. */
  readonly workbench: Workbench;
  readonly signal: AbortSignal;
  /** Keeps a log or report as evidence; null where evidence is not kept. */
  keep(text: string, mediaType: string): Promise<ArtifactRef | null>;
}

/** What a check concludes; the gate adds which check, rule version and tree it is about, and how long it took. */
export interface Conclusion {
  readonly outcome: Outcome;
  readonly summary: string;
  /** What showed that the check does not apply. Present exactly when the outcome is `not-applicable`. */
  readonly predicate?: string;
  readonly findings?: readonly Finding[];
  readonly evidence?: readonly ArtifactRef[];
}

/**
 * One deterministic examination. `run` throws GateInfraError when the machine is at fault, and never concludes `pass` from something it
 * could not see.
 */
export interface Check {
  readonly id: CheckId;
  /** Raised with every change of the rule, so that recorded results say which rule they are results of. */
  readonly version: number;
  /** The rule, in words, as people are shown it. */
  readonly rule: string;
  run(context: CheckContext): Promise<Conclusion>;
}
