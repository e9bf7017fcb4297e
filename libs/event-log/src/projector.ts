import { failpoint } from '@plumbline/failpoint';
import type { PoolClient } from 'pg';
import { isTransientFailure, OperationalError, toOperationalError } from './errors.js';
import type { EventLog } from './event-log.js';
import { PollingLoop } from './polling-loop.js';
import {
  applyEvents,
  moveCheckpoint,
  PoisonedBatch,
  readCheckpoint,
  tryApply,
  type ProjectionTarget,
} from './projection-batch.js';
import { rebuildProjection } from './projection-rebuild.js';
import { readPage } from './projection-read.js';
import type { ParkedEvent, Projection } from './projection.js';
import { inTransaction } from './session.js';

export interface ProjectorOptions {
  /** Most events applied in one transaction. Default 500. */
  batchSize?: number;
  /** Longest sleep between looks at the log, when nobody calls `wake`. Default 20. */
  pollMs?: number;
  /** Told of every event parked with an error: raise an alarm. */
  onParked?: (event: ParkedEvent) => void;
  /** Told of every failure of the loop; it goes on after a growing pause of at most five seconds. */
  onError?: (error: OperationalError) => void;
}

/** What one pass of the loop found: events applied, nothing new, or a log or tables other than expected. */
type Pass = 'moved' | 'idle' | 'displaced';

/**
 * Keeps one read model up to date, exactly once per event: rows and checkpoint move in one transaction. Replicas may run side by
 * side; the checkpoint's compare-and-set lets one of them win. Readers use the stable schema name.
 */
export class Projector {
  readonly schema: string;
  private readonly target: ProjectionTarget;
  private readonly loop: PollingLoop;
  private pos: number | undefined;

  constructor(
    private readonly log: EventLog,
    private readonly projection: Projection,
    private readonly options: ProjectorOptions = {},
  ) {
    if (!/^[a-z][a-z0-9_]{0,40}$/.test(projection.name)) {
      throw new OperationalError(`${projection.name} is no name for a projection: lower-case letters, digits and _`, {
        retry: 'never',
      });
    }
    this.schema = `rm_${projection.name}`;
    this.target = { projection, generation: 'live', schema: this.schema };
    this.loop = new PollingLoop(() => this.passOrPrepare(), {
      pollMs: options.pollMs ?? 20,
      maxPauseMs: 5_000,
      what: `projecting into ${this.schema}`,
      ...(options.onError === undefined ? {} : { onError: options.onError }),
    });
  }

  /**
   * Creates the tables, or rebuilds them when they are of an older version or of another log epoch, and starts the loop.
   * Throws when the tables belong to a newer version of the projection.
   */
  async start(): Promise<void> {
    if (this.loop.started) return;
    await this.prepare();
    this.loop.start();
  }

  /** The log has grown: look now instead of at the next poll. */
  wake(): void {
    this.loop.wake();
  }

  /** Ends the loop and resolves when the batch in hand is committed or rolled back. */
  stop(): Promise<void> {
    return this.loop.stop();
  }

  /** Applies everything that is in the log now, without the loop; returns the position reached. */
  async catchUp(): Promise<number> {
    await this.prepare();
    for (;;) {
      const pass = await this.pass();
      if (pass === 'idle') return this.pos ?? 0;
      if (pass === 'displaced') await this.prepare();
    }
  }

  /** The position up to which readers see the log; 0 before the first event. */
  async position(): Promise<number> {
    return this.transaction(async (client) => (await readCheckpoint(client, this.projection.name, 'live'))?.pos ?? 0);
  }

  /** Events set aside, oldest first, at most `limit` (default 1000). Those without an error wait behind one of their stream. */
  async parked(limit = 1_000): Promise<ParkedEvent[]> {
    const result = await this.transaction((client) =>
      client.query<{ pos: string; stream_id: string; error: string | null; attempts: number; parked_at: Date }>(
        `SELECT pos, stream_id, error, attempts, parked_at FROM es.parked
          WHERE projector = $1 AND generation = 'live' ORDER BY pos LIMIT $2`,
        [this.projection.name, limit],
      ),
    );
    return result.rows.map((row) => ({
      pos: Number(row.pos),
      streamId: row.stream_id,
      error: row.error,
      attempts: row.attempts,
      parkedAt: row.parked_at.toISOString(),
    }));
  }

