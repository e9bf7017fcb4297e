import type { Bench, BenchContext } from '../bench.js';
import type { Measurement } from '../report/measurement.js';
import { serviceChild } from '../servers/ledger-process.js';
import { bareDelivery } from './bare-delivery.js';
import { bareVisible, createBareVisible } from './bare-visible.js';
import { Dispatch, tasksPerSecond, type DispatchFigures } from './dispatch.js';
import { eventsPerSecond, Projected, type Percentiles } from './projected.js';

const warmUpSeconds = 1;

/** Latencies under an open loop, through the real ledger and scheduler as processes. */
export const latencyBench: Bench = {
  name: 'latency',
  async run(context) {
    const ledger = serviceChild('ledger', context);
    const scheduler = serviceChild('scheduler', context);
    try {
      ledger.start();
      await ledger.ready();
      await createBareVisible(context.postgres);
      const projected = await measureProjected(context);
      scheduler.start();
      await scheduler.ready();
      return [...projected, ...(await measureDispatch(context))];
    } finally {
      await Promise.all([scheduler.kill('SIGKILL'), ledger.kill('SIGKILL')]);
    }
  },
};

async function measureProjected({ load, postgres, nats, progress }: BenchContext): Promise<Measurement[]> {
  const projected = new Projected(postgres, await nats.connect('scheduler'));
  await projected.round(Math.min(warmUpSeconds, load.seconds));
  const rounds = await alternate(
    load.rounds,
    () => bareVisible(postgres, eventsPerSecond, load.seconds),
    () => projected.round(load.seconds),
    (what) => progress(`latency, append to projected at ${eventsPerSecond}/s, ${what}`),
  );
  const name = `INSERT until a poll sees it, ${eventsPerSecond}/s`;
  return (['p50', 'p99'] as const).map((percentile) => ({
    name: `latency/append-to-projected/${percentile}`,
    unit: 'ms',
    rounds: rounds.ours.map((round: Percentiles) => round[percentile]),
    baseline: { name, rounds: rounds.bare.map((round) => round[percentile]) },
    ...(percentile === 'p99' ? { target: { of: 'value', atMost: 50 } as const } : {}),
  }));
}

async function measureDispatch({ load, postgres, nats, progress }: BenchContext): Promise<Measurement[]> {
  const dispatch = new Dispatch(postgres, await nats.connect('user'), await nats.connect('code-host'));
  const bus = await nats.connect('ledger');
  try {
    await dispatch.round(Math.min(warmUpSeconds, load.seconds));
    const rounds = await alternate(
      load.rounds,
      () => bareDelivery(bus, tasksPerSecond, load.seconds),
      () => dispatch.round(load.seconds),
      (what) => progress(`latency, intake to dispatch at ${tasksPerSecond}/s, ${what}`),
    );
    const name = `publish to delivery, ${tasksPerSecond}/s`;
    const percentiles = (['p50', 'p99'] as const).map((percentile) => ({
      name: `latency/intake-to-dispatch/${percentile}`,
      unit: 'ms',
      rounds: rounds.ours.map((round) => round[percentile]),
      baseline: { name, rounds: rounds.bare.map((round) => round[percentile]) },
    }));
    const sustained = {
      name: 'latency/intake-to-dispatch/sustained',
      unit: 'tasks/s',
      rounds: rounds.ours.map((round: DispatchFigures) => round.sustained),
      target: { of: 'value', atLeast: tasksPerSecond } as const,
    };
    return [...percentiles, sustained];
  } finally {
    await dispatch.stop();
  }
}

/** One after the other in every round, the other one first in every other round. */
async function alternate<Bare, Ours>(
  rounds: number,
  bare: () => Promise<Bare>,
  ours: () => Promise<Ours>,
  onStep: (what: string) => void,
): Promise<{ bare: Bare[]; ours: Ours[] }> {
  const figures: { bare: Bare[]; ours: Ours[] } = { bare: [], ours: [] };
  const runs = [
    async () => void figures.bare.push(await bare()),
    async () => void figures.ours.push(await ours()),
  ] as const;
  for (let round = 0; round < rounds; round++) {
    onStep(`round ${round + 1} of ${rounds}`);
    const [first, second] = round % 2 === 0 ? runs : [runs[1], runs[0]];
    await first();
    await second();
  }
  return figures;
}
