import type { Bus } from '@plumbline/bus';
import type { EventLog } from '@plumbline/event-log';
import type { LedgerMetrics } from './metrics.js';

export interface GaugesOptions {
  /** How often the gauges that cost little are read. Default 1000. */
  everyMs?: number;
  /** How often those are read that count rows. Default 15 000. */
  countEveryMs?: number;
  /** A gauge could not be read: it stands where it stood. Readiness says why; this is for whoever debugs. */
  onError: (error: unknown) => void;
}

/** A database that hangs must not hold the gauges of the broker. */
const queryTimeoutMs = 5_000;
const notFound = 404;

/**
 * Reads from the log, its read models and the broker what nobody pushes. Everything is a statement about the one log, so every replica says
 * the same. Ages are in seconds on Postgres's clock; 0 says that there is nothing of which the age could be told.
 */
export class Gauges {
  private timers: NodeJS.Timeout[] = [];
  private readonly running = new Set<Promise<void>>();
  /** LOG's end, as last seen: while the broker is away, what was not published goes on ageing. */
  private relayPosition: number | undefined;

  constructor(
    private readonly log: EventLog,
    private readonly bus: Bus,
    private readonly metrics: LedgerMetrics,
    private readonly options: GaugesOptions,
  ) {}

  /** Reads everything once and goes on. */
  start(): void {
    const { everyMs = 1_000, countEveryMs = 15_000 } = this.options;
    this.repeat(everyMs, () => this.readLog());
    this.repeat(everyMs, () => this.readStreams());
    this.repeat(countEveryMs, () => this.readModels());
    this.repeat(countEveryMs, () => this.readStorage());
    this.repeat(countEveryMs, () => this.readBrokerStorage());
  }

  async stop(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    this.timers = [];
    await Promise.all(this.running);
  }

  private repeat(everyMs: number, read: () => Promise<void>): void {
    let reading = false;
    const look = (): void => {
      if (reading) return;
      reading = true;
      const run = read()
        .catch((error: unknown) => this.options.onError(error))
        .finally(() => {
          reading = false;
          this.running.delete(run);
        });
      this.running.add(run);
    };
    look();
    this.timers.push(setInterval(look, everyMs));
  }

  private async readLog(): Promise<void> {
    const { metrics } = this;
    const rows = await this.rows<LogRow>(logSql, [this.relayPosition ?? null]);
    const row = rows[0];
    if (row === undefined) return;
    metrics.plumb_log_head_position.set(Number(row.head));
    metrics.plumb_log_epochs.set(row.epochs);
    metrics.plumb_log_unsequenced_events.set(Number(row.pending));
    metrics.plumb_log_oldest_unsequenced_seconds.set(row.pending_age);
    if (this.relayPosition !== undefined) metrics.plumb_log_relay_lag_seconds.set(row.relay_age);
    metrics.plumb_open_steps.set(Number(row.open));
    metrics.plumb_oldest_open_step_seconds.set(row.open_age);
    metrics.plumb_held_leases.set(Number(row.held));
    for (const { projector, pos, age, parked } of await this.rows<ProjectionRow>(projectionsSql, [])) {
      metrics.plumb_projection_position.set(Number(pos), { projection: projector });
      metrics.plumb_projection_lag_seconds.set(age, { projection: projector });
      metrics.plumb_projection_parked_events.set(Number(parked), { projection: projector });
    }
  }

  private async readModels(): Promise<void> {
    const { metrics } = this;
    for (const { phase, tasks } of await this.rows<{ phase: string; tasks: string }>(tasksSql, []))
      metrics.plumb_open_tasks.set(Number(tasks), { phase });
    for (const { verdict, today, last } of await this.rows<VerdictRow>(verdictsSql, [])) {
      metrics.plumb_verdicts_last_day.set(Number(today), { verdict });
      if (last !== null) metrics.plumb_last_verdict_timestamp_seconds.set(last, { verdict });
    }
    const [inbox] = await this.rows<{ open: string; age: number }>(escalationsSql, []);
    metrics.plumb_open_escalations.set(Number(inbox?.open ?? 0));
    metrics.plumb_oldest_escalation_seconds.set(inbox?.age ?? 0);
  }

  private async readStorage(): Promise<void> {
    const [row] = await this.rows<{ database: string; artifacts: string }>(storageSql, []);
    if (row === undefined) return;
    this.metrics.plumb_database_bytes.set(Number(row.database));
    this.metrics.plumb_artifact_stored_bytes.set(Number(row.artifacts));
  }

