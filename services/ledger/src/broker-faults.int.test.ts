import { decodeEvent, evolve, initialTask, type TaskState } from '@plumbline/domain';
import { Projector, tableHash } from '@plumbline/event-log';
import {
  Crew,
  gateConcluded,
  exampleModel,
  exampleSubmission,
  registerNode,
  startTestSystem,
  type TestSystem,
} from '@plumbline/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { escalationsProjection } from './projections/escalations.js';
import { phaseAfter } from './projections/phase.js';
import { tasksProjection } from './projections/tasks.js';
import { verdictsProjection } from './projections/verdicts.js';
import { expectOneOfEverything } from './whole-walk.fixture.js';

let system: TestSystem;
let crew: Crew;

beforeAll(async () => {
  system = await startTestSystem({
    services: ['ledger', 'scheduler'],
    env: { PLUMB_RECONCILE_INTERVAL_MS: '500', PLUMB_STEP_IDLE_AFTER_MS: '1500' },
  });
  await registerNode(await system.client('node-agent'), { models: [exampleModel({ slots: 4 })] });
  crew = await Crew.start(system, { node: false });
});
afterAll(async () => {
  await crew?.stop();
  await system?.stop();
});

const submitMany = (prefix: string, n: number): Promise<string[]> =>
  Promise.all(
    Array.from({ length: n }, (_, i) => system.submit({ ...exampleSubmission, idempotencyKey: `${prefix}-${i}` })),
  );

/** LOG holds exactly the log: each message at its position, with the event's id. */
/** LOG ends where the log ends and holds at each position its event. Asked again while LOG is on its way there: it may go away in between. */
async function expectLogIsCopied(): Promise<void> {
  const bus = await system.client('ledger');
  const differences = async (): Promise<unknown[]> => {
    const { pos } = await system.log.head();
    const last = (await bus.jsm.streams.info('LOG')).state.last_seq;
    if (last !== pos) return [`LOG ends at ${last}, the log at ${pos}`];
    const events = await system.log.readLog({ afterPos: 0, limit: 10_000 });
    const stored = await Promise.all(events.map((event) => bus.jsm.streams.getMessage('LOG', { seq: event.pos })));
    return events
      .map((event, at) => [event.pos, event.eventId, stored[at]?.header.get('ce-id')])
      .filter(([, recorded, copied]) => recorded !== copied);
  };
  await expect.poll(() => differences().catch((error: unknown) => [error]), { timeout: 20_000 }).toEqual([]);
}

describe('faults of the broker', () => {
  it('goes on after NATS was killed, and rebuilds LOG when its store is gone', async () => {
    await system.nats.halt('SIGKILL');
    await system.nats.launch();
    const [first] = await submitMany('restart', 1);
    expect(await system.closed([first ?? ''])).toEqual(['go']);
    await system.nats.halt('SIGKILL');
    system.nats.wipe();
    await system.nats.launch();
    await expectLogIsCopied();
    const [second] = await submitMany('wiped', 1);
    expect(await system.closed([second ?? ''])).toEqual(['go']);
    expectOneOfEverything(system.watch, second ?? '');
  }, 60_000);

  it('notices a stranger in LOG and makes it anew', async () => {
    const bus = await system.client('ledger');
    await bus.js.publish('log.task.closed.t-00000000000000000000000000', '{}');
    await system
      .child('ledger')
      .line('rebuild', ({ msg }) => msg === 'LOG is being rebuilt from the log', 500)
      .catch(() => undefined);
    await expectLogIsCopied();
    const [taskId] = await submitMany('stranger', 1);
    expect(await system.closed([taskId ?? ''])).toEqual(['go']);
    await expectLogIsCopied();
  }, 60_000);

  it('loses no submission while scheduler and ledger are away', async () => {
    await Promise.all((['ledger', 'scheduler'] as const).map((name) => system.kill(name, 'SIGTERM')));
    await system.publish('submit', { ...exampleSubmission, idempotencyKey: 'while-away' }, { source: 'away' });
    await Promise.all((['ledger', 'scheduler'] as const).map((name) => system.restart(name)));
    const found = await system.watch.until('the submission', (events) =>
      events.find((event) => (event.data as { source?: string }).source === 'away'),
    );
    expect(await system.closed([(found.data as { taskId: string }).taskId])).toEqual(['go']);
  }, 60_000);

  it('leaves read models that are the same when built anew, and agree with the fold of every history', async () => {
    const putBack = crew.play({ gating: (step) => gateConcluded(step, { scope: 'fail' }) });
    const [trap] = await submitMany('trap', 1);
    await system.watch.event(trap ?? '', 'escalation.opened');
    putBack();
    const { pos } = await system.log.head();
    for (const projection of [tasksProjection, verdictsProjection, escalationsProjection]) {
      const projector = new Projector(system.log, projection);
      await expect.poll(() => projector.position()).toBeGreaterThanOrEqual(pos);
      expect(await projector.parked()).toEqual([]);
      const before = await tableHash(system.database.ledger, projector.schema);
      await projector.rebuild();
      expect(await tableHash(system.database.ledger, projector.schema)).toEqual(before);
    }
    const histories = new Map<string, TaskState>();
    const shown = new Map<string, string>();
    for (const event of system.watch.events.filter(({ streamId }) => streamId.startsWith('task-'))) {
      const decoded = decodeEvent(event);
      if (decoded.outcome !== 'event') throw new Error(`cannot decode ${event.type}`);
      const state = evolve(histories.get(event.streamId) ?? initialTask, decoded.event);
      histories.set(event.streamId, state);
      shown.set(event.streamId, phaseAfter(decoded.event) ?? shown.get(event.streamId) ?? 'none');
      expect([event.pos, event.type, shown.get(event.streamId)]).toEqual([event.pos, event.type, state.phase]);
    }
    expect(histories.size).toBeGreaterThan(3);
    const { body } = await system.api('/v1/tasks');
    for (const { id, state } of (body as { tasks: { id: string; state: string }[] }).tasks)
      expect([id, state]).toEqual([id, histories.get(`task-${id}`)?.phase]);
    expect((await system.api('/v1/escalations')).body).toMatchObject({ escalations: [{ task: trap, to: 'human' }] });
  }, 60_000);

  it('leaves in order on SIGTERM', async () => {
    expect(await system.kill('scheduler', 'SIGTERM')).toBe(0);
    expect(await system.kill('ledger', 'SIGTERM')).toBe(0);
    await Promise.all([system.restart('scheduler'), system.restart('ledger')]);
  }, 60_000);
});
