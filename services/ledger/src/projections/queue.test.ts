import { liveSteps } from '@plumbline/domain';
import { describe, expect, it } from 'vitest';
import { inPhase, snapshotted, oneTry } from '../../../../libs/domain/test/phases.js';
import { queueChange } from './queue.js';

describe('the queue for models', () => {
  const worlds = {
    ...inPhase,
    'a second attempt': () => snapshotted().attempt(1, { tests: 'fail' }),
    'one reviewed, one waiting': () =>
      snapshotted({ policy: oneTry }).seat('coding.1.1').succeed('coding.1.1').succeed('gating.1.1'),
  };
  it.each(Object.entries(worlds))('is what the fold says: %s', (_, make) => {
    const world = make();
    for (const decided of [false, true]) {
      if (decided) world.decide({ kind: 'cancel', by: 'ada', why: 'no need' } as never);
      const waiting = new Set<string>();
      for (const event of world.events) {
        const change = queueChange(event);
        if (change === 'all-end') waiting.clear();
        else if (change !== undefined && 'begins' in change) waiting.add(change.begins);
        else if (change !== undefined) waiting.delete(change.ends);
      }
      const folded = liveSteps(world.state).filter(({ status }) => status === 'waiting');
      expect([...waiting].sort()).toEqual(folded.map(({ id }) => id).sort());
    }
  });
});
