/**
 * The failure taxonomy as data: exclusive codes, whose fault each is, and what the process manager does about it. A run ends in one
 * code, the first unrecovered cause. Infra and harness codes never yield GO or NO-GO, never score a model and never push.
 * After the table in the project's research on coder loops (terminal codes, precedence and actions).
 */
export type Fault = 'model' | 'infra' | 'harness' | 'operator' | 'task' | 'unattributed';

/** `retry` the step; `next-attempt` feeds back or goes up a tier; `human` hands over at once; `stop` ends without blame. */
export type FaultAction = 'retry' | 'next-attempt' | 'human' | 'stop';

export interface FaultRule {
  fault: Fault;
  action: FaultAction;
  /** How often the step is tried again before the attempt is INCOMPLETE. 0 for everything that is not retried. */
  retriesMax: number;
  meaning: string;
}

const rule = (fault: Fault, action: FaultAction, retriesMax: number, meaning: string): FaultRule => ({
  fault,
  action,
  retriesMax,
  meaning,
});

export const faultCodes = {
  CANCELLED: rule('operator', 'stop', 0, 'a person cancelled the task'),
  CONFIG_INVALID: rule('operator', 'human', 0, 'the endpoint, key or configuration is wrong'),
  CAPABILITY_MISMATCH: rule('operator', 'human', 0, 'the model cannot do what the seat needs'),
  BASE_UNKNOWN: rule('operator', 'human', 0, 'the base revision does not exist in the repository'),
  REPOSITORY_FORBIDDEN: rule('operator', 'human', 0, 'the repository refused access or its address is not allowed'),
  PUBLISH_REFUSED: rule('harness', 'human', 0, 'what was asked to be published has no GO'),
  BRANCH_TAKEN: rule('operator', 'human', 0, 'the branch to publish exists at another commit'),
  WORKSPACE_SETUP: rule('infra', 'retry', 2, 'clone, checkout or sandbox could not be set up'),
  REPOSITORY_UNREACHABLE: rule('infra', 'retry', 3, 'the repository host did not answer'),
  ENDPOINT_UNREACHABLE: rule('infra', 'retry', 3, 'the model endpoint refused the connection or has no address'),
  MODEL_LOADING_TIMEOUT: rule('infra', 'retry', 2, 'the model server was still loading at the deadline'),
  RATE_LIMITED: rule('infra', 'retry', 3, 'the model server kept answering that it is busy'),
  STREAM_BROKEN: rule('infra', 'retry', 3, 'the stream ended without a finish reason'),
  FIRST_TOKEN_TIMEOUT: rule('infra', 'retry', 1, 'no token arrived in time'),
  STREAM_STALL: rule('infra', 'retry', 1, 'tokens stopped arriving'),
  SERVER_ERROR: rule('infra', 'retry', 3, 'the model server failed'),
  SERVER_PARSE_ERROR: rule('infra', 'retry', 1, 'the model server could not parse what the model wrote'),
  GATE_ERROR: rule('infra', 'retry', 2, 'the checks could not be run; never counts as red'),
  ARTIFACT_UNAVAILABLE: rule('infra', 'retry', 3, 'evidence could not be stored or read'),
  WORKER_LOST: rule('infra', 'retry', 2, 'the worker lost its lease too often'),
  STEP_DEADLINE: rule('infra', 'retry', 1, 'the step was not done by its deadline'),
  HISTORY_REJECTED: rule('harness', 'human', 0, 'the server rejected the conversation the harness sent'),
  CONTEXT_OVERFLOW: rule('harness', 'next-attempt', 0, 'the conversation did not fit after compaction'),
  TOOL_INTERNAL: rule('harness', 'human', 0, 'a tool of the harness failed'),
  HARNESS_BUG: rule('harness', 'human', 0, 'an assertion of the harness failed'),
  OUTPUT_TRUNCATED: rule('model', 'next-attempt', 0, 'the model ran into its output limit again and again'),
  REASONING_ONLY: rule('model', 'next-attempt', 0, 'the model thought and never acted'),
  NO_TOOL_CALL: rule('model', 'next-attempt', 0, 'the model wrote prose and called no tool'),
  TOOL_ARGS_INVALID: rule('model', 'next-attempt', 0, 'the model kept sending arguments that do not parse'),
  TOOL_UNKNOWN: rule('model', 'next-attempt', 0, 'the model kept calling tools that do not exist'),
  TOOL_FORBIDDEN: rule('model', 'next-attempt', 0, 'the model kept trying what policy denies'),
  DEGENERATE_OUTPUT: rule('model', 'next-attempt', 0, 'the model repeated itself without end'),
  STUCK_REPEAT: rule('model', 'next-attempt', 0, 'the same call with the same result again and again'),
  STUCK_NO_EDIT: rule('model', 'next-attempt', 0, 'many turns and no edit'),
  TURN_BUDGET: rule('model', 'next-attempt', 0, 'the turn budget ran out'),
  TIME_BUDGET: rule('unattributed', 'next-attempt', 0, 'the time budget ran out'),
  EMPTY_DIFF: rule('model', 'next-attempt', 0, 'the model submitted without changing anything'),
  CHANGE_INVALID: rule('model', 'next-attempt', 0, 'the proposed change is not a plain commit on base'),
  GATE_FAILED: rule('model', 'next-attempt', 0, 'the fast gate stayed red after its fix rounds'),
  MODEL_DECLINED: rule('model', 'human', 0, 'the model said with reasons that it cannot or need not do this'),
  TASK_UNDERSPECIFIED: rule('task', 'human', 0, 'the issue does not say enough'),
  REVIEW_UNPARSEABLE: rule('model', 'stop', 0, 'the review could not be read'),
  REVIEW_INCONCLUSIVE: rule('model', 'stop', 0, 'the reviewer did not conclude'),
} as const satisfies Record<string, FaultRule>;

export type FaultCode = keyof typeof faultCodes;
export const faultCodeNames = Object.keys(faultCodes) as [FaultCode, ...FaultCode[]];

/** How long to wait before try `n + 1` of a step, in milliseconds; `n` is 1 for the first failure. Doubles from 2 s to at most 2 minutes. */
export function retryDelayMs(n: number): number {
  return Math.min(2_000 * 2 ** Math.max(0, n - 1), 120_000);
}
