import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { headers as natsHeaders } from '@nats-io/transport-node';
import { consumeService, toStructured, type Bus, type BusMessage, type Consumption } from '@plumbline/bus';
import { intakeKinds } from '@plumbline/domain';
import { exampleSubmission } from '@plumbline/testing';
import { Latencies } from '../load/latencies.js';
import { openLoop } from '../load/open-loop.js';
import type { BenchPostgres } from '../servers/bench-postgres.js';

export const tasksPerSecond = 200;
const patienceMs = 60_000;
const snapshotSubject = 'log.task.snapshot-requested.';

/** What one round found out: milliseconds, and tasks per second. */
export interface DispatchFigures {
  p50: number;
  p99: number;
  /** Tasks dispatched per second between the first and the last tenth of them: what was sustained. */
  sustained: number;
}

/**
 * Intake to dispatch: CloudEvents are published to the intake at a fixed rate, and a code-host's own durable consumer waits for the
 * requests to take a snapshot that the scheduler decides on. Timed from the instant a submission was due.
 */
export class Dispatch {
  private readonly arrivedAt = new Map<string, number>();
  private readonly consumption: Consumption;

  constructor(
    private readonly postgres: BenchPostgres,
    private readonly user: Bus,
    codeHost: Bus,
  ) {
    const ack = { outcome: 'ack' } as const;
    const arrive = (message: BusMessage): Promise<typeof ack> => {
      this.arrivedAt.set(message.subject.slice(snapshotSubject.length), performance.now());
      return Promise.resolve(ack);
    };
    this.consumption = consumeService(codeHost, {
      service: 'code-host',
      handlers: {
        'code-host-snapshot': { concurrency: 64, handler: arrive },
        'code-host-publish': { concurrency: 1, handler: () => Promise.resolve(ack) },
      },
    });
  }

  async round(seconds: number): Promise<DispatchFigures> {
    this.arrivedAt.clear();
    const dueAt = new Map<string, number>();
    const refused: unknown[] = [];
    const count = await openLoop({ perSecond: tasksPerSecond, seconds }, (_, due) => {
      const id = randomUUID();
      dueAt.set(id, due);
      this.submit(id).catch((error: unknown) => refused.push(error));
    });
    const until = performance.now() + patienceMs;
    while (this.arrivedAt.size < count && refused.length === 0 && performance.now() < until) await delay(10);
    if (refused.length > 0) throw new Error(`the intake did not store a submission: ${String(refused[0])}`);
    if (this.arrivedAt.size < count)
      throw new Error(`${this.arrivedAt.size} of ${count} tasks were dispatched within ${patienceMs} ms of the last`);
    return this.figures(dueAt);
  }

  stop(): Promise<unknown> {
    return this.consumption.stop();
  }

  private async submit(id: string): Promise<void> {
    const { type } = intakeKinds.submit;
    const { headers, body } = toStructured({ id, source: 'bench', type, data: exampleSubmission, extensions: {} });
    const sent = natsHeaders();
    for (const [name, value] of Object.entries(headers)) sent.set(name, value);
    const answer = await this.user.nc.request('plumb.intake.task.submit', body, { headers: sent, timeout: patienceMs });
    const { error } = answer.json<{ error?: unknown }>();
    if (error !== undefined) throw new Error(JSON.stringify(error));
  }

  /** Which task a submission became is recorded with the task. */
  private async figures(dueAt: ReadonlyMap<string, number>): Promise<DispatchFigures> {
    const { rows } = await this.postgres.admin.query<{ task: string; submission: string }>(
      `SELECT substr(stream_id, length('task-') + 1) AS task, data->>'submissionId' AS submission
         FROM es.event WHERE type = 'task.submitted' AND data->>'submissionId' = ANY ($1)`,
      [[...dueAt.keys()]],
    );
    const latencies = new Latencies();
    const arrivals: number[] = [];
    for (const { task, submission } of rows) {
      const arrived = this.arrivedAt.get(task);
      const due = dueAt.get(submission);
      if (arrived === undefined || due === undefined) throw new Error(`task ${task} was never dispatched`);
      latencies.record(arrived - due);
      arrivals.push(arrived);
    }
    return { p50: latencies.percentile(50), p99: latencies.percentile(99), sustained: sustainedRate(arrivals) };
  }
}

/** Arrivals per second between the first and the last tenth of them; of fewer than twenty, between the first and the last. */
export function sustainedRate(arrivedAt: readonly number[]): number {
  const sorted = [...arrivedAt].sort((a, b) => a - b);
  const cut = sorted.length < 20 ? 0 : Math.floor(sorted.length / 10);
  const inner = sorted.slice(cut, sorted.length - cut);
  const [first, last] = [inner[0], inner.at(-1)];
  if (first === undefined || last === undefined || last <= first) return 0;
  return ((inner.length - 1) * 1_000) / (last - first);
}
