import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { taskId } from '../../test/builders.js';
import type { OfferedModel, PlumblineEvent, Pool } from '../events/catalogue.js';
import { admit, evolveFleet, grantedBytes, initialFleet, type FleetState, type SeatNeed } from './fleet.js';

const aModel = (overrides: Partial<OfferedModel> = {}): OfferedModel => ({
  name: 'coder-30b',
  family: 'qwen',
  tier: 1,
  runtime: 'llama-server',
  endpoint: 'http://127.0.0.1:8080/v1',
  pool: 'unified',
  bytes: 20,
  slots: 1,
  seats: ['coder'],
  ...overrides,
});
const registered = (
  node: string,
  models: OfferedModel[],
  budgetBytes = 48,
  pools: Pool[] = [{ id: 'unified', kind: 'unified', budgetBytes }],
): PlumblineEvent => ({
  type: 'node.registered',
  data: { node, startedAt: '2026-11-20T09:30:00.000Z', pools, models },
});
const fleetOf = (...events: PlumblineEvent[]): FleetState => events.reduce(evolveFleet, initialFleet);
const need = (overrides: Partial<SeatNeed> = {}): SeatNeed => ({
  taskId,
  step: 'coding.1.1',
  seat: 'coder',
  tier: 1,
  ...overrides,
});
const granted = (fleet: FleetState, one: SeatNeed): FleetState => {
  const admission = admit(fleet, one);
  if (admission.outcome !== 'granted') throw new Error(JSON.stringify(admission.reasons));
  return evolveFleet(fleet, { type: 'grant.reserved', data: admission.grant });
};
const codes = (fleet: FleetState, one = need()): string[] => {
  const admission = admit(fleet, one);
  return admission.outcome === 'waits' ? admission.reasons.map((reason) => reason.code) : ['granted'];
};