  /** LOG's sequence is the log's position. A LOG that is gone holds nothing. */
  private async readStreams(): Promise<void> {
    const { streams } = this.bus.jsm;
    try {
      this.relayPosition = (await streams.info('LOG')).state.last_seq;
    } catch (error) {
      if ((error as { code?: unknown }).code !== notFound && (error as Error).name !== 'StreamNotFoundError')
        throw error;
      this.relayPosition = 0;
    }
    this.metrics.plumb_log_relay_position.set(this.relayPosition);
    const { state } = await streams.info('DEAD');
    this.metrics.plumb_dead_letters.set(state.messages);
  }

  /** The limit is that of the account; where it has none, only the broker's machine knows what is left. */
  private async readBrokerStorage(): Promise<void> {
    const { storage, limits } = await this.bus.jsm.getAccountInfo();
    this.metrics.plumb_nats_store_bytes.set(storage, { bound: 'used' });
    if (limits.max_storage > 0) this.metrics.plumb_nats_store_bytes.set(limits.max_storage, { bound: 'limit' });
  }

  private async rows<T extends object>(text: string, values: unknown[]): Promise<T[]> {
    const query = { text, values, query_timeout: queryTimeoutMs };
    return (await this.log.pool.query<T>(query)).rows;
  }
}

interface LogRow {
  head: string;
  epochs: number;
  pending: string;
  pending_age: number;
  relay_age: number;
  open: string;
  open_age: number;
  held: string;
}

/** The age of a row, of which there may be none. */
const age = (instant: string): string =>
  `greatest(0, coalesce(extract(epoch FROM clock_timestamp() - ${instant}), 0))::float8`;

const logSql = `
  SELECT h.pos AS head, h.epoch_number AS epochs, p.pending, p.pending_age, r.relay_age, s.open, s.open_age, s.held FROM es.log_head h,
    (SELECT count(*) AS pending, ${age('min(e.recorded_at)')} AS pending_age
       FROM (SELECT ingest_id FROM es.pending ORDER BY ingest_id LIMIT 100000) q JOIN es.event e USING (ingest_id)) p,
    (SELECT ${age('max(sequenced_at)')} AS relay_age FROM es.log WHERE pos = $1::bigint + 1) r,
    (SELECT count(*) FILTER (WHERE state = 'open') AS open, ${age(`min(changed_at) FILTER (WHERE state = 'open')`)} AS open_age,
            count(*) FILTER (WHERE state = 'held') AS held FROM es.step_lease WHERE state IN ('open', 'held')) s`;

interface ProjectionRow {
  projector: string;
  pos: string;
  age: number;
  parked: string;
}

const projectionsSql = `
  SELECT c.projector, c.pos, ${age('l.sequenced_at')} AS age,
    (SELECT count(*) FROM es.parked p WHERE p.projector = c.projector AND p.generation = 'live') AS parked
  FROM es.checkpoint c LEFT JOIN es.log l ON l.pos = c.pos + 1 WHERE c.generation = 'live'`;

interface VerdictRow {
  verdict: string;
  today: string;
  last: number | null;
}

/** Phases that a task can be open in; those with none say 0, for a label that vanishes would leave its last figure standing. */
const tasksSql = `
  SELECT phase, count(t.task_id) AS tasks
  FROM unnest('{submitted,waiting-for-capacity,coding,gating,reviewing,judged,publishing,retrying,escalated,awaiting-ruling}'::text[]) phase
  LEFT JOIN rm_tasks.task t USING (phase) GROUP BY phase`;

const verdictsSql = `
  SELECT verdict, count(v.task_id) FILTER (WHERE v.reached_at > clock_timestamp() - interval '1 day') AS today,
    extract(epoch FROM max(v.reached_at))::float8 AS last
  FROM unnest('{GO,NO-GO,INCOMPLETE}'::text[]) verdict LEFT JOIN rm_verdicts.verdict v USING (verdict) GROUP BY verdict`;

const escalationsSql = `
  SELECT count(*) AS open, ${age('min(opened_at)')} AS age FROM rm_escalations.escalation
  WHERE target = 'human' AND resolved_at IS NULL`;

const storageSql = `
  SELECT pg_database_size(current_database()) AS database,
    (SELECT coalesce(sum(stored_bytes), 0) FROM es.artifact WHERE pruned_at IS NULL) AS artifacts`;
