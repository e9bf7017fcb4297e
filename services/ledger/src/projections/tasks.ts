import type { PoolClient } from 'pg';
import { decodeEvent, streamEntity, type PlumblineEvent } from '@plumbline/domain';
import type { Projection, RecordedEvent } from '@plumbline/event-log';
import { phaseAfter } from './phase.js';

/** The list of tasks as people see it: one row a task. */
export const tasksProjection: Projection = {
  name: 'tasks',
  version: 2,
  ddl: (schema) => `
    CREATE TABLE ${schema}.task (
      task_id text PRIMARY KEY,
      phase text NOT NULL,
      title text NOT NULL,
      repository text NOT NULL,
      base text NOT NULL,
      policy text NOT NULL,
      priority text NOT NULL,
      attempts integer NOT NULL DEFAULT 0,
      verdict text,
      outcome text,
      waiting_for text,
      source text COLLATE "C" NOT NULL,
      submission_id text COLLATE "C" NOT NULL,
      submitted_pos bigint NOT NULL,
      updated_pos bigint NOT NULL,
      submitted_at timestamptz NOT NULL,
      updated_at timestamptz NOT NULL,
      closed_at timestamptz
    );
    CREATE INDEX ON ${schema}.task (submitted_pos);
    CREATE INDEX ON ${schema}.task (phase, submitted_pos);
    CREATE INDEX ON ${schema}.task (submission_id);
    CREATE INDEX ON ${schema}.task (updated_at);`,
  apply: async (client, schema, recorded) => {
    const event = plumblineEvent(recorded);
    if (event === undefined || !recorded.streamId.startsWith('task-')) return;
    const taskId = streamEntity(recorded.streamId).id;
    if (event.type === 'task.submitted') {
      const { issue, repository, policy, priority, source, submissionId } = event.data;
      await client.query(
        `INSERT INTO ${schema}.task (task_id, phase, title, repository, base, policy, priority, source, submission_id, submitted_pos, updated_pos, submitted_at, updated_at)
         VALUES ($1, 'submitted', $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $10)`,
        [
          taskId,
          issue.title,
          repository.url,
          repository.base,
          policy.name,
          priority,
          source,
          submissionId,
          recorded.pos,
          recorded.recordedAt,
        ],
      );
      return;
    }
    await update(client, schema, taskId, event, recorded);
  },
};

async function update(
  client: PoolClient,
  schema: string,
  taskId: string,
  event: PlumblineEvent,
  recorded: RecordedEvent,
): Promise<void> {
  const verdict =
    event.type === 'verdict.reached'
      ? event.data.judgement.verdict
      : event.type === 'task.closed'
        ? event.data.verdict
        : null;
  const outcome = event.type === 'task.closed' ? event.data.outcome : null;
  const attempt = event.type === 'task.coding-requested' ? event.data.attempt : 0;
  await client.query(
    `UPDATE ${schema}.task SET phase = coalesce($2, phase), verdict = coalesce($3, verdict), outcome = coalesce($4, outcome),
            attempts = greatest(attempts, $5), waiting_for = CASE WHEN $2::text IS NULL THEN waiting_for ELSE $6 END,
            updated_pos = $7, updated_at = $8, closed_at = CASE WHEN $2 = 'closed' THEN $8 ELSE closed_at END
      WHERE task_id = $1`,
    [
      taskId,
      phaseAfter(event) ?? null,
      verdict,
      outcome,
      attempt,
      waitingFor(event),
      recorded.pos,
      recorded.recordedAt,
    ],
  );
}

/** What a task waits for after an event, in a word, or null when something is under way. */
function waitingFor(event: PlumblineEvent): string | null {
  if (event.type === 'task.capacity-awaited') return `a model for the seat ${event.data.seat}`;
  if (event.type === 'escalation.opened' && event.data.to === 'human') return 'a ruling';
  return null;
}

/** The event in its current version; undefined for what this build does not know. Data that does not fit its type parks the stream. */
export function plumblineEvent(recorded: RecordedEvent): PlumblineEvent | undefined {
  const decoded = decodeEvent(recorded);
  if (decoded.outcome === 'event') return decoded.event;
  if (decoded.outcome === 'unknown') return undefined;
  const first = decoded.problems[0];
  throw new Error(
    `${recorded.type} at ${recorded.pos}: ${first?.field ?? 'data'}: expected ${first?.expected ?? 'data of its type'}`,
  );
}
