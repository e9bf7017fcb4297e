import { streamEntity } from '@plumbline/domain';
import type { Projection } from '@plumbline/event-log';
import { plumblineEvent } from './tasks.js';

/** The inbox: what was escalated, why, and how it was resolved. */
export const escalationsProjection: Projection = {
  name: 'escalations',
  version: 2,
  ddl: (schema) => `
    CREATE TABLE ${schema}.escalation (
      escalation_id text PRIMARY KEY,
      task_id text NOT NULL,
      target text NOT NULL,
      attempt integer NOT NULL,
      reasons jsonb NOT NULL,
      tried jsonb NOT NULL,
      opened_at timestamptz NOT NULL,
      opened_pos bigint NOT NULL,
      resolved_how text,
      resolved_by text,
      resolved_at timestamptz
    );
    CREATE INDEX ON ${schema}.escalation (task_id);
    CREATE INDEX ON ${schema}.escalation (opened_pos);`,
  types: ['escalation.opened', 'escalation.resolved'],
  apply: async (client, schema, recorded) => {
    const event = plumblineEvent(recorded);
    if (event?.type === 'escalation.opened') {
      const { escalationId, to, attempt, reasons, tried } = event.data;
      await client.query(
        `INSERT INTO ${schema}.escalation (escalation_id, task_id, target, attempt, reasons, tried, opened_at, opened_pos) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
        [
          escalationId,
          streamEntity(recorded.streamId).id,
          to,
          attempt,
          JSON.stringify(reasons),
          JSON.stringify(tried),
          recorded.recordedAt,
          recorded.pos,
        ],
      );
    } else if (event?.type === 'escalation.resolved') {
      await client.query(
        `UPDATE ${schema}.escalation SET resolved_how = $2, resolved_by = $3, resolved_at = $4 WHERE escalation_id = $1`,
        [event.data.escalationId, event.data.how, event.data.by, recorded.recordedAt],
      );
    }
  },
};
