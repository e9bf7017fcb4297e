import { streamEntity } from '@plumbline/domain';
import type { Projection } from '@plumbline/event-log';
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
  apply: async (client, schema, recorded) => {
    const event = plumblineEvent(recorded);
    if (event?.type !== 'verdict.reached') return;
    const { attempt, judgement, policy, subject } = event.data;
    await client.query(
      `INSERT INTO ${schema}.verdict (task_id, attempt, verdict, policy, tree, reasons, pos, reached_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
      [
        streamEntity(recorded.streamId).id,
        attempt,
        judgement.verdict,
        policy,
        subject?.tree ?? null,
        JSON.stringify(judgement.reasons),
        recorded.pos,
        recorded.recordedAt,
      ],
    );
  },
};
