import type { FaultCode, Policy } from '@plumbline/domain';
import type { CallOutcome, TurnFacts } from './turn-record.js';

/** When the rules speak up, and when they end the attempt. */
const limits = {
  proseTurns: 3,
  truncatedTurns: 4,
  reasoningOnlyTurns: 5,
  invalidCalls: 3,
  unknownCalls: 3,
  repeats: { nudge: 3, stop: 5 },
  turnsWithoutEdit: { nudge: 10, stop: 15 },
  emptySubmissions: 2,
  undone: 3,
} as const;

/** What the rules remember of the turns so far. A pure fold over recorded facts, so that a resumed run counts on where it was. */
export interface Progress {
  readonly turns: number;
  readonly proseStreak: number;
  readonly reasoningOnlyStreak: number;
  readonly truncatedStreak: number;
  readonly invalidStreak: number;
  readonly unknownStreak: number;
  readonly undone: number;
  readonly emptySubmissions: number;
  readonly redGates: number;
  readonly turnsWithoutEdit: number;
  readonly signatures: ReadonlyMap<string, number>;
  /** How often the most repeated call of the last turn has been made so far. */
  readonly repeats: number;
}

export const noProgress: Progress = {
  turns: 0,
  proseStreak: 0,
  reasoningOnlyStreak: 0,
  truncatedStreak: 0,
  invalidStreak: 0,
  unknownStreak: 0,
  undone: 0,
  emptySubmissions: 0,
  redGates: 0,
  turnsWithoutEdit: 0,
  signatures: new Map(),
  repeats: 0,
};

/** Adds one turn. */
export function observe(progress: Progress, facts: TurnFacts): Progress {
  const silent = facts.calls.length === 0;
  const truncated = facts.finish === 'length';
  const count = (outcome: CallOutcome): number => facts.calls.filter((call) => call.outcome === outcome).length;
  const streak = (before: number, goesOn: boolean): number => (goesOn ? before + 1 : 0);
  const signatures = new Map(progress.signatures);
  let repeats = 0;
  for (const { signature, outcome } of facts.calls) {
    if (outcome !== 'ok' && outcome !== 'error') continue;
    const seen = (signatures.get(signature) ?? 0) + 1;
    signatures.set(signature, seen);
    repeats = Math.max(repeats, seen);
  }
  return {
    turns: progress.turns + 1,
    proseStreak: streak(progress.proseStreak, silent && !truncated && facts.finish !== 'reasoning-only'),
    reasoningOnlyStreak: streak(progress.reasoningOnlyStreak, facts.finish === 'reasoning-only'),
    truncatedStreak: streak(progress.truncatedStreak, truncated),
    invalidStreak: callStreak(progress.invalidStreak, facts, 'invalid-arguments'),
    unknownStreak: callStreak(progress.unknownStreak, facts, 'unknown-tool'),
    undone: progress.undone + count('undone'),
    emptySubmissions: progress.emptySubmissions + count('empty-submission'),
    redGates: progress.redGates + count('red-gate'),
    turnsWithoutEdit: facts.treeAfter === facts.treeBefore ? progress.turnsWithoutEdit + 1 : 0,
    signatures,
    repeats,
  };
}

/** Calls of one bad outcome since the last call that was well formed. What was not run says nothing either way. */
function callStreak(before: number, { calls }: TurnFacts, outcome: CallOutcome): number {
  return calls.reduce((streak, call) => {
    if (call.outcome === outcome) return streak + 1;
    const malformed =
      call.outcome === 'invalid-arguments' || call.outcome === 'unknown-tool' || call.outcome === 'not-run';
    return malformed ? streak : 0;
  }, before);
}

/** Why the attempt must end now, or undefined. The first that applies: what the model did comes before how long it took. */
export function stopReason(
  progress: Progress,
  policy: Policy['coder'],
): { code: FaultCode; detail: string } | undefined {
  const rules: [boolean, FaultCode, string][] = [
    [
      progress.truncatedStreak >= limits.truncatedTurns,
      'OUTPUT_TRUNCATED',
      `${progress.truncatedStreak} answers in a row ran into the output limit`,
    ],
    [
      progress.reasoningOnlyStreak >= limits.reasoningOnlyTurns,
      'REASONING_ONLY',
      `${progress.reasoningOnlyStreak} answers in a row held nothing but thoughts`,
    ],
    [
      progress.proseStreak >= limits.proseTurns,
      'NO_TOOL_CALL',
      `${progress.proseStreak} answers in a row called no tool`,
    ],
    [
      progress.unknownStreak >= limits.unknownCalls,
      'TOOL_UNKNOWN',
      `${progress.unknownStreak} calls in a row named no tool there is`,
    ],
    [
      progress.invalidStreak >= limits.invalidCalls,
      'TOOL_ARGS_INVALID',
      `${progress.invalidStreak} calls in a row had arguments that do not fit`,
    ],
    [
      progress.undone >= limits.undone,
      'CHANGE_INVALID',
      `${progress.undone} calls left a tree that cannot be a change`,
    ],
    [
      progress.emptySubmissions >= limits.emptySubmissions,
      'EMPTY_DIFF',
      `handed in ${progress.emptySubmissions} times without changing anything`,
    ],
    [progress.redGates > policy.gateRoundsMax, 'GATE_FAILED', `the fast gate was red ${progress.redGates} times`],
    [
      progress.repeats >= limits.repeats.stop,
      'STUCK_REPEAT',
      `the same call on the same files with the same answer, ${progress.repeats} times`,
    ],
    [
      progress.turnsWithoutEdit >= limits.turnsWithoutEdit.stop,
      'STUCK_NO_EDIT',
      `${progress.turnsWithoutEdit} turns without a change to any file`,
    ],
    [progress.turns >= policy.turnsMax, 'TURN_BUDGET', `${progress.turns} turns without an accepted change`],
  ];
  const rule = rules.find(([applies]) => applies);
  return rule === undefined ? undefined : { code: rule[1], detail: rule[2] };
}

/** Which reminder belongs to the answers of a turn, or undefined. Said once when a rule begins to count, not in every turn. */
export function nudge(progress: Progress): 'repeat' | 'no-edit' | undefined {
  if (progress.repeats >= limits.repeats.nudge) return 'repeat';
  return progress.turnsWithoutEdit === limits.turnsWithoutEdit.nudge ? 'no-edit' : undefined;
}
