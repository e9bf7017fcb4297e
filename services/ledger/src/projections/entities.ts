import { EntitySchema } from 'typeorm';

/** The read models as TypeORM sees them. Rows are written by the projections alone; these are for queries. */

export interface TaskRow {
  taskId: string;
  phase: string;
  title: string;
  repository: string;
  base: string;
  policy: string;
  priority: string;
  attempts: number;
  verdict: string | null;
  outcome: string | null;
  waitingFor: string | null;
  source: string;
  submissionId: string;
  submittedPos: string;
  updatedPos: string;
  submittedAt: Date;
  updatedAt: Date;
  closedAt: Date | null;
}

export const TaskRows = new EntitySchema<TaskRow>({
  name: 'Task',
  schema: 'rm_tasks',
  tableName: 'task',
  columns: {
    taskId: { type: 'text', primary: true, name: 'task_id' },
    phase: { type: 'text' },
    title: { type: 'text' },
    repository: { type: 'text' },
    base: { type: 'text' },
    policy: { type: 'text' },
    priority: { type: 'text' },
    attempts: { type: 'integer' },
    verdict: { type: 'text', nullable: true },
    outcome: { type: 'text', nullable: true },
    waitingFor: { type: 'text', nullable: true, name: 'waiting_for' },
    source: { type: 'text' },
    submissionId: { type: 'text', name: 'submission_id' },
    submittedPos: { type: 'bigint', name: 'submitted_pos' },
    updatedPos: { type: 'bigint', name: 'updated_pos' },
    submittedAt: { type: 'timestamptz', name: 'submitted_at' },
    updatedAt: { type: 'timestamptz', name: 'updated_at' },
    closedAt: { type: 'timestamptz', nullable: true, name: 'closed_at' },
  },
});

export interface EscalationRow {
  escalationId: string;
  taskId: string;
  target: string;
  attempt: number;
  reasons: string[];
  tried: { attempt: number; model: string; verdict: string }[];
  openedAt: Date;
  resolvedHow: string | null;
  resolvedBy: string | null;
  resolvedAt: Date | null;
}

export const EscalationRows = new EntitySchema<EscalationRow>({
  name: 'Escalation',
  schema: 'rm_escalations',
  tableName: 'escalation',
  columns: {
    escalationId: { type: 'text', primary: true, name: 'escalation_id' },
    taskId: { type: 'text', name: 'task_id' },
    target: { type: 'text' },
    attempt: { type: 'integer' },
    reasons: { type: 'jsonb' },
    tried: { type: 'jsonb' },
    openedAt: { type: 'timestamptz', name: 'opened_at' },
    resolvedHow: { type: 'text', nullable: true, name: 'resolved_how' },
    resolvedBy: { type: 'text', nullable: true, name: 'resolved_by' },
    resolvedAt: { type: 'timestamptz', nullable: true, name: 'resolved_at' },
  },
});
