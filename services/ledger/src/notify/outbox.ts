import {
  decodeEvent,
  evolve,
  initialTask,
  noticeKindOf,
  noticeOf,
  type NoticeDocument,
  type NoticeKind,
  type RecordedEvent,
} from '@plumbline/domain';
import type { EventLog } from '@plumbline/event-log';
import { makeOutboxTables } from './outbox-tables.js';

/** Who is told what. */
export interface NoticeTarget {
  readonly name: string;
  readonly kinds: readonly NoticeKind[];
}

/** A delivery that is ours for a minute. `attempt` fences its result: who comes back later than that has lost it. */
export interface ClaimedDelivery {
  readonly eventId: string;
  readonly attempt: number;
  readonly kind: NoticeKind;
  readonly taskId: string;
  readonly body: string;
}

/** A target as the operator is shown it. */
export interface TargetState {
  readonly target: string;
  readonly due: number;
  readonly parkedAt: string | null;
  readonly why: string | null;
}

const cursorName = 'notices';
const cursorVersion = 1;
/** Positions looked at in one transaction. */
const reachMax = 5_000;
/** Longer than a receiver gets, so that nobody else sends what is being sent. */
const claimMs = 60_000;
const keptMs = 7 * 24 * 3_600_000;
const noticeEvents = ['verdict.reached', 'escalation.opened', 'task.closed'];

/** The outbox in Postgres: what is to be told to whom, and how far the log was read for it. Holds nothing in memory. */
export class Outbox {
  constructor(
    private readonly log: EventLog,
    private readonly targets: readonly NoticeTarget[],
  ) {}

  /**
   * Makes the tables and, the first time, puts the cursor at the head of the log. Targets that were parked are taken up again, with all
   * that was kept for them: starting the ledger is how an operator says that a receiver is mended.
   */
  async open(): Promise<void> {
    await makeOutboxTables(this.log.pool);
    await this.log.pool.query(
      `INSERT INTO es.checkpoint (projector, generation, version, pos, log_epoch)
       SELECT $1, 'live', $2, pos, epoch FROM es.log_head ON CONFLICT DO NOTHING`,
      [cursorName, cursorVersion],
    );
    const names = this.targets.map(({ name }) => name);
    await this.transaction(async (query) => {
      await query('INSERT INTO notify.target (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING', [names]);
      const parked = await query<{ name: string }>(
        'UPDATE notify.target SET parked_at = NULL, why = NULL WHERE parked_at IS NOT NULL AND name = ANY ($1) RETURNING name',
        [names],
      );
      await query(
        `UPDATE notify.delivery SET state = 'due', attempts = 0, next_at = clock_timestamp()
          WHERE target = ANY ($1) AND state <> 'delivered'`,
        [parked.map(({ name }) => name)],
      );
    });
  }

  /**
   * Reads on in the log and stores what is to be told, with the cursor's move in the same transaction. Returns how many notices that
   * were; undefined when there was nothing to read, or another replica read it.
   */
  async advance(): Promise<number | undefined> {
    const [cursor] = await this.rows<{ pos: string; head: string; epoch: string; same: boolean }>(
      `SELECT c.pos, h.pos AS head, h.epoch, c.log_epoch = h.epoch AS same FROM es.checkpoint c, es.log_head h
        WHERE c.projector = $1 AND c.generation = 'live'`,
      [cursorName],
    );
    if (cursor === undefined) throw new Error('the cursor of the notices is gone');
    // A restored log has another epoch and the cursor of its backup; where that lies beyond its end, the end is where to go on.
    const from = Math.min(Number(cursor.pos), Number(cursor.head));
    const to = Math.min(Number(cursor.head), from + reachMax);
    if (to === Number(cursor.pos) && cursor.same) return undefined;
    const notices = await this.noticesIn(from, to);
    return this.transaction(async (query) => {
      const moved = await query(
        `UPDATE es.checkpoint SET pos = $3, log_epoch = $4, updated_at = clock_timestamp()
          WHERE projector = $1 AND generation = 'live' AND pos = $2 RETURNING pos`,
        [cursorName, cursor.pos, to, cursor.epoch],
      );
      if (moved.length === 0) return undefined;
      for (const { id, kind, position, task, ...rest } of notices) {
        const told = this.targets.filter(({ kinds }) => kinds.includes(kind)).map(({ name }) => name);
        const body = JSON.stringify({ ...rest, id, kind, position, task });
        await query(
          'INSERT INTO notify.notice (event_id, pos, kind, task_id, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING',
          [id, position, kind, task.id, body],
        );
        await query(
          `INSERT INTO notify.delivery (event_id, target, pos) SELECT $1, unnest($2::text[]), $3 ON CONFLICT DO NOTHING`,
          [id, told, position],
        );
      }
      return notices.length;
    });
  }

