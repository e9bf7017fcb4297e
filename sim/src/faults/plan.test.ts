import { describe, expect, it } from 'vitest';
import { failpointNames } from '@plumbline/failpoint';
import { failpointsOf } from './places.js';
import { faultKindNames, planOf, type Plan } from './plan.js';

const all = (plan: Plan) => [...Object.values(plan.chains).flatMap((chain) => chain ?? []), ...plan.house];

describe('planOf', () => {
  it('is a function of its options: the same seed gives the same schedule, another seed another', () => {
    const options = { seed: '7', tasks: 30, faults: 200 };
    expect(planOf(options)).toEqual(planOf(options));
    expect(planOf({ ...options, seed: '8' })).not.toEqual(planOf(options));
  });

  it.each(['1', '2', '3', 'x'])(
    'holds every kind and every service at each of its failpoints, with seed %s',
    (seed) => {
      const faults = all(planOf({ seed, tasks: 24 }));
      expect(new Set(faults.map(({ kind }) => kind))).toEqual(new Set(faultKindNames));
      const killed = faults.flatMap((fault) =>
        fault.kind === 'kill' ? [`${fault.process.split('/')[0] ?? ''} ${fault.failpoint}`] : [],
      );
      const places = Object.entries(failpointsOf).flatMap(([service, names]) =>
        names.map((name) => `${service} ${name}`),
      );
      expect(new Set(killed)).toEqual(new Set(places));
    },
  );

  it('knows for each failpoint of the catalogue who passes it, and no others', () => {
    expect(new Set(Object.values(failpointsOf).flat())).toEqual(new Set(failpointNames));
  });

  it.each([
    [1, 24],
    [30, 24],
    [250, 50],
    [1000, 200],
  ])('has exactly %i faults over %i tasks, each with its own number', (faults, tasks) => {
    const plan = planOf({ seed: '1', faults, tasks });
    const found = all(plan);
    expect([found.length, plan.faults, plan.tasks.length]).toEqual([faults, faults, tasks]);
    expect(new Set(found.map(({ id }) => id)).size).toBe(faults);
  });

  it('strikes with one kind or at one failpoint when told to', () => {
    expect(all(planOf({ seed: '1', tasks: 5, faults: 4, only: 'nats-wipe' })).map(({ kind }) => kind)).toEqual(
      Array(4).fill('nats-wipe'),
    );
    const kills = all(planOf({ seed: '1', tasks: 5, faults: 4, only: 'step.worked' }));
    expect(kills).toHaveLength(4);
    for (const fault of kills) expect(fault).toMatchObject({ kind: 'kill', failpoint: 'step.worked' });
    expect(() => planOf({ seed: '1', tasks: 5, only: 'nonsense' })).toThrow('there is no fault nonsense');
  });

  it('spreads what strikes the house over the run', () => {
    const { house } = planOf({ seed: '3', faults: 1000, tasks: 200 });
    const at = house.map(({ afterEvents }) => afterEvents);
    expect(at).toEqual([...at].sort((a, b) => a - b));
    expect((at[0] ?? 0) < 500 && (at.at(-1) ?? 0) > 3_000).toBe(true);
  });
});
