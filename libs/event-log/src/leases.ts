import { failpoint } from '@plumbline/failpoint';
import type { Pool } from 'pg';
import { checkedInteger, checkedName, jsonText } from './json-text.js';
import { queryRows } from './session.js';

const maxTtlMs = 24 * 3_600_000;

/** The event types under which the log records its own doings; schema version 1 of each. */
export interface LogEventTypes {
  leaseGranted: string;
  leaseExpired: string;
  leaseReleased: string;
  timerFired: string;
}

/** `data` of the lease events: who held which step, at which epoch, for how long at a time. */
export interface LeaseEventData {
  step: string;
  holder: string;
  epoch: number;
  ttlMs: number;
}

export interface ClaimRequest {
  taskId: string;
  step: string;
  /** Unique per worker process: the same holder claiming twice is told `held` like anyone else. */
  holder: string;
  ttlMs: number;
  meta: Record<string, unknown>;
}

/** `progress` is what the previous holder last reported, if anything. */
export type ClaimResult =
  | { outcome: 'granted'; epoch: number; expiresInMs: number; progress?: unknown }
  | { outcome: 'held'; holder: string; expiresInMs: number }
  | { outcome: 'done' }
  | { outcome: 'closed' }
  | { outcome: 'unknown-step' };

export interface HeartbeatRequest {
  taskId: string;
  step: string;
  epoch: number;
  holder: string;
  ttlMs: number;
  /** Kept for the next holder; omitted leaves the last report in place. */
  progress?: unknown;
}

/** `cancelled`: the step was closed under this lease. `fenced`: the lease is not (or no longer) this holder's. */
export type HeartbeatResult = { outcome: 'ok'; expiresInMs: number } | { outcome: 'cancelled' } | { outcome: 'fenced' };

export interface ReleaseRequest {
  taskId: string;
  step: string;
  epoch: number;
  holder: string;
  /** Meta of the hand-back event; without it the meta of the grant is repeated. */
  meta?: Record<string, unknown>;
}

export type ReleaseResult = { outcome: 'released' } | { outcome: 'fenced' };

export interface ExpiredLease {
  taskId: string;
  step: string;
  epoch: number;
  holder: string;
}

export interface OpenStep {
  taskId: string;
  step: string;
  epoch: number;
  openForMs: number;
}

/**
 * Exclusive, expiring rights to the steps of tasks, judged by the clock of Postgres alone.
 * A lease stays good until a sweep or another claim ends it, even past its expiry: what counts is the row, which the append's fence
 * reads under a lock.
 */
export class Leases {
  constructor(
    private readonly pool: Pool,
    private readonly types: LogEventTypes,
    private readonly onRecorded: () => void,
  ) {}

  /** Tries to become the holder of a step. A claim on an expired lease records the expiry and then the grant at the next epoch. */
  async claim(request: ClaimRequest): Promise<ClaimResult> {
    const values = [
      checkedName(request.taskId, 'taskId'),
      checkedName(request.step, 'step'),
      checkedName(request.holder, 'holder'),
      checkedInteger(request.ttlMs, 'ttlMs', 1, maxTtlMs),
      jsonText(request.meta, 'meta'),
      this.types.leaseGranted,
      this.types.leaseExpired,
    ];
    const result = await this.call<ClaimResult>('es.claim($1, $2, $3, $4, $5, $6, $7)', values);
    if (result.outcome !== 'granted') return result;
    failpoint('lease.granted');
    this.onRecorded();
    return typeof result.progress === 'string'
      ? { ...result, progress: JSON.parse(result.progress) as unknown }
      : result;
  }

  /** Prolongs a lease by `ttlMs` from now. Not an event. */
  async heartbeat(request: HeartbeatRequest): Promise<HeartbeatResult> {
    return this.call<HeartbeatResult>('es.heartbeat($1, $2, $3, $4, $5, $6)', [
      checkedName(request.taskId, 'taskId'),
      checkedName(request.step, 'step'),
      checkedInteger(request.epoch, 'epoch', 0, Number.MAX_SAFE_INTEGER),
      checkedName(request.holder, 'holder'),
      checkedInteger(request.ttlMs, 'ttlMs', 1, maxTtlMs),
      request.progress === undefined ? null : jsonText(request.progress, 'progress'),
    ]);
  }

  /** Hands a lease back, so that another worker can take the step at once. */
  async release(request: ReleaseRequest): Promise<ReleaseResult> {
    const result = await this.call<ReleaseResult>('es.release_lease($1, $2, $3, $4, $5, $6)', [
      checkedName(request.taskId, 'taskId'),
      checkedName(request.step, 'step'),
      checkedInteger(request.epoch, 'epoch', 0, Number.MAX_SAFE_INTEGER),
      checkedName(request.holder, 'holder'),
      request.meta === undefined ? null : jsonText(request.meta, 'meta'),
      this.types.leaseReleased,
    ]);
    if (result.outcome === 'released') this.onRecorded();
    return result;
  }

  /** Ends up to `limit` expired leases, each with its event; returns them. Several sweepers share the work. */
  async expireLeases(limit = 100): Promise<ExpiredLease[]> {
    const rows = await this.rows<{ task_id: string; step: string; epoch: string; holder: string }>(
      'SELECT * FROM es.expire_leases($1, $2)',
      [checkedInteger(limit, 'limit', 1, 10_000), this.types.leaseExpired],
    );
    if (rows.length > 0) {
      failpoint('sweeper.swept');
      this.onRecorded();
    }
    return rows.map((row) => ({ taskId: row.task_id, step: row.step, epoch: Number(row.epoch), holder: row.holder }));
  }

  /** Steps that have been open without a holder for at least `olderThanMs`, longest first; empty when none is. */
  async openStepsWithoutLease(options: { olderThanMs: number; limit: number }): Promise<OpenStep[]> {
    const rows = await this.rows<{ task_id: string; step: string; epoch: string; open_ms: string }>(
      `SELECT task_id, step, epoch, (extract(epoch FROM clock_timestamp() - changed_at) * 1000)::bigint AS open_ms
         FROM es.step_lease
        WHERE state = 'open' AND changed_at <= (SELECT clock_timestamp()) - make_interval(secs => $1 / 1000.0)
        ORDER BY changed_at, task_id, step LIMIT $2`,
      [
        checkedInteger(options.olderThanMs, 'olderThanMs', 0, Number.MAX_SAFE_INTEGER),
        checkedInteger(options.limit, 'limit', 1, 10_000),
      ],
    );
    return rows.map((row) => ({
      taskId: row.task_id,
      step: row.step,
      epoch: Number(row.epoch),
      openForMs: Number(row.open_ms),
    }));
  }

  private async call<T>(expression: string, values: unknown[]): Promise<T> {
    const [row] = await this.rows<{ result: T }>(`SELECT ${expression} AS result`, values);
    if (row === undefined) throw new Error(`${expression} returned no row`);
    return row.result;
  }

  private rows<T extends object>(text: string, values: unknown[]): Promise<T[]> {
    return queryRows<T>(this.pool, text, values);
  }
}
