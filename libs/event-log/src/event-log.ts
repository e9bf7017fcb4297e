import { failpoint } from '@plumbline/failpoint';
import type { Pool } from 'pg';
import type { AppendBatch, AppendResult, TaskStream } from './append-batch.js';
import { encodeBatch } from './encode-batch.js';
import { auditLog, type AuditReport } from './audit.js';
import { OperationalError } from './errors.js';
import { GroupAppend } from './group-append.js';
import { checkedInteger, checkedName } from './json-text.js';
import { Leases, type LogEventTypes } from './leases.js';
import {
  eventColumns,
  toRecordedEvent,
  toStreamEvent,
  type EventRow,
  type RecordedEvent,
  type StreamEvent,
} from './recorded-event.js';
import { queryRows, underLock } from './session.js';
import { Timers } from './timers.js';
import { Wakeup } from './wakeup.js';

/** The last position of the log and the chain up to it. A new epoch means that positions of the old one mean nothing any more. */
export interface LogHead {
  epoch: string;
  /** How many epochs there were, this one included. */
  epochNumber: number;
  pos: number;
  chainHash: string;
}

export interface EventLogOptions {
  /** A pool of the ledger role, see createLedgerPool; the caller ends it after `close`. */
  pool: Pool;
  /** Where the lease events of a task go; `task-<taskId>` in category `task` by default. */
  taskStream?: TaskStream;
  /** Event types of the log's own events. */
  eventTypes?: LogEventTypes;
  /** Called after every call that recorded events: the place to wake a sequencer, here or elsewhere. */
  onAppended?: () => void;
}

/** The usual names of the log's own events. */
export const defaultEventTypes: LogEventTypes = {
  leaseGranted: 'lease.granted',
  leaseExpired: 'lease.expired',
  leaseReleased: 'lease.released',
  timerFired: 'timer.fired',
};

/** How long a reader sleeps between looks when nobody in this process tells it of news. */
const pollMs = 20;

/** The door to the event log: append, read, follow, number, lease. Holds no state that another process would miss. */
export class EventLog {
  readonly pool: Pool;
  readonly leases: Leases;
  readonly timers: Timers;
  private readonly group: GroupAppend;
  private readonly taskStream: TaskStream;
  private readonly sequenced = new Wakeup();
  private readonly appended: () => void;
  /** Something was recorded through here since the last look at the queue. */
  private news = false;

  constructor(options: EventLogOptions) {
    this.pool = options.pool;
    this.taskStream = options.taskStream ?? ((taskId) => ({ streamId: `task-${taskId}`, category: 'task' }));
    this.appended = () => {
      this.news = true;
      options.onAppended?.();
    };
    this.group = new GroupAppend(options.pool);
    const types = options.eventTypes ?? defaultEventTypes;
    this.leases = new Leases(options.pool, types, this.appended);
    this.timers = new Timers(options.pool, types, this.appended);
  }

  /**
   * Records a batch, all or nothing. Throws InvalidInputError for what cannot be stored and OperationalError when the database failed;
   * after `retry: 'later'` the outcome may be unknown, and the same batch with the same command id is safe to send again.
   */
  async append(batch: AppendBatch): Promise<AppendResult> {
    failpoint('append.received');
    const result = await this.group.append(encodeBatch(batch, this.taskStream));
    if (result.outcome === 'appended' && !result.duplicate) this.appended();
    return result;
  }

  /** Events of one stream from `fromVersion` (default 1), in order, at most `limit`; empty when there are none. */
  async readStream(streamId: string, options: { fromVersion?: number; limit?: number } = {}): Promise<StreamEvent[]> {
    const rows = await this.rows<EventRow>(
      `SELECT ${eventColumns} FROM es.event e LEFT JOIN es.log l ON l.ingest_id = e.ingest_id
        WHERE e.stream_id = $1 AND e.version >= $2 ORDER BY e.version LIMIT $3`,
      [
        checkedName(streamId, 'streamId'),
        checkedInteger(options.fromVersion ?? 1, 'fromVersion', 0, 2_147_483_647),
        options.limit === undefined ? null : checkedInteger(options.limit, 'limit', 1, 1_000_000),
      ],
    );
    return rows.map(toStreamEvent);
  }

  /** Sequenced events after `afterPos`, in order, at most `limit` (default 500); empty at the end of the log. */
  async readLog(options: { afterPos: number; limit?: number }): Promise<RecordedEvent[]> {
    const rows = await this.rows<EventRow>(
      `SELECT ${eventColumns} FROM es.log l JOIN es.event e ON e.ingest_id = l.ingest_id
        WHERE l.pos > $1 AND l.pos <= $1::bigint + $2::int ORDER BY l.pos`,
      [
        checkedInteger(options.afterPos, 'afterPos', 0, Number.MAX_SAFE_INTEGER),
        checkedInteger(options.limit ?? 500, 'limit', 1, 10_000),
      ],
    );
    return rows.map(toRecordedEvent);
  }

