import type { Measurement } from './report/measurement.js';
import type { BenchNats } from './servers/bench-nats.js';
import type { BenchPostgres } from './servers/bench-postgres.js';

/** How much is measured: the tests of this project measure next to nothing, and judge nothing by it. */
export interface Load {
  /** Of one contestant in one round. */
  readonly seconds: number;
  readonly rounds: number;
  /** In the log that is rebuilt from and relayed. */
  readonly events: number;
}

/** What a benchmark is given: a database of its own with an empty log, and a broker of its own with nothing in it. */
export interface BenchContext {
  readonly load: Load;
  readonly postgres: BenchPostgres;
  readonly nats: BenchNats;
  /** Told of every step, for whoever waits. */
  readonly progress: (what: string) => void;
}

/** One benchmark: runs ours and the baselines interleaved and returns the figures, by round. */
export interface Bench {
  readonly name: 'append' | 'latency' | 'rebuild' | 'relay';
  run(context: BenchContext): Promise<Measurement[]>;
}
