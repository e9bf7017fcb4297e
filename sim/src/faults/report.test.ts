import { describe, expect, it } from 'vitest';
import type { CheckResult } from './checker.js';
import type { FaultRecord, History } from './history.js';
import { planOf } from './plan.js';
import { documentOf, textOf } from './report.js';

const plan = planOf({ seed: '1', tasks: 3, faults: 4, only: 'step.worked' });
const faults = Object.values(plan.chains).flatMap((chain) => chain ?? []);
const held: CheckResult = { outcome: 'held', findings: [], looked: {} as CheckResult['looked'] };

function documentFor(outcomes: readonly FaultRecord['outcome'][], checked = held, givenUp?: string) {
  const records = faults.map(
    (fault, at) => ({ fault, outcome: outcomes[at] ?? 'injected', evidence: 'seen' }) as const,
  );
  const history = { tasks: [], events: [], faults: records } as unknown as History;
  const document = documentOf({
    ...{ plan, history, checked, starts: {}, durationMs: 1_000, repeat: 'again' },
    ...(givenUp === undefined ? {} : { givenUp }),
  });
  return { document, text: textOf(document, records) };
}

describe('documentOf', () => {
  it('is held when everything was injected and nothing was found', () => {
    const { document, text } = documentFor([]);
    expect(document).toMatchObject({ outcome: 'held', faults: { injected: 4, missed: 0 }, unproven: [] });
    expect(text).toContain('none lost, none doubled');
  });

  it('cannot tell when a fault that was asked for did not happen', () => {
    const { document, text } = documentFor(['missed']);
    expect(document).toMatchObject({ outcome: 'unknown', faults: { injected: 3, missed: 1 } });
    expect(document.unproven.join()).toMatch(
      /step\.worked was planned 1 times and never happened.*3 faults happened, 4 were asked for/,
    );
    expect(text).not.toContain('none lost');
  });

  it('does not blame a run for what its machine cannot do, and says so', () => {
    const { document, text } = documentFor(['skipped']);
    expect(document).toMatchObject({ outcome: 'held', faults: { injected: 3, skipped: 1 } });
    expect(text).toMatch(/skipped #\d+ kill/);
  });

  it('cannot tell when it was given up, and is violated when something was found', () => {
    expect(documentFor([], held, 'nothing moved').document).toMatchObject({
      outcome: 'unknown',
      unproven: ['nothing moved'],
    });
    const finding = { invariant: 'none lost', subject: 'task 1', detail: 'gone' } as const;
    const violated: CheckResult = { ...held, outcome: 'violated', findings: [finding] };
    expect(documentFor(['missed'], violated).document.outcome).toBe('violated');
    expect(documentFor([], violated).text).toContain('none lost: task 1: gone');
  });
});