  /**
   * Applies the parked events of a stream in order, all in one transaction, until one fails again: that one and those behind it stay
   * parked. Returns how many were applied and how many remain.
   */
  async unpark(streamId: string): Promise<{ replayed: number; remaining: number }> {
    return this.transaction(async (client) => {
      // The checkpoint's lock keeps a running batch from adding to the stream's parked events meanwhile.
      await readCheckpoint(client, this.projection.name, 'live', true);
      const waiting = await client.query<{ pos: string }>(
        `SELECT pos FROM es.parked WHERE projector = $1 AND generation = 'live' AND stream_id = $2 ORDER BY pos`,
        [this.projection.name, streamId],
      );
      let replayed = 0;
      for (const row of waiting.rows) {
        const pos = Number(row.pos);
        const { events } = await readPage(client, this.projection, pos - 1, 1, pos);
        const event = events[0];
        if (event === undefined) throw new Error(`position ${pos} is parked and not in the log`);
        const failure = await tryApply(client, this.target, event);
        const key = [this.projection.name, pos];
        if (failure !== undefined) {
          await client.query(
            `UPDATE es.parked SET error = $3, attempts = attempts + 1 WHERE projector = $1 AND generation = 'live' AND pos = $2`,
            [...key, failure],
          );
          break;
        }
        await client.query(`DELETE FROM es.parked WHERE projector = $1 AND generation = 'live' AND pos = $2`, key);
        replayed += 1;
      }
      return { replayed, remaining: waiting.rows.length - replayed };
    });
  }

  /** Builds the tables anew from the first event and swaps them in; readers see the old ones until then. Returns the position. */
  async rebuild(): Promise<number> {
    try {
      const size = this.options.batchSize ?? 500;
      const { pos, parked } = await rebuildProjection(this.log.pool, this.projection, this.schema, size);
      this.pos = undefined;
      for (const event of parked) if (event.error !== null) this.options.onParked?.(event);
      return pos;
    } catch (error) {
      throw toOperationalError(error, `rebuilding projection ${this.projection.name}`);
    }
  }

  /** Makes sure that live tables of this version and of the log's epoch exist. */
  private async prepare(): Promise<void> {
    const { name, version } = this.projection;
    const { epoch } = await this.log.head();
    const live = await this.transaction((client) => readCheckpoint(client, name, 'live'));
    if (live !== undefined && live.version > version) {
      throw new OperationalError(
        `projection ${name} has tables of version ${live.version}, this code is version ${version}: run the newer code`,
        { retry: 'never' },
      );
    }
    // First build, newer rules or another log: all three are a rebuild.
    if (live?.version !== version || live.logEpoch !== epoch) await this.rebuild();
  }

  /** One turn of the loop; false when there was nothing to do. */
  private async passOrPrepare(): Promise<boolean> {
    try {
      const pass = await this.pass();
      if (pass === 'displaced') await this.prepare();
      return pass !== 'idle';
    } catch (error) {
      this.pos = undefined;
      throw error;
    }
  }

  /** One batch. A batch with a poisoned event is rolled back and repeated event by event. */
  private async pass(): Promise<Pass> {
    this.pos ??= await this.position();
    const from = this.pos;
    const limit = this.options.batchSize ?? 500;
    const { events, reached: to } = await readPage(this.log.pool, this.projection, from, limit).catch(
      (error: unknown) => {
        throw toOperationalError(error, `reading the log for ${this.schema}`);
      },
    );
    if (to === from) return this.confirmIdle(from);
    const attempt = (careful: boolean): Promise<ParkedEvent[] | undefined> =>
      inTransaction(this.log.pool, async (client) => {
        if (!(await moveCheckpoint(client, this.target, from, to))) return undefined;
        const parked = await applyEvents(client, this.target, events, careful);
        failpoint('projection.written');
        return parked;
      });
    const parked = await attempt(false).catch((error: unknown) => {
      if (error instanceof PoisonedBatch) return attempt(true);
      throw error;
    });
    if (parked === undefined) {
      this.pos = undefined;
      return 'displaced';
    }
    this.pos = to;
    for (const event of parked) this.options.onParked?.(event);
    return 'moved';
  }

  /** At the end of the log: is it still the log, and are these still the tables, that this position was reached in? */
  private async confirmIdle(pos: number): Promise<Pass> {
    const result = await this.transaction((client) =>
      client.query(
        `SELECT FROM es.checkpoint c JOIN es.log_head h ON h.epoch = c.log_epoch
          WHERE c.projector = $1 AND c.generation = 'live' AND c.version = $2 AND c.pos = $3`,
        [this.projection.name, this.projection.version, pos],
      ),
    );
    if (result.rowCount === 1) return 'idle';
    this.pos = undefined;
    return 'displaced';
  }

  private async transaction<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    try {
      return await inTransaction(this.log.pool, work);
    } catch (error) {
      if (error instanceof OperationalError || isTransientFailure(error)) {
        throw toOperationalError(error, `projection ${this.projection.name}`);
      }
      throw error;
    }
  }
}
