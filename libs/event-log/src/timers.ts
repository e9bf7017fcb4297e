import { failpoint } from '@plumbline/failpoint';
import type { Pool } from 'pg';
import { checkedInteger } from './json-text.js';
import type { LogEventTypes } from './leases.js';
import { queryRows } from './session.js';

export interface FiredTimer {
  timerId: string;
  streamId: string;
}

/** `data` of the event a timer fires as: what was given when it was set. */
export interface TimerEventData {
  timerId: string;
  kind: string;
  data: unknown;
}

/** The timers of streams, judged by the clock of Postgres alone. They are set and cancelled by appends. */
export class Timers {
  constructor(
    private readonly pool: Pool,
    private readonly types: LogEventTypes,
    private readonly onRecorded: () => void,
  ) {}

  /** Fires up to `limit` due timers, each exactly once as an event of its stream; returns them. Several sweepers share the work. */
  async fire(limit = 100): Promise<FiredTimer[]> {
    const rows = await queryRows<{ timer_id: string; stream_id: string }>(
      this.pool,
      'SELECT * FROM es.fire_timers($1, $2)',
      [checkedInteger(limit, 'limit', 1, 10_000), this.types.timerFired],
    );
    if (rows.length > 0) {
      failpoint('sweeper.swept');
      this.onRecorded();
    }
    return rows.map((row) => ({ timerId: row.timer_id, streamId: row.stream_id }));
  }
}
