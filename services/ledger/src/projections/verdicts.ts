import type { PoolClient } from 'pg';
import { streamEntity } from '@plumbline/domain';
import type { ProjectedEvent, Projection } from '@plumbline/event-log';
import { plumblineEvent } from './tasks.js';

/** Every verdict ever reached, one row an attempt, with its reasons. */
export const verdictsProjection: Projection = {
  name: 'verdicts',
  version: 1,
  ddl: (schema) => `
    CREATE TABLE ${schema}.verdict (
      task_id text NOT NULL,
      attempt integer NOT NULL,
      verdict text NOT NULL,
      policy text NOT NULL,
      tree text,
      reasons jsonb NOT NULL,
      pos bigint NOT NULL,
      reached_at timestamptz NOT NULL,
      PRIMARY KEY (task_id, attempt)
    );
    CREATE INDEX ON ${schema}.verdict (pos);`,
  types: ['verdict.reached'],
  apply: (client, schema, recorded) => applyBatch(client, schema, [recorded]),
  applyBatch,
};

async function applyBatch(client: PoolClient, schema: string, events: readonly ProjectedEvent[]): Promise<void> {
  const rows = events.flatMap((recorded) => {
    const event = plumblineEvent(recorded);
    if (event?.type !== 'verdict.reached') return [];
    const { attempt, judgement, policy, subject } = event.data;
    const { verdict, reasons } = judgement;
    const { pos, recordedAt } = recorded;
    const taskId = streamEntity(recorded.streamId).id;
    return [{ taskId, attempt, verdict, policy, tree: subject?.tree ?? null, reasons, pos, recordedAt }];
  });
  if (rows.length === 0) return;
  await client.query(
    `INSERT INTO ${schema}.verdict (task_id, attempt, verdict, policy, tree, reasons, pos, reached_at)
     SELECT "taskId", attempt, verdict, policy, tree, reasons, pos, "recordedAt"
       FROM json_to_recordset($1) AS v("taskId" text, attempt int, verdict text, policy text, tree text, reasons jsonb, pos bigint,
                                       "recordedAt" timestamptz)`,
    [JSON.stringify(rows)],
  );
}