  /** The next notice that is due for a target, ours for a minute; undefined when there is none or the target is parked. */
  async claim(target: string): Promise<ClaimedDelivery | undefined> {
    const [row] = await this.rows<{
      event_id: string;
      attempts: number;
      kind: NoticeKind;
      task_id: string;
      body: string;
    }>(
      `WITH next AS (
         SELECT event_id FROM notify.delivery
          WHERE target = $1 AND state = 'due' AND next_at <= clock_timestamp()
            AND NOT EXISTS (SELECT 1 FROM notify.target WHERE name = $1 AND parked_at IS NOT NULL)
          ORDER BY next_at, pos LIMIT 1 FOR UPDATE SKIP LOCKED)
       UPDATE notify.delivery d SET attempts = d.attempts + 1, next_at = clock_timestamp() + $2 * interval '1 ms'
         FROM next JOIN notify.notice n USING (event_id)
        WHERE d.event_id = next.event_id AND d.target = $1
       RETURNING d.event_id, d.attempts, n.kind, n.task_id, n.body`,
      [target, claimMs],
    );
    if (row === undefined) return undefined;
    return { eventId: row.event_id, attempt: row.attempts, kind: row.kind, taskId: row.task_id, body: row.body };
  }

  async delivered(target: string, { eventId, attempt }: ClaimedDelivery): Promise<void> {
    await this.transaction(async (query) => {
      await query(
        `UPDATE notify.delivery SET state = 'delivered', last_error = NULL
          WHERE event_id = $1 AND target = $2 AND attempts = $3 AND state = 'due'`,
        [eventId, target, attempt],
      );
      await query('UPDATE notify.target SET last_ok_at = clock_timestamp() WHERE name = $1', [target]);
    });
  }

  /** Puts a delivery off, as its sending failed. */
  async again(target: string, { eventId, attempt }: ClaimedDelivery, why: string, delayMs: number): Promise<void> {
    await this.rows(
      `UPDATE notify.delivery SET next_at = clock_timestamp() + $4 * interval '1 ms', last_error = $5
        WHERE event_id = $1 AND target = $2 AND attempts = $3 AND state = 'due'`,
      [eventId, target, attempt, Math.round(delayMs), why],
    );
  }

  /**
   * Gives a delivery up. The target is parked with it, unless it took another notice since this one was made: then it is this notice
   * that it does not want. Returns whether it was parked.
   */
  async giveUp(target: string, { eventId, attempt }: ClaimedDelivery, why: string, gone: boolean): Promise<boolean> {
    return this.transaction(async (query) => {
      const lost = await query(
        `UPDATE notify.delivery SET state = 'failed', last_error = $4
          WHERE event_id = $1 AND target = $2 AND attempts = $3 AND state = 'due' RETURNING event_id`,
        [eventId, target, attempt, why],
      );
      if (lost.length === 0) return false;
      const parked = await query(
        `UPDATE notify.target SET parked_at = clock_timestamp(), why = $3
          WHERE name = $1 AND parked_at IS NULL
            AND ($4 OR last_ok_at IS NULL OR last_ok_at < (SELECT created_at FROM notify.notice WHERE event_id = $2))
          RETURNING name`,
        [target, eventId, why, gone],
      );
      return parked.length > 0;
    });
  }

