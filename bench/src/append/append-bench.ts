import { interleave, type Contestant } from '../load/rounds.js';
import type { Bench } from '../bench.js';
import type { Measurement } from '../report/measurement.js';
import { AppendCallers } from './append-callers.js';
import { BareInserts, createBareTables } from './bare-insert.js';

const connections = [1, 8, 16] as const;
const most = 16;
const batchEvents = 64;
const crowd = 256;

/** Appending events against bare INSERTs of the same bytes on the same server. */
export const appendBench: Bench = {
  name: 'append',
  async run({ load, postgres, progress }) {
    await createBareTables(postgres);
    const ours = new AppendCallers(postgres);
    const r1 = await BareInserts.connect(postgres, 'primary-key-only', most);
    const r2 = await BareInserts.connect(postgres, 'same-indexes', most);
    try {
      const fresh = (contestant: Contestant): Contestant => async () => {
        await postgres.checkpoint();
        return contestant();
      };
      const { seconds } = load;
      const measured: Measurement[] = [];
      for (const n of connections) {
        const figures = await interleave(
          load.rounds,
          {
            r1: fresh(() => r1.round(n, seconds)),
            ours: fresh(() => ours.round(n, seconds)),
            r2: fresh(() => r2.round(n, seconds)),
          },
          (what) => progress(`append, ${n} at once, ${what}`),
        );
        measured.push(...singles(n, figures));
      }
      const figures = await interleave(
        load.rounds,
        {
          r1: fresh(() => r1.round(most, seconds)),
          batched: fresh(() => ours.round(most, seconds, batchEvents)),
          grouped: fresh(() => ours.round(crowd, seconds)),
        },
        (what) => progress(`append, batched, ${what}`),
      );
      return [...measured, ...batches(figures)];
    } finally {
      await Promise.all([ours.close(), r1.close(), r2.close()]);
    }
  },
};

function singles(n: number, figures: Record<'ours' | 'r1' | 'r2', number[]>): Measurement[] {
  const rounds = figures.ours;
  const unit = 'events/s';
  return [
    {
      name: `append/single/${n}/same-indexes`,
      unit,
      rounds,
      baseline: { name: `INSERT, same indexes, ${n} connections`, rounds: figures.r2 },
      ...(n === most ? { target: { of: 'ratio', atLeast: 0.6 } as const } : {}),
    },
    {
      name: `append/single/${n}/primary-key-only`,
      unit,
      rounds,
      baseline: { name: `INSERT, primary key only, ${n} connections`, rounds: figures.r1 },
    },
  ];
}

function batches(figures: Record<'batched' | 'grouped' | 'r1', number[]>): Measurement[] {
  const baseline = { name: `INSERT, primary key only, ${most} connections`, rounds: figures.r1 };
  const target = { of: 'ratio', atLeast: 2.5 } as const;
  return [
    { name: `append/batched/${most}x${batchEvents}`, unit: 'events/s', rounds: figures.batched, baseline, target },
    { name: `append/grouped/${crowd}x1`, unit: 'events/s', rounds: figures.grouped, baseline },
  ];
}
