import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { LedgerClient, type Bus } from '@plumbline/bus';
import { taskStream } from '@plumbline/domain';
import { Latencies } from '../load/latencies.js';
import { openLoop } from '../load/open-loop.js';
import type { BenchPostgres } from '../servers/bench-postgres.js';
import { verdictReached } from '../workload/verdict-event.js';

export const eventsPerSecond = 1_000;
const pollMs = 1;
const patienceMs = 60_000;

/** Milliseconds. */
export interface Percentiles {
  p50: number;
  p99: number;
}

/** When every read model was first seen to be built up to a position. */
interface Seen {
  at: number;
  pos: number;
}

/**
 * Append to projected: single events appended at a fixed rate through the ledger's door, from the instant each was due until the
 * checkpoint of every read model has passed it: then whoever reads, reads it. The checkpoints are looked at every millisecond or two; what
 * that adds is part of the figure.
 */
export class Projected {
  private readonly ledger: LedgerClient;

  constructor(
    private readonly postgres: BenchPostgres,
    scheduler: Bus,
  ) {
    this.ledger = new LedgerClient(scheduler, 'scheduler');
  }

  async round(seconds: number): Promise<Percentiles> {
    const from = await this.headPos();
    const dueAt = new Map<string, number>();
    const failures: unknown[] = [];
    const watch = new CheckpointWatch(this.postgres);
    try {
      const count = await openLoop({ perSecond: eventsPerSecond, seconds }, (_, due) => {
        const streamId = taskStream(`t-${randomUUID().replaceAll('-', '').slice(0, 26)}`);
        dueAt.set(streamId, due);
        const events = [{ type: verdictReached.type, data: verdictReached.data }];
        this.ledger
          .append({ commandId: randomUUID(), streams: [{ streamId, expectedVersion: 0, events }] })
          .catch((error: unknown) => failures.push(error));
      });
      const until = performance.now() + patienceMs;
      while (watch.pos < from + count && failures.length === 0 && performance.now() < until) await delay(5);
      if (failures.length > 0) throw new Error(`an append failed: ${String(failures[0])}`);
      if (watch.pos < from + count)
        throw new Error(`the read models stand at ${watch.pos}, expected ${from + count} within ${patienceMs} ms`);
    } finally {
      await watch.stop();
    }
    return this.percentiles(from, dueAt, watch.seen);
  }

  private async percentiles(
    from: number,
    dueAt: ReadonlyMap<string, number>,
    seen: readonly Seen[],
  ): Promise<Percentiles> {
    const { rows } = await this.postgres.admin.query<{ stream_id: string; pos: string }>(
      'SELECT e.stream_id, l.pos FROM es.log l JOIN es.event e ON e.ingest_id = l.ingest_id WHERE l.pos > $1 ORDER BY l.pos',
      [from],
    );
    const latencies = new Latencies();
    let look = 0;
    for (const { stream_id: stream, pos } of rows) {
      while ((seen[look]?.pos ?? Infinity) < Number(pos)) look++;
      const due = dueAt.get(stream);
      if (due !== undefined) latencies.record((seen[look] as Seen).at - due);
    }
    return { p50: latencies.percentile(50), p99: latencies.percentile(99) };
  }

  private async headPos(): Promise<number> {
    const { rows } = await this.postgres.admin.query<{ pos: string }>('SELECT pos FROM es.log_head');
    return Number(rows[0]?.pos);
  }
}

/** Looks at the checkpoints all the time and keeps when the slowest of them moved. */
class CheckpointWatch {
  readonly seen: Seen[] = [];
  pos = 0;
  private stopping = false;
  private readonly running: Promise<void>;

  constructor(postgres: BenchPostgres) {
    this.running = this.watch(postgres);
  }

  stop(): Promise<void> {
    this.stopping = true;
    return this.running;
  }

  private async watch({ admin }: BenchPostgres): Promise<void> {
    while (!this.stopping) {
      const { rows } = await admin.query<{ pos: string }>({
        name: 'bench-checkpoints',
        text: `SELECT min(pos) AS pos FROM es.checkpoint WHERE generation = 'live' AND projector <> 'notices'`,
      });
      const pos = Number(rows[0]?.pos);
      if (pos > this.pos) {
        this.pos = pos;
        this.seen.push({ at: performance.now(), pos });
      }
      await delay(pollMs);
    }
  }
}
