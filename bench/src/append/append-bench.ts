import { interleave, type Contestant } from '../load/rounds.js';
import type { Bench, BenchContext } from '../bench.js';
import type { Measurement } from '../report/measurement.js';
import { AppendCallers } from './append-callers.js';
import { BareInserts, createBareTables } from './bare-insert.js';
import { DoorCallers } from './door-callers.js';

const connections = [1, 8, 16] as const;
const most = 16;
const batchEvents = 64;
const crowd = 256;

/** Appending events against bare INSERTs of the same bytes on the same server. */
export const appendBench: Bench = {
  name: 'append',
  async run(context) {
    await createBareTables(context.postgres);
    const r1 = await BareInserts.connect(context.postgres, 'primary-key-only', most);
    const r2 = await BareInserts.connect(context.postgres, 'same-indexes', most);
    try {
      // First, while the log is empty: a ledger that starts on a million events has other things to do than to answer.
      const door = await throughTheDoor(context, r2);
      return [...(await inProcess(context, r1, r2)), ...door];
    } finally {
      await Promise.all([r1.close(), r2.close()]);
    }
  },
};

async function inProcess(context: BenchContext, r1: BareInserts, r2: BareInserts): Promise<Measurement[]> {
  const { seconds } = context.load;
  const ours = new AppendCallers(context.postgres);
  try {
    const measured: Measurement[] = [];
    for (const n of connections) {
      const figures = await rounds(context, `append, ${n} at once`, {
        r1: () => r1.round(n, seconds),
        ours: () => ours.round(n, seconds),
        r2: () => r2.round(n, seconds),
      });
      measured.push(...singles(n, figures));
    }
    const figures = await rounds(context, 'append, batched', {
      r1: () => r1.round(most, seconds),
      batched: () => ours.round(most, seconds, batchEvents),
      grouped: () => ours.round(crowd, seconds),
    });
    return [...measured, ...batches(figures)];
  } finally {
    await ours.close();
  }
}

async function throughTheDoor(context: BenchContext, r2: BareInserts): Promise<Measurement[]> {
  const { seconds } = context.load;
  const door = await DoorCallers.open(context);
  try {
    const figures = await rounds(context, 'append, through the door', {
      r2: () => r2.round(most, seconds),
      door: () => door.round(most, seconds),
    });
    const baseline = { name: `INSERT, same indexes, ${most} connections`, rounds: figures.r2 };
    return [{ name: `append/door/${most}/same-indexes`, unit: 'events/s', rounds: figures.door, baseline }];
  } finally {
    await door.close();
  }
}

function rounds<Name extends string>(
  { load, postgres, progress }: BenchContext,
  what: string,
  contestants: Readonly<Record<Name, Contestant>>,
): Promise<Record<Name, number[]>> {
  const entries = Object.entries<Contestant>(contestants).map(([name, contestant]) => [
    name,
    async (): Promise<number> => {
      await postgres.checkpoint();
      return contestant();
    },
  ]);
  const fresh = Object.fromEntries(entries) as Record<Name, Contestant>;
  return interleave(load.rounds, fresh, (step) => progress(`${what}, ${step}`));
}

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
