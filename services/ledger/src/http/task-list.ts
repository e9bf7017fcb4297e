import { BadRequestException } from '@nestjs/common';
import { prioritySchema, publishedVerdictSchema, taskStateSchema } from '@plumbline/domain';
import type { DataSource } from 'typeorm';
import { z } from 'zod';
import { TaskRows, type TaskRow } from '../projections/entities.js';
import type { Cursors } from './cursor.js';

const instant = z.iso.datetime({ error: 'an instant in UTC such as 2026-11-20T09:30:00.000Z' }).max(40);
const words = z
  .string()
  .min(1, 'at least one character')
  .max(500)
  .refine((text) => !text.includes('\0') && text.isWellFormed(), 'text without NUL characters');

/** What a list of tasks can be asked for. Spans of time are half open: from `since` on, before `until`. */
export const taskQuerySchema = z.strictObject({
  state: taskStateSchema.optional(),
  verdict: publishedVerdictSchema.optional(),
  repository: words.optional(),
  priority: prioritySchema.optional(),
  sourcePrefix: words.optional(),
  submissionPrefix: words.optional(),
  submittedSince: instant.optional(),
  submittedUntil: instant.optional(),
  updatedSince: instant.optional(),
  updatedUntil: instant.optional(),
  closedSince: instant.optional(),
  closedUntil: instant.optional(),
  limit: z
    .string()
    .regex(/^\d{1,4}$/, 'a whole number from 1 to 1000')
    .transform(Number)
    .pipe(z.int().min(1).max(1_000))
    .default(200),
  cursor: z.string().max(200).optional(),
});
export type TaskQuery = z.infer<typeof taskQuerySchema>;

/** Filters that compare, as SQL on a row `t` with the value as `:value`. */
const conditions: Record<Exclude<keyof TaskQuery, 'limit' | 'cursor'>, string> = {
  state: 't.phase = :state',
  verdict: 't.verdict = :verdict',
  repository: 't.repository = :repository',
  priority: 't.priority = :priority',
  sourcePrefix: 'starts_with(t.source, :sourcePrefix)',
  submissionPrefix: 'starts_with(t.submission_id, :submissionPrefix)',
  submittedSince: 't.submitted_at >= :submittedSince',
  submittedUntil: 't.submitted_at < :submittedUntil',
  updatedSince: 't.updated_at >= :updatedSince',
  updatedUntil: 't.updated_at < :updatedUntil',
  closedSince: 't.closed_at >= :closedSince',
  closedUntil: 't.closed_at < :closedUntil',
};

/** `plumbline.tasks/1`: the newest tasks first, from the read model alone, with a cursor while there are more. */
export async function listTasks(models: DataSource, cursors: Cursors, query: TaskQuery): Promise<unknown> {
  const { limit, cursor, ...filters } = query;
  const select = models
    .getRepository(TaskRows)
    .createQueryBuilder('t')
    .orderBy('t.submittedPos', 'DESC')
    .take(limit + 1);
  for (const [name, value] of Object.entries(filters))
    if (value !== undefined)
      select.andWhere(conditions[name as keyof typeof conditions], { [name]: bound(name, value) });
  if (cursor !== undefined) {
    const before = cursors.read('tasks', filters, cursor);
    if (before === undefined)
      throw new BadRequestException('cursor: expected the `next` of an answer to the same query, unchanged');
    select.andWhere('t.submitted_pos < :before', { before });
  }
  const rows = await select.getMany();
  const last = rows.length > limit ? rows[limit - 1] : undefined;
  return {
    schema: 'plumbline.tasks/1',
    tasks: rows.slice(0, limit).map(taskEntry),
    ...(last === undefined ? {} : { next: cursors.write('tasks', filters, Number(last.submittedPos)) }),
  };
}

/** As a date, so that years Postgres writes otherwise (0000) are not taken for errors. */
const bound = (name: string, value: string): unknown => (/(Since|Until)$/.test(name) ? new Date(value) : value);

function taskEntry(row: TaskRow): Record<string, unknown> {
  const { taskId, phase, verdict, outcome, waitingFor, closedAt } = row;
  const { title, repository, base, policy, priority, attempts, source, submissionId } = row;
  return {
    id: taskId,
    state: phase,
    ...(verdict === null ? {} : { verdict }),
    ...(outcome === null ? {} : { outcome }),
    title,
    ...(waitingFor === null ? {} : { waitingFor }),
    repository,
    base,
    policy,
    priority,
    attempts,
    source,
    submissionId,
    submittedAt: row.submittedAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
    ...(closedAt === null ? {} : { closedAt: closedAt.toISOString() }),
  };
}
