import type { Reason, TasksDocument, EscalationDocument, Verdict } from '@plumbline/domain';
import { EntitySchema } from 'typeorm';

type TaskEntry = TasksDocument['tasks'][number];

/** The read models as TypeORM sees them. Rows are written by the projections alone; these are for queries. */

export interface TaskRow {
  taskId: string;
  phase: TaskEntry['state'];
  title: string;
  repository: string;
  base: string;
  policy: string;
  priority: TaskEntry['priority'];
  attempts: number;
  verdict: NonNullable<TaskEntry['verdict']> | null;
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
  target: 'tier' | 'human';
  attempt: number;
  reasons: string[];
  tried: { attempt: number; model: string; verdict: string }[];
  openedPos: string;
  openedAt: Date;
  resolvedHow: NonNullable<EscalationDocument['escalation']['resolved']>['how'] | null;
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
    openedPos: { type: 'bigint', name: 'opened_pos' },
    openedAt: { type: 'timestamptz', name: 'opened_at' },
    resolvedHow: { type: 'text', nullable: true, name: 'resolved_how' },
    resolvedBy: { type: 'text', nullable: true, name: 'resolved_by' },
    resolvedAt: { type: 'timestamptz', nullable: true, name: 'resolved_at' },
  },
});

export interface VerdictRow {
  taskId: string;
  attempt: number;
  verdict: Verdict;
  policy: string;
  tree: string | null;
  reasons: Reason[];
  pos: string;
  reachedAt: Date;
}

export const VerdictRows = new EntitySchema<VerdictRow>({
  name: 'Verdict',
  schema: 'rm_verdicts',
  tableName: 'verdict',
  columns: {
    taskId: { type: 'text', primary: true, name: 'task_id' },
    attempt: { type: 'integer', primary: true },
    verdict: { type: 'text' },
    policy: { type: 'text' },
    tree: { type: 'text', nullable: true },
    reasons: { type: 'jsonb' },
    pos: { type: 'bigint' },
    reachedAt: { type: 'timestamptz', name: 'reached_at' },
  },
});

export interface QueueRow {
  taskId: string;
  step: string;
  attempt: number;
  seat: string;
  tier: number;
  sincePos: string;
  sinceAt: Date;
  endedPos: string | null;
}

export const QueueRows = new EntitySchema<QueueRow>({
  name: 'Waiting',
  schema: 'rm_queue',
  tableName: 'waiting',
  columns: {
    taskId: { type: 'text', primary: true, name: 'task_id' },
    step: { type: 'text', primary: true },
    attempt: { type: 'integer' },
    seat: { type: 'text' },
    tier: { type: 'integer' },
    sincePos: { type: 'bigint', name: 'since_pos' },
    sinceAt: { type: 'timestamptz', name: 'since_at' },
    endedPos: { type: 'bigint', nullable: true, name: 'ended_pos' },
  },
});
