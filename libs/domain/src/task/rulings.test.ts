import { describe, expect, it } from 'vitest';
import { oneTry, snapshotted } from '../../test/phases.js';
import { World } from '../../test/world.js';

const by = { by: 'ada', why: 'looked at it' };
const go = { kind: 'rule', decision: 'go', ...by } as const;
const noGo = { kind: 'rule', decision: 'no-go', ...by } as const;
const retry = { kind: 'retry', ...by } as const;
const failedTask = (): World => snapshotted({ policy: oneTry }).attempt(1, { tests: 'fail' });

describe('rulings', () => {
  const failed = (): World => failedTask();
  it('publishes a change ruled GO under the waived label', () => {
    const world = failed();
    world.decide(go);
    expect(world.events.at(-1)).toMatchObject({
      type: 'task.publishing-requested',
      data: { label: 'GO-WAIVED', attempt: 1 },
    });
    world.succeed('publishing.1.1');
    expect(world.state.outcome).toEqual({ outcome: 'go-waived', verdict: 'GO-WAIVED' });
  });
  it('closes with the waived label when nothing is to be published', () => {
    const world = snapshotted({ policy: oneTry, publish: 'none' }).attempt(1, { tests: 'fail' });
    world.decide(go);
    expect(world.state.outcome).toEqual({ outcome: 'go-waived', verdict: 'GO-WAIVED' });
  });
  it('closes as NO-GO, with the verdict that the rules gave', () => {
    const world = failed();
    world.decide(noGo);
    expect(world.state.outcome).toEqual({ outcome: 'no-go', verdict: 'NO-GO' });
  });
  it('refuses GO on an attempt without a change', () => {
    const world = snapshotted({ policy: oneTry }).seat('coding.1.1').fail('coding.1.1', 'EMPTY_DIFF');
    expect(world.decide(go)).toMatchObject({ outcome: 'refused', code: 'ILLEGAL_STATE' });
    expect(world.decide(noGo)).toMatchObject({ outcome: 'accepted' });
  });
  it('refuses a ruling about an attempt that is not the current one', () => {
    const world = failed();
    expect(world.decide({ ...go, attempt: 2 })).toMatchObject({ outcome: 'refused', code: 'ILLEGAL_STATE' });
    expect(world.decide({ ...go, attempt: 1 })).toMatchObject({ outcome: 'accepted' });
  });
  it('takes the same ruling twice for one', () => {
    const world = failed();
    world.decide(go);
    expect(world.decide(go)).toEqual({ outcome: 'accepted', events: [] });
    expect(world.decide(noGo)).toMatchObject({ outcome: 'refused' });
  });
  it('goes back to the human when a ruled change cannot be published, and a second ruling publishes again', () => {
    const world = failed();
    world.decide(go);
    world.fail('publishing.1.1', 'BRANCH_TAKEN');
    expect(world.state.phase).toBe('awaiting-ruling');
    world.decide(go);
    expect(world.live).toEqual(['publishing.1.2:requested']);
  });
  it('publishes a real GO as GO when a human only mends what kept it from being published', () => {
    const world = snapshotted().attempt(1).fail('publishing.1.1', 'BRANCH_TAKEN');
    world.decide(go);
    expect(world.events.at(-1)).toMatchObject({ data: { label: 'GO' } });
    world.succeed('publishing.1.2');
    expect(world.state.outcome).toEqual({ outcome: 'go', verdict: 'GO' });
  });
  it('does not carry a ruling over to a later attempt', () => {
    const world = failed();
    world.decide(go);
    world.fail('publishing.1.1', 'BRANCH_TAKEN');
    world.decide(retry);
    world.attempt(2, { tests: 'fail' });
    expect(world.state.phase).toBe('awaiting-ruling');
    expect(world.types.filter((type) => type === 'task.publishing-requested').length).toBe(1);
  });
  it('takes the snapshot anew when a human retries a task whose base could not be had', () => {
    const world = new World().submit().fail('snapshot.0.1', 'BASE_UNKNOWN');
    expect(world.state.phase).toBe('awaiting-ruling');
    world.decide(retry);
    expect(world.live).toEqual(['snapshot.0.2:requested']);
    world.succeed('snapshot.0.2');
    expect(world.live).toEqual(['coding.1.1:waiting']);
  });
});
