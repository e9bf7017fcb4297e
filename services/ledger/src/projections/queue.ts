import { streamEntity, type PlumblineEvent } from '@plumbline/domain';
import type { Projection } from '@plumbline/event-log';
import { plumblineEvent } from './tasks.js';

/**
 * What an event does to a task's place in the queue for models: a step begins to wait, stops waiting, or none of the task's steps waits
 * any more. A shortcut past folding whole histories; `queue.test.ts` holds it against the fold.
 */
export function queueChange(event: PlumblineEvent): { begins: string } | { ends: string } | 'all-end' | undefined {
  switch (event.type) {
    case 'task.capacity-awaited':
      return { begins: event.data.step };
    case 'task.coding-requested':
    case 'task.review-requested':
      return { ends: event.data.step };
    case 'task.cancelled':
    case 'task.closed':
      return 'all-end';
    default:
      return undefined;
  }
}

/** The steps that wait for a model, and those that once did: a step waits once. */
export const queueProjection: Projection = {
  name: 'queue',
  version: 1,
  ddl: (schema) => `
    CREATE TABLE ${schema}.waiting (
      task_id text NOT NULL,
      step text NOT NULL,
      attempt integer NOT NULL,
      seat text NOT NULL,
      tier integer NOT NULL,
      since_pos bigint NOT NULL,
      since_at timestamptz NOT NULL,
      ended_pos bigint,
      PRIMARY KEY (task_id, step)
    );
    CREATE INDEX ON ${schema}.waiting (since_pos) WHERE ended_pos IS NULL;`,
  types: ['task.capacity-awaited', 'task.coding-requested', 'task.review-requested', 'task.cancelled', 'task.closed'],
  apply: async (client, schema, recorded) => {
    const event = plumblineEvent(recorded);
    const change = event === undefined ? undefined : queueChange(event);
    if (event === undefined || change === undefined) return;
    const taskId = streamEntity(recorded.streamId).id;
    if (event.type === 'task.capacity-awaited') {
      const { step, attempt, seat, tier } = event.data;
      await client.query(
        `INSERT INTO ${schema}.waiting (task_id, step, attempt, seat, tier, since_pos, since_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT DO NOTHING`,
        [taskId, step, attempt, seat, tier, recorded.pos, recorded.recordedAt],
      );
      return;
    }
    await client.query(
      `UPDATE ${schema}.waiting SET ended_pos = $2 WHERE task_id = $1 AND ended_pos IS NULL AND ($3::text IS NULL OR step = $3)`,
      [taskId, recorded.pos, change !== 'all-end' && 'ends' in change ? change.ends : null],
    );
  },
};
