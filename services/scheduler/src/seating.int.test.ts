import { randomBytes } from 'node:crypto';
import { commandId, LedgerClient } from '@plumbline/bus';
import { seededRandom, shippedPolicies, taskStream, type OfferedModel, type Pool } from '@plumbline/domain';
import { exampleModel, exampleSubmission, registerNode, startTestSystem, type TestSystem } from '@plumbline/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FleetView } from './fleet-view.js';
import { Seating } from './seating.js';
import { TaskManager } from './task-manager.js';

let system: TestSystem;

beforeAll(async () => {
  system = await startTestSystem({ services: ['ledger'] });
});
afterAll(() => system?.stop());

/** A scheduler's seating with its own view and connection, as a replica has it. */
async function replica(errors: unknown[]): Promise<{ seating: Seating; manager: TaskManager }> {
  const ledger = new LedgerClient(await system.nats.connect('scheduler'), 'scheduler');
  const fleet = new FleetView(ledger);
  const manager: TaskManager = new TaskManager(ledger, fleet, {
    onState: (taskId, state) => seating.update(taskId, state),
    onEvents: () => undefined,
  });
  const seating = new Seating(fleet, () => manager, {
    onWaits: () => undefined,
    onError: (error) => errors.push(error),
  });
  return { seating, manager };
}

/** A task whose first coding step waits for a model of a tier, as history tells it. */
async function waitingTask(ledger: LedgerClient, tier: number): Promise<string> {
  const taskId = `t-${randomBytes(13).toString('hex')}`;
  const { repository, issue } = exampleSubmission;
  const policy = shippedPolicies.strict;
  const step = 'coding.1.1';
  const submitted = { taskId, source: 's', submissionId: taskId, contentDigest: 'x', repository, issue, policy };
  await ledger.append({
    commandId: commandId('waiting', taskId),
    streams: [
      {
        streamId: taskStream(taskId),
        events: [
          { type: 'task.submitted', data: { ...submitted, priority: 'normal', publish: 'none' } },
          { type: 'task.capacity-awaited', data: { step, attempt: 1, seat: 'coder', tier } },
        ],
      },
    ],
  });
  return taskId;
}

describe('two replicas that seat at the same time', () => {
  it.each([1, 2, 3, 4, 5])(
    'never exceed a pool or the slots of a model, and leave nothing free that is wanted (fleet %i)',
    async (seed) => {
      const random = seededRandom(`fleet-${seed}`);
      const between = (low: number, high: number): number => low + Math.floor(random() * (high - low + 1));
      const node = `fleet-${seed}`;
      const pools: Pool[] = [
        { id: 'a', kind: 'gpu', budgetBytes: between(20, 60) },
        { id: 'b', kind: 'unified', budgetBytes: between(20, 60) },
      ];
      const models: OfferedModel[] = Array.from({ length: between(1, 4) }, (_, i) =>
        exampleModel({
          name: `m${i}`,
          tier: seed,
          pool: random() < 0.5 ? 'a' : 'b',
          bytes: between(5, 40),
          slots: between(1, 3),
          seats: ['coder'],
        }),
      );
      await registerNode(await system.client('node-agent'), { node, pools, models });
      const scheduler = new LedgerClient(await system.client('scheduler'), 'scheduler');
      const tasks: string[] = [];
      for (let i = 0; i < 12; i++) tasks.push(await waitingTask(scheduler, seed));
      const errors: unknown[] = [];
      const replicas = await Promise.all([replica(errors), replica(errors)]);
      await Promise.all(
        replicas.map(({ manager }) => Promise.all(tasks.map((taskId) => manager.handle(taskId, { kind: 'observe' })))),
      );

      type Grant = { grantId: string; node: string; pool: string; model: string; bytes: number };
      const grants = async (): Promise<Grant[]> =>
        (await system.log.readStream('fleet'))
          .filter((event) => event.type === 'grant.reserved')
          .map((event) => event.data as Grant)
          .filter((grant) => grant.node === node);
      const bytesIn = (held: Grant[], pool: string): number =>
        [
          ...new Map(held.filter((grant) => grant.pool === pool).map((grant) => [grant.model, grant.bytes])).values(),
        ].reduce((a, b) => a + b, 0);
      const room = (held: Grant[]): OfferedModel[] =>
        models.filter((model) => {
          const used = held.filter((grant) => grant.model === model.name).length;
          const pool = pools.find(({ id }) => id === model.pool);
          return (
            used < model.slots && bytesIn(held, model.pool) + (used > 0 ? 0 : model.bytes) <= (pool?.budgetBytes ?? 0)
          );
        });
      await expect
        .poll(
          async () => {
            const held = await grants();
            return held.length === tasks.length || room(held).length === 0;
          },
          { timeout: 10_000 },
        )
        .toBe(true);
      await Promise.all(replicas.map(({ seating }) => seating.stop()));
      const held = await grants();
      expect(new Set(held.map(({ grantId }) => grantId)).size).toBe(held.length);
      for (const pool of pools) expect(bytesIn(held, pool.id)).toBeLessThanOrEqual(pool.budgetBytes);
      for (const model of models)
        expect(held.filter((grant) => grant.model === model.name).length).toBeLessThanOrEqual(model.slots);
      const requested = await Promise.all(
        tasks.map(
          async (taskId) =>
            (await system.log.readStream(taskStream(taskId))).filter(({ type }) => type === 'task.coding-requested')
              .length,
        ),
      );
      expect(Math.max(...requested)).toBeLessThanOrEqual(1);
      expect(requested.reduce((a, b) => a + b, 0)).toBe(held.length);
      expect(errors).toEqual([]);
    },
  );
});