  /** Deletes what is older than a week; returns how many deliveries that never arrived went with it, by target. */
  async prune(): Promise<Map<string, number>> {
    return this.transaction(async (query) => {
      const lost = await query<{ target: string; count: string }>(
        `SELECT d.target, count(*) FROM notify.delivery d JOIN notify.notice n USING (event_id)
          WHERE n.created_at < clock_timestamp() - $1 * interval '1 ms' AND d.state = 'due' GROUP BY d.target`,
        [keptMs],
      );
      await query(`DELETE FROM notify.notice WHERE created_at < clock_timestamp() - $1 * interval '1 ms'`, [keptMs]);
      return new Map(lost.map(({ target, count }) => [target, Number(count)]));
    });
  }

  /** Every target there is, with what waits for it. */
  async states(): Promise<TargetState[]> {
    const rows = await this.rows<{ name: string; due: string; parked_at: Date | null; why: string | null }>(
      `SELECT t.name, t.parked_at, t.why,
              (SELECT count(*) FROM notify.delivery d WHERE d.target = t.name AND d.state = 'due') AS due
         FROM notify.target t WHERE t.name = ANY ($1) ORDER BY t.name`,
      [this.targets.map(({ name }) => name)],
    );
    return rows.map(({ name, due, parked_at: parkedAt, why }) => ({
      target: name,
      due: Number(due),
      parkedAt: parkedAt?.toISOString() ?? null,
      why,
    }));
  }

  /** What the events after `from`, up to `to`, are to tell. */
  private async noticesIn(from: number, to: number): Promise<NoticeDocument[]> {
    const found = await this.rows<{ pos: string; stream_id: string; version: number }>(
      `SELECT l.pos, e.stream_id, e.version FROM es.log l JOIN es.event e ON e.ingest_id = l.ingest_id
        WHERE l.pos > $1 AND l.pos <= $2 AND e.type = ANY ($3) ORDER BY l.pos`,
      [from, to, noticeEvents],
    );
    const notices: NoticeDocument[] = [];
    for (const row of found) {
      const notice = await this.noticeAt(row.stream_id, row.version, Number(row.pos));
      if (notice !== undefined) notices.push(notice);
    }
    return notices;
  }

  /** The notice of one event, told from its task's history up to it: the same however late it is made. */
  private async noticeAt(streamId: string, version: number, position: number): Promise<NoticeDocument | undefined> {
    let state = initialTask;
    for (const event of await this.log.readStream(streamId, { limit: version })) {
      const { eventId, recordedAt } = event;
      const decoded = decodeEvent(event);
      if (decoded.outcome !== 'event') continue;
      state = evolve(state, { ...decoded.event, at: recordedAt });
      if (event.version !== version || noticeKindOf(decoded.event) === undefined) continue;
      const recorded = { ...decoded.event, eventId, streamId, version, at: recordedAt } as RecordedEvent;
      return noticeOf(state, recorded, position);
    }
    return undefined;
  }

  private async rows<T extends object>(text: string, values: unknown[]): Promise<T[]> {
    return (await this.log.pool.query<T>(text, values)).rows;
  }

  private async transaction<T>(
    work: (query: <R extends object>(text: string, values: unknown[]) => Promise<R[]>) => Promise<T>,
  ): Promise<T> {
    const client = await this.log.pool.connect();
    // A connection that breaks while it is out fails its query, too; without a listener the error would end the process.
    const ignore = (): void => undefined;
    client.on('error', ignore);
    let broken: Error | undefined;
    try {
      await client.query('BEGIN');
      const result = await work(
        async <R extends object>(text: string, values: unknown[]) => (await client.query<R>(text, values)).rows,
      );
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK').catch((failure: unknown) => {
        broken = failure instanceof Error ? failure : new Error(String(failure));
      });
      throw error;
    } finally {
      client.off('error', ignore);
      client.release(broken);
    }
  }
}