describe('admission', () => {
  it('grants what fits, with the model and its grant', () => {
    expect(admit(fleetOf(registered('studio', [aModel()])), need())).toEqual({
      outcome: 'granted',
      grant: {
        grantId: `${taskId}.coding.1.1`,
        taskId,
        step: 'coding.1.1',
        seat: 'coder',
        node: 'studio',
        pool: 'unified',
        model: 'coder-30b',
        bytes: 20,
      },
      model: {
        name: 'coder-30b',
        family: 'qwen',
        tier: 1,
        node: 'studio',
        endpoint: 'http://127.0.0.1:8080/v1',
        grantId: `${taskId}.coding.1.1`,
      },
    });
  });
  it('waits, with the reason and its numbers', () => {
    expect(codes(initialFleet)).toEqual(['NO_MODEL']);
    expect(codes(fleetOf(registered('studio', [aModel({ tier: 2 })])))).toEqual(['NO_MODEL']);
    expect(codes(fleetOf(registered('studio', [aModel({ pool: 'gpu-1' })])))).toEqual(['POOL_UNKNOWN']);
    expect(admit(fleetOf(registered('studio', [aModel()], 19)), need())).toMatchObject({
      reasons: [{ code: 'MEMORY_BUDGET', numbers: { needBytes: 20, grantedBytes: 0, budgetBytes: 19 } }],
    });
    const busy = granted(fleetOf(registered('studio', [aModel()])), need());
    expect(codes(busy, need({ step: 'coding.2.1' }))).toEqual(['NO_FREE_SLOT']);
  });
  it('adds up what is granted, and charges a model once for all its slots', () => {
    const models = [aModel({ slots: 2, bytes: 30 }), aModel({ name: 'other', bytes: 20, seats: ['concluder'] })];
    let fleet = granted(fleetOf(registered('studio', models)), need());
    fleet = granted(fleet, need({ step: 'coding.2.1' }));
    expect(grantedBytes(fleet, 'studio', 'unified')).toBe(30);
    expect(codes(fleet, need({ step: 'review.1.1.concluder', seat: 'concluder' }))).toEqual(['MEMORY_BUDGET']);
    for (const step of ['coding.1.1', 'coding.2.1'])
      fleet = evolveFleet(fleet, { type: 'grant.released', data: { grantId: `${taskId}.${step}`, why: 'over' } });
    expect(codes(fleet, need({ step: 'review.1.1.concluder', seat: 'concluder' }))).toEqual(['granted']);
    expect(fleet.version).toBe(4);
  });
  it('counts the larger size when a model in use is registered anew as larger', () => {
    const fleet = granted(fleetOf(registered('studio', [aModel({ slots: 2, bytes: 20 })])), need());
    const larger = evolveFleet(fleet, registered('studio', [aModel({ slots: 2, bytes: 60 })]));
    expect(codes(larger, need({ step: 'coding.2.1' }))).toEqual(['MEMORY_BUDGET']);
  });
  it('counts the larger size while a grant of it lives, when a model is registered anew as smaller', () => {
    const fleet = granted(fleetOf(registered('studio', [aModel({ slots: 2, bytes: 20 })])), need());
    const smaller = evolveFleet(fleet, registered('studio', [aModel({ slots: 2, bytes: 5 })]));
    expect(grantedBytes(granted(smaller, need({ step: 'coding.2.1' })), 'studio', 'unified')).toBe(20);
  });
  it('counts a model on the pool it is moved to', () => {
    const pools: Pool[] = [
      { id: 'a', kind: 'gpu', budgetBytes: 48 },
      { id: 'b', kind: 'gpu', budgetBytes: 10 },
    ];
    const fleet = granted(fleetOf(registered('box', [aModel({ pool: 'a', slots: 2 })], 0, pools)), need());
    expect(
      codes(
        evolveFleet(fleet, registered('box', [aModel({ pool: 'b', slots: 2 })], 0, pools)),
        need({ step: 'coding.2.1' }),
      ),
    ).toEqual(['MEMORY_BUDGET']);
  });
  it('admits nothing more to a pool whose budget has shrunk below what is granted', () => {
    const fleet = granted(fleetOf(registered('studio', [aModel({ slots: 2 })])), need());
    expect(
      codes(evolveFleet(fleet, registered('studio', [aModel({ slots: 2 })], 10)), need({ step: 'coding.2.1' })),
    ).toEqual(['MEMORY_BUDGET']);
  });
  it('passes over a model that does not answer until it does, and asks it where it answers', () => {
    let fleet = fleetOf(registered('studio', [aModel()]), {
      type: 'model.unreachable',
      data: { node: 'studio', model: 'coder-30b', why: 'connection refused' },
    });
    expect(codes(fleet)).toEqual(['MODEL_UNREACHABLE']);
    fleet = evolveFleet(fleet, {
      type: 'model.ready',
      data: { node: 'studio', model: 'coder-30b', endpoint: 'http://127.0.0.1:9090/v1' },
    });
    expect(admit(fleet, need())).toMatchObject({ outcome: 'granted', model: { endpoint: 'http://127.0.0.1:9090/v1' } });
  });
  it('reviews with any tier, the own first, but codes with the own only', () => {
    const seats = ['concluder', 'coder'];
    const review = need({ seat: 'concluder', step: 'review.1.1.concluder', tier: 2 });
    const small = registered('studio', [aModel({ seats })]);
    expect(codes(fleetOf(small), review)).toEqual(['granted']);
    expect(codes(fleetOf(small), need({ tier: 2 }))).toEqual(['NO_MODEL']);
    const both = fleetOf(small, registered('tower', [aModel({ name: 'large', tier: 2, seats })]));
    expect(admit(both, review)).toMatchObject({ model: { name: 'large' } });
  });
  it('prefers what is in use, then names, whatever the order of registration', () => {
    const a = registered('b-node', [aModel({ name: 'a', slots: 2 })]);
    const b = registered('a-node', [aModel({ name: 'a', slots: 2 }), aModel({ name: 'b', slots: 2 })]);
    for (const fleet of [fleetOf(a, b), fleetOf(b, a)]) {
      expect(admit(fleet, need())).toMatchObject({ model: { name: 'a', node: 'a-node' } });
      const using = evolveFleet(fleet, {
        type: 'grant.reserved',
        data: {
          grantId: 'g',
          taskId,
          step: 'coding.9.1',
          seat: 'coder',
          node: 'b-node',
          pool: 'unified',
          model: 'a',
          bytes: 20,
        },
      });
      expect(admit(using, need())).toMatchObject({ model: { node: 'b-node' } });
    }
  });
  it.each(['constructor', 'toString', 'valueOf'])('takes %s for a name like any other', (name) => {
    let fleet = evolveFleet(initialFleet, { type: 'model.unreachable', data: { node: name, model: name, why: 'x' } });
    expect(fleet).toEqual(initialFleet);
    fleet = fleetOf(registered(name, [aModel({ name })]));
    expect(codes(fleet)).toEqual(['granted']);
  });
  it('never grants more of a pool than its budget, whatever comes and goes', () => {
    const step = fc.oneof(
      fc.record({ n: fc.nat(30), seat: fc.constantFrom('coder', 'concluder') }),
      fc.record({ release: fc.nat(30) }),
      fc.record({ grow: fc.constantFrom(10, 25, 40) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const models = (bytes: number): OfferedModel[] => [
          aModel({ bytes, slots: 3 }),
          aModel({ name: 'r1', bytes: 18, slots: 1, seats: ['concluder'] }),
          aModel({ name: 'r2', bytes: 30, slots: 2, seats: ['concluder', 'coder'] }),
        ];
        let fleet = fleetOf(registered('studio', models(20), 60));
        for (const one of steps) {
          if ('release' in one)
            fleet = evolveFleet(fleet, {
              type: 'grant.released',
              data: { grantId: `${taskId}.coding.${one.release}.1`, why: 'over' },
            });
          else if ('grow' in one) fleet = evolveFleet(fleet, registered('studio', models(one.grow), 60));
          else {
            const admission = admit(fleet, need({ step: `coding.${one.n}.1`, seat: one.seat }));
            if (admission.outcome === 'granted')
              fleet = evolveFleet(fleet, { type: 'grant.reserved', data: admission.grant });
          }
          expect(grantedBytes(fleet, 'studio', 'unified')).toBeLessThanOrEqual(60);
        }
      }),
      { seed: 12, numRuns: 500 },
    );
  });
});