  /** The end of the log. Position 0 and 64 zeros while it is empty. */
  async head(): Promise<LogHead> {
    const [row] = await this.rows<{ epoch: string; epoch_number: number; pos: string; chain_hash: Buffer }>(
      'SELECT epoch, epoch_number, pos, chain_hash FROM es.log_head',
      [],
    );
    if (row === undefined)
      throw new OperationalError('es.log_head has no row: the log was damaged', { retry: 'never' });
    const { epoch, epoch_number: epochNumber, chain_hash: hash } = row;
    return { epoch, epochNumber, pos: Number(row.pos), chainHash: hash.toString('hex') };
  }

  /**
   * Starts a new epoch if the log is not where it was last written: restored, copied, or on a promoted replica. Numbering and granting
   * leases look by themselves; a ledger asks before it opens its doors. Returns whether this call started one.
   */
  async keepEpoch(): Promise<boolean> {
    return this.epochStarted('SELECT es.keep_epoch() AS started', []);
  }

  /**
   * Starts a new epoch, for one who knows from elsewhere that events of this one were lost. False when the log is not in the epoch
   * `expected` any more: somebody else was faster.
   */
  async startEpoch(expected: string, why: string): Promise<boolean> {
    return this.epochStarted('SELECT es.start_epoch($1, $2) AS started', [expected, why]);
  }

  /** Runs `work` while no other process does that has the same name for its work; others wait. Ends with the connection at the latest. */
  exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
    return underLock(this.pool, name, work);
  }

  /**
   * Resolves with the log position of a stream's version as soon as it is sequenced.
   * Throws OperationalError `retry: 'later'` after `timeoutMs` (default 5 s) or when `signal` fires.
   */
  async waitFor(
    streamId: string,
    version: number,
    options: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<number> {
    const timeoutMs = options.timeoutMs ?? 5_000;
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal]);
    for (;;) {
      const mark = this.sequenced.mark();
      const [row] = await this.rows<{ pos: string }>(
        `SELECT l.pos FROM es.event e JOIN es.log l ON l.ingest_id = e.ingest_id WHERE e.stream_id = $1 AND e.version = $2`,
        [streamId, version],
      );
      if (row !== undefined) return Number(row.pos);
      if (signal.aborted) {
        throw new OperationalError(
          `version ${version} of stream ${streamId} was not sequenced within ${timeoutMs} ms`,
          {
            retry: 'later',
          },
        );
      }
      await this.sequenced.sleep(mark, pollMs, signal);
    }
  }

  /** Every sequenced event after `afterPos`, first the past, then each new one as it comes; ends when `signal` fires. */
  async *follow(afterPos: number, signal: AbortSignal): AsyncGenerator<RecordedEvent, void, undefined> {
    let pos = afterPos;
    while (!signal.aborted) {
      const mark = this.sequenced.mark();
      const events = await this.readLog({ afterPos: pos });
      for (const event of events) {
        if (signal.aborted) return;
        yield event;
        pos = event.pos;
      }
      if (events.length === 0) await this.sequenced.sleep(mark, pollMs, signal);
    }
  }

  /**
   * Numbers up to `limit` committed events and extends the hash chain. Returns how many, and the position of the head.
   * Any number of processes may call it at once.
   */
  async sequence(limit = 2_000): Promise<{ count: number; pos: number }> {
    const { news } = this;
    this.news = false;
    const [row] = await queryRows<{ o_count: number; o_pos: string }>(
      this.pool,
      'SELECT o_count, o_pos FROM es.sequence($1)',
      [checkedInteger(limit, 'limit', 1, 100_000)],
      () => news && failpoint('sequence.sent'),
    );
    if (row === undefined) throw new Error('es.sequence returned no row');
    if (row.o_count > 0) {
      failpoint('sequence.committed');
      this.sequenced.signal();
    }
    return { count: row.o_count, pos: Number(row.o_pos) };
  }

  /** Recomputes the whole log, see auditLog. */
  audit(): Promise<AuditReport> {
    return auditLog(this.pool);
  }

  /** Takes no more appends and resolves when those already taken are settled. */
  close(): Promise<void> {
    return this.group.close();
  }

  private async epochStarted(text: string, values: unknown[]): Promise<boolean> {
    const [row] = await this.rows<{ started: boolean }>(text, values);
    if (row?.started === true) this.appended();
    return row?.started === true;
  }

  private rows<T extends object>(text: string, values: unknown[]): Promise<T[]> {
    return queryRows<T>(this.pool, text, values);
  }
}
