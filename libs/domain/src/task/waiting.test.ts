import { describe, expect, it } from 'vitest';
import { aModel, aSubmission, oid } from '../../test/builders.js';
import type { PlumblineEvent } from '../events/catalogue.js';
import type { WaitReason } from '../fleet/fleet.js';
import { decide } from './decide.js';
import { evolve } from './evolve.js';
import { explainWait } from './project.js';
import { initialTask } from './state.js';

const pack = { digest: 'ab'.repeat(32), sizeBytes: 1, mediaType: 'x' };
const history: PlumblineEvent[] = [
  { type: 'task.submitted', data: aSubmission() },
  { type: 'task.snapshot-requested', data: { step: 'snapshot.0.1', dispatch: 1 } },
  {
    type: 'snapshot.taken',
    data: { step: 'snapshot.0.1', base: oid('a'), tree: oid('d'), objectFormat: 'sha1', pack },
  },
  { type: 'task.capacity-awaited', data: { step: 'coding.1.1', attempt: 1, seat: 'coder', tier: 1 } },
];
const full = (used: number): WaitReason => ({
  code: 'NO_FREE_SLOT',
  message: `all slots in use (${used})`,
  numbers: { used },
});
const memory: WaitReason = { code: 'MEMORY_BUDGET', message: 'too big', numbers: { needBytes: 2 } };
const wait = (...reasons: WaitReason[]) => ({ kind: 'wait', step: 'coding.1.1', reasons }) as const;
const eventsOf = (events: PlumblineEvent[], input: ReturnType<typeof wait>): PlumblineEvent[] => {
  const decision = decide(events.reduce(evolve, initialTask), input);
  return decision.outcome === 'accepted' ? decision.events : [];
};

describe('a step that cannot be admitted', () => {
  const [first] = eventsOf(history, wait(full(1)));

  it('has the reasons recorded, with their numbers', () => {
    expect(first).toEqual({ type: 'task.admission-refused', data: { step: 'coding.1.1', reasons: [full(1)] } });
  });

  it('has them recorded again only when they change in kind', () => {
    const recorded = [...history, first as PlumblineEvent];
    expect(eventsOf(recorded, wait(full(7)))).toEqual([]);
    expect(eventsOf(recorded, wait(memory))).toHaveLength(1);
    expect(eventsOf(recorded, wait(full(1), memory))).toHaveLength(1);
  });

  it('explains itself by what was recorded', () => {
    const state = [...history, first as PlumblineEvent].reduce(evolve, initialTask);
    expect(explainWait(state).map((reason) => reason.code)).toEqual(['WAITING_FOR_MODEL', 'NO_FREE_SLOT']);
  });

  it('is not a step that has its model already, nor one that nobody knows', () => {
    const seated: PlumblineEvent = {
      type: 'task.coding-requested',
      data: { step: 'coding.1.1', attempt: 1, dispatch: 1, model: aModel(), feedback: [] },
    };
    expect(eventsOf([...history, seated], wait(full(1)))).toEqual([]);
    expect(eventsOf(history, { ...wait(full(1)), step: 'coding.9.1' as 'coding.1.1' })).toEqual([]);
    expect(eventsOf(history, wait())).toEqual([]);
  });
});
