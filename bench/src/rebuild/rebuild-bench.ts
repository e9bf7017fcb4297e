import { setTimeout as delay } from 'node:timers/promises';
import { EventLog } from '@plumbline/event-log';
import type { BenchNats } from '../servers/bench-nats.js';
import type { Bench } from '../bench.js';
import { interleave } from '../load/rounds.js';
import type { BenchPostgres } from '../servers/bench-postgres.js';
import { serviceChild } from '../servers/ledger-process.js';
import { fillLog } from '../workload/fill-log.js';

const readPage = 500;
const pollMs = 5;
const patienceMs = 600_000;

/**
 * Rebuilding every read model of the ledger, in the ledger's own process, from a log of whole task histories: the checkpoints are set to
 * another version, as after an update of the rules, and the clock runs until all of them stand at the end of the log again.
 */
export const rebuildBench: Bench = {
  name: 'rebuild',
  async run({ load, postgres, nats, progress }) {
    progress(`rebuild: recording ${load.events} events`);
    const events = await fillLog(postgres, load.events);
    const ledger = serviceChild('ledger', { postgres, nats }, { PLUMB_LOG_LEVEL: 'warn' });
    try {
      progress('rebuild: the ledger builds its read models for the first time');
      ledger.start();
      await ledger.ready();
      await rebuilt(postgres, events, () => ledger.running);
      // The relay publishes the same log after its start; it must not share the processor with the first round.
      await relayed(nats, events);
      const figures = await interleave(
        load.rounds,
        {
          bare: () => readThrough(postgres, events),
          ours: async () => {
            await postgres.checkpoint();
            const startedAt = performance.now();
            await postgres.admin.query(
              `UPDATE es.checkpoint SET version = 0 WHERE generation = 'live' AND projector <> 'notices'`,
            );
            await rebuilt(postgres, events, () => ledger.running);
            return (events * 1_000) / (performance.now() - startedAt);
          },
        },
        (what) => progress(`rebuild, ${what}`),
      );
      return [
        {
          name: 'rebuild/all-read-models',
          unit: 'events/s',
          rounds: figures.ours,
          baseline: { name: `reading the log once in pages of ${readPage}`, rounds: figures.bare },
          target: { of: 'value', atLeast: 40_000 },
        },
      ];
    } finally {
      await ledger.kill('SIGKILL');
    }
  },
};

/** Resolves when every read model is of its real version again and stands at `pos`. */
async function rebuilt({ admin }: BenchPostgres, pos: number, running: () => boolean): Promise<void> {
  const until = performance.now() + patienceMs;
  for (;;) {
    const { rows } = await admin.query<{ done: boolean | null }>(
      `SELECT bool_and(version > 0 AND pos >= $1) AND count(*) >= 4 AS done FROM es.checkpoint WHERE generation = 'live' AND projector <> 'notices'`,
      [pos],
    );
    if (rows[0]?.done === true) return;
    if (!running()) throw new Error('the ledger ended during a rebuild');
    if (performance.now() > until) throw new Error(`the read models were not rebuilt within ${patienceMs} ms`);
    await delay(pollMs);
  }
}

async function relayed(nats: BenchNats, pos: number): Promise<void> {
  const bus = await nats.connect('ledger');
  while ((await bus.jsm.streams.info('LOG')).state.last_seq < pos) await delay(100);
}

/** Events per second of reading the whole log, parsed, and doing nothing with it. */
async function readThrough(postgres: BenchPostgres, events: number): Promise<number> {
  const log = new EventLog({ pool: postgres.ledger });
  const startedAt = performance.now();
  let read = 0;
  while (read < events) {
    const page = await log.readLog({ afterPos: read, limit: readPage });
    if (page.length === 0) throw new Error(`the log ends at ${read}, expected ${events}`);
    read += page.length;
  }
  return (read * 1_000) / (performance.now() - startedAt);
}
