import type { PoolClient } from 'pg';

/** What events do to the row of a task; null, 0 and '' leave alone what stands there. `waitingFor` is written with every new phase. */
export interface TaskChange {
  taskId: string;
  phase: string | null;
  verdict: string | null;
  outcome: string | null;
  attempts: number;
  waitingFor: string | null;
  closedAt: string | null;
  updatedPos: number;
  updatedAt: string;
}

/** A row that is not there yet. */
export interface TaskInsert extends TaskChange {
  title: string;
  repository: string;
  base: string;
  policy: string;
  priority: string;
  source: string;
  submissionId: string;
  submittedPos: number;
  submittedAt: string;
}

export interface TaskWrites {
  inserts: readonly TaskInsert[];
  /** At most one a task. */
  changes: readonly TaskChange[];
}

const changed = `"taskId" text, phase text, verdict text, outcome text, attempts int, "waitingFor" text, "closedAt" timestamptz, "updatedPos" bigint, "updatedAt" timestamptz`;
const inserted = `${changed}, title text, repository text, base text, policy text, priority text, source text, "submissionId" text, "submittedPos" bigint, "submittedAt" timestamptz`;

/** Two statements at most, however many rows. A change of a task that was never submitted finds no row. */
export async function writeTasks(client: PoolClient, schema: string, { inserts, changes }: TaskWrites): Promise<void> {
  if (inserts.length > 0) {
    await client.query(
      `INSERT INTO ${schema}.task (task_id, phase, title, repository, base, policy, priority, attempts, verdict, outcome, waiting_for,
              closed_at, source, submission_id, submitted_pos, updated_pos, submitted_at, updated_at)
       SELECT "taskId", phase, title, repository, base, policy, priority, attempts, verdict, outcome, "waitingFor",
              "closedAt", source, "submissionId", "submittedPos", "updatedPos", "submittedAt", "updatedAt" FROM json_to_recordset($1) AS i(${inserted})`,
      [JSON.stringify(inserts)],
    );
  }
  if (changes.length > 0) {
    await client.query(
      `UPDATE ${schema}.task t SET phase = coalesce(c.phase, t.phase), verdict = coalesce(c.verdict, t.verdict),
              outcome = coalesce(c.outcome, t.outcome), attempts = greatest(t.attempts, c.attempts),
              waiting_for = CASE WHEN c.phase IS NULL THEN t.waiting_for ELSE c."waitingFor" END,
              closed_at = coalesce(c."closedAt", t.closed_at), updated_pos = c."updatedPos", updated_at = c."updatedAt"
         FROM json_to_recordset($1) AS c(${changed}) WHERE t.task_id = c."taskId"`,
      [JSON.stringify(changes)],
    );
  }
}
