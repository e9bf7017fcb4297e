import { shippedPolicies } from '@plumbline/domain';
import { describe, expect, it } from 'vitest';
import { noProgress, nudge, observe, stopReason } from './progress.js';
import { digestOf, type CallOutcome, type TurnFacts } from './turn-record.js';

const policy = { ...shippedPolicies.strict.coder, turnsMax: 500 };
let serial = 0;
const call = (outcome: CallOutcome, name = `call ${serial++}`) => ({ tool: 'run', outcome, signature: digestOf(name) });
const turn = (calls: TurnFacts['calls'], more: Partial<TurnFacts> = {}): TurnFacts => ({
  treeBefore: 'a',
  treeAfter: 'b',
  finish: 'tool_calls',
  calls,
  ...more,
});
const after = (turns: TurnFacts[]) => turns.reduce(observe, noProgress);
const codeAfter = (turns: TurnFacts[], coder = policy): string | undefined => stopReason(after(turns), coder)?.code;
const times = <T>(n: number, make: () => T): T[] => Array.from({ length: n }, make);

describe('the rules on progress', () => {
  const rules: [string, number, () => TurnFacts][] = [
    ['NO_TOOL_CALL', 3, () => turn([])],
    ['REASONING_ONLY', 5, () => turn([], { finish: 'reasoning-only' })],
    ['OUTPUT_TRUNCATED', 4, () => turn([], { finish: 'length' })],
    ['TOOL_UNKNOWN', 3, () => turn([call('unknown-tool')])],
    ['TOOL_ARGS_INVALID', 3, () => turn([call('invalid-arguments')])],
    ['CHANGE_INVALID', 3, () => turn([call('undone')])],
    ['EMPTY_DIFF', 2, () => turn([call('empty-submission')])],
    ['STUCK_REPEAT', 5, () => turn([call('error', 'same')])],
    ['STUCK_NO_EDIT', 15, () => turn([call('ok')], { treeAfter: 'a' })],
    ['GATE_FAILED', policy.gateRoundsMax + 1, () => turn([call('red-gate')])],
  ];
  it.each(rules)('%s at %i, not one earlier', (code, n, make) => {
    expect(codeAfter(times(n - 1, make))).toBeUndefined();
    expect(codeAfter(times(n, make))).toBe(code);
  });

  it('count in a row: a well-formed call forgives bad ones before it', () => {
    const bad = () => turn([call('unknown-tool')]);
    expect(codeAfter([bad(), bad(), turn([call('ok')]), bad(), bad()])).toBeUndefined();
    expect(codeAfter([turn([call('ok'), call('unknown-tool'), call('unknown-tool')]), bad()])).toBe('TOOL_UNKNOWN');
    expect(codeAfter([turn([]), turn([]), turn([call('ok')]), turn([])])).toBeUndefined();
  });

  it('do not take the same test after an edit for a loop', () => {
    const turns = times(12, () => turn([call('error')]));
    expect(codeAfter(turns)).toBeUndefined();
  });

  it('count repeats wherever they stand, since the same answer on the same files is no progress', () => {
    const repeated = times(5, () => [turn([call('ok', 'same')]), turn([call('ok')])]).flat();
    expect(codeAfter(repeated.slice(0, 8))).toBeUndefined();
    expect(codeAfter(repeated.slice(0, 9))).toBe('STUCK_REPEAT');
  });

  it('remind before they stop', () => {
    expect(nudge(after(times(2, () => turn([call('ok', 'same')]))))).toBeUndefined();
    expect(nudge(after(times(3, () => turn([call('ok', 'same')]))))).toBe('repeat');
    expect(nudge(after(times(10, () => turn([call('ok')], { treeAfter: 'a' }))))).toBe('no-edit');
    expect(nudge(after(times(11, () => turn([call('ok')], { treeAfter: 'a' }))))).toBeUndefined();
  });

  it('end by the budget of the policy', () => {
    expect(
      codeAfter(
        times(4, () => turn([call('ok')])),
        { ...policy, turnsMax: 4 },
      ),
    ).toBe('TURN_BUDGET');
  });
});
