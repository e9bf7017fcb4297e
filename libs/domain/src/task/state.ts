import type { CheckResult, Outcome, CheckId } from '../check.js';
import type { EventData, SeatedModel } from '../events/catalogue.js';
import type { FaultCode } from '../faults.js';
import type { StepId, StepKind } from '../names.js';
import type { HunkRef, Review } from '../review.js';
import type { Judgement } from '../verdict.js';

/** Where a task is on its walk. */
export type TaskPhase =
  | 'none'
  | 'submitted'
  | 'waiting-for-capacity'
  | 'coding'
  | 'gating'
  | 'reviewing'
  | 'judged'
  | 'publishing'
  | 'retrying'
  | 'escalated'
  | 'awaiting-ruling'
  | 'closed';

/**
 * One step of a task. `waiting`: wants a model and has none. `requested`: a worker may claim it. `retrying`: failed, and the next try's
 * timer runs. `succeeded`, `failed`, `abandoned`: over, for good.
 */
export interface StepState {
  id: StepId;
  kind: StepKind;
  attempt: number;
  try: number;
  seat?: string;
  status: 'waiting' | 'requested' | 'retrying' | 'succeeded' | 'failed' | 'abandoned';
  /** How often it was put on the bus. */
  dispatches: number;
  /** How often a worker lost its lease of it. */
  leasesLost: number;
  /** Whether a worker holds a lease of it, as far as the history says. */
  leased: boolean;
  /** True from the loss or return of a lease until the step is dispatched again. */
  unattended: boolean;
  /** Whether the timer of its deadline may still run: from its first dispatch until it fires or a decision cancels it. */
  deadlineSet: boolean;
  /** Set when the timer of its deadline, or of its retry, has fired. */
  deadlinePassed: boolean;
  retryDue: boolean;
  nextStep?: StepId;
  failure?: { code: FaultCode; detail: string };
  model?: SeatedModel;
  /** Why it waits, as last recorded. */
  refused?: EventData<'task.admission-refused'>['reasons'];
}

export interface AttemptState {
  n: number;
  tier: number;
  model?: string;
  family?: string;
  change?: EventData<'change.proposed'>;
  /** Results as recorded, each with the gating step it came from: only those of the try that concluded are evidence. */
  checks: { step: StepId; result: CheckResult }[];
  gate?: {
    step: StepId;
    base: string;
    head: string;
    tree: string;
    concluded: { check: CheckId; outcome: Outcome }[];
    hunks: HunkRef[];
  };
  reviews: { tree: string; review: Review }[];
  judgement?: Judgement;
  /** Why the attempt ended early, when it did. */
  cause?: { code: FaultCode; detail: string };
}

export interface EscalationState {
  id: string;
  to: 'tier' | 'human';
  attempt: number;
  reasons: string[];
  open: boolean;
}

export interface TaskState {
  phase: TaskPhase;
  /** Number of events folded: the version a decision expects. */
  version: number;
  submission?: EventData<'task.submitted'>;
  submittedAt?: string;
  snapshot?: EventData<'snapshot.taken'>;
  steps: Record<StepId, StepState>;
  attempts: AttemptState[];
  tier: number;
  escalations: EscalationState[];
  ruling?: { decision: 'go' | 'no-go'; by: string; why: string; attempt: number };
  published?: { branch: string; head: string };
  outcome?: EventData<'task.closed'>;
}

export const initialTask: TaskState = { phase: 'none', version: 0, steps: {}, attempts: [], tier: 1, escalations: [] };

export const currentAttempt = (state: TaskState): AttemptState | undefined => state.attempts.at(-1);
export const stepsOf = (state: TaskState): StepState[] => Object.values(state.steps);
export const openEscalation = (state: TaskState): EscalationState | undefined =>
  state.escalations.find((entry) => entry.open);

/** The steps that still hold, or may come to hold, a worker, a timer or a model. */
export const liveSteps = (state: TaskState): StepState[] =>
  stepsOf(state).filter(
    (step) => step.status === 'waiting' || step.status === 'requested' || step.status === 'retrying',
  );

/** The last try of a kind of step of an attempt (and seat), or undefined when there was none. */
export function latestStep(state: TaskState, kind: StepKind, attempt: number, seat?: string): StepState | undefined {
  return stepsOf(state)
    .filter((step) => step.kind === kind && step.attempt === attempt && step.seat === seat)
    .sort((a, b) => a.try - b.try)
    .at(-1);
}
