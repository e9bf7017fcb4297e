import { describe, expect, it } from 'vitest';
import { aPolicy, oid, taskId } from '../../test/builders.js';
import { World } from '../../test/world.js';
import { taskDocumentSchema, whyReasonSchema } from '../contracts.js';
import type { WireEvent } from '../door.js';
import { initialTask } from './state.js';
import { explainWait, projectTask } from './project.js';
import { summariseEvent } from './summaries.js';

const at = '2026-11-20T09:30:00.000Z';
const wire = (world: World): WireEvent[] =>
  world.events.map((event, index) => ({
    eventId: `e-${index}`,
    streamId: `task-${taskId}`,
    version: index + 1,
    schemaVersion: 1,
    at,
    ...event,
  }));
const codes = (world: World): string[] => explainWait(world.state).map((reason) => reason.code);
const snapshotted = (overrides = {}): World => new World().submit(overrides).succeed('snapshot.0.1');

describe('a task as it is shown', () => {
  it('carries the evidence of every attempt, the verdict and a line for every event', () => {
    const world = snapshotted().attempt(1, { tests: 'fail' }).attempt(2).succeed('publishing.2.1');
    const document = projectTask(world.state, wire(world));
    expect(taskDocumentSchema.parse(document)).toEqual(document);
    expect(document.task).toMatchObject({
      id: taskId,
      state: 'closed',
      base: oid('a'),
      outcome: 'go',
      published: { head: oid('e') },
    });
    expect(document.verdict).toEqual({ verdict: 'GO', reasons: [], advice: [] });
    expect(document.attempts).toMatchObject([
      {
        n: 1,
        model: 'coder-30b',
        node: 'studio',
        verdict: 'NO-GO',
        change: { tree: oid('1') },
        checks: [
          { check: 'build', outcome: 'pass', effect: 'block' },
          { check: 'tests', outcome: 'fail' },
        ],
        reviews: [{ seat: 'concluder', decision: 'approve' }],
      },
      { n: 2, verdict: 'GO' },
    ]);
    expect(document.timeline.map((entry) => entry.position)).toEqual(world.events.map((_, index) => index + 1));
    expect(document.timeline.find((entry) => entry.type === 'verdict.reached')?.summary).toBe(
      'attempt 1 is NO-GO: tests: tests were run',
    );
  });
  it('shows positions of the log where they are known, and events that it cannot read', () => {
    const world = new World().submit();
    const [first] = wire(world);
    if (first === undefined) throw new Error('no event');
    const events = [
      { ...first, position: 77 },
      { ...first, type: 'task.teleported' },
      { ...first, data: {} },
    ];
    expect(
      projectTask(world.state, events).timeline.map(({ position, summary }) => [position, summary.slice(0, 24)]),
    ).toEqual([
      [77, 'submitted: Totals of an '],
      [1, 'an event that this versi'],
      [1, 'an event that cannot be '],
    ]);
  });
  it('says why an attempt ended, and labels what a human let pass', () => {
    const ended = snapshotted().seat('coding.1.1').fail('coding.1.1', 'TURN_BUDGET');
    expect(projectTask(ended.state, []).attempts[0]).toMatchObject({
      ended: { code: 'TURN_BUDGET' },
      checks: [],
      reviews: [],
    });
    const ruled = snapshotted({ policy: aPolicy({ attempts: { perTier: [1] } }), publish: 'none' }).attempt(1, {
      tests: 'fail',
    });
    ruled.decide({ kind: 'rule', decision: 'go', by: 'ada', why: 'flaky' });
    const document = projectTask(ruled.state, wire(ruled));
    expect(document.verdict).toMatchObject({ verdict: 'GO-WAIVED', reasons: [{ check: 'tests' }] });
    expect(document.escalations).toMatchObject([{ to: 'human', open: false }]);
  });
  it('is not to be had of a task that never was', () => {
    expect(() => projectTask(initialTask, [])).toThrow('never submitted');
  });
  it('lets no text of a model move the cursor', () => {
    const summary = summariseEvent({
      type: 'task.cancelled',
      data: { by: 'x\u001b[2J', why: `a\nb\r\u202e${'c'.repeat(2000)}` },
    });
    expect(summary).toMatch(/^cancelled by x\[2J: a b c+…$/);
    expect(summary.length).toBe(300);
  });
});

describe('why a task waits', () => {
  it.each<[string, () => World, string[]]>([
    ['a worker', () => new World().submit(), ['WAITING_FOR_WORKER']],
    ['a model', () => snapshotted(), ['WAITING_FOR_MODEL']],
    ['a retry', () => new World().submit().fail('snapshot.0.1', 'REPOSITORY_UNREACHABLE'), ['RETRY_SCHEDULED']],
    [
      'a human',
      () => new World().submit().fail('snapshot.0.1', 'BASE_UNKNOWN'),
      ['AWAITING_RULING', 'ESCALATED_BECAUSE'],
    ],
    ['nothing', () => snapshotted({ publish: 'none' }).attempt(1), ['CLOSED']],
    [
      'a decision',
      () =>
        new World()
          .submit()
          .record({ type: 'snapshot.failed', data: { step: 'snapshot.0.1', code: 'BASE_UNKNOWN', detail: '' } }),
      ['BEING_DECIDED'],
    ],
  ])('%s', (_what, build, expected) => {
    const world = build();
    expect(codes(world)).toEqual(expected);
    for (const reason of explainWait(world.state)) expect(whyReasonSchema.parse(reason)).toEqual(reason);
  });
  it('tells work from waiting for it, by the lease', () => {
    const lease = { step: 'snapshot.0.1', holder: 'w', epoch: 1 };
    const world = new World().submit().record({ type: 'lease.granted', data: { ...lease, ttlMs: 60_000 } });
    expect(codes(world)).toEqual(['IN_PROGRESS']);
    world.record({ type: 'lease.expired', data: lease }).observe();
    expect(explainWait(world.state)).toMatchObject([
      { code: 'WAITING_FOR_WORKER', numbers: { dispatches: 2, leasesLost: 1 } },
    ]);
  });
  it('passes on why no model was admitted', () => {
    const why = { code: 'MEMORY_BUDGET', message: 'too big', numbers: { needBytes: 2 } } as const;
    expect(explainWait(snapshotted().state, { 'coding.1.1': [why] })[1]).toEqual(why);
  });
  it('is not asked of a task that never was', () => {
    expect(explainWait(initialTask)).toEqual([]);
  });
});
