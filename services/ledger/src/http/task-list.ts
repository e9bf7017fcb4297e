import type { TasksDocument } from '@plumbline/domain';
import type { DataSource } from 'typeorm';
import { TaskRows, type TaskRow } from '../projections/entities.js';
import type { Cursors } from './cursor.js';
import type { Input } from './operation.js';
import { pageOf, placeOf } from './page.js';

type Filters = Omit<Input<'listTasks'>, 'limit' | 'cursor'>;

/** Every filter as SQL on a row `t` with its value as a parameter of its name. */
const conditions: Readonly<Record<keyof Filters, string>> = {
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
export async function listTasks(
  models: DataSource,
  cursors: Cursors,
  { limit, cursor, ...filters }: Input<'listTasks'>,
): Promise<TasksDocument> {
  const select = models.getRepository(TaskRows).createQueryBuilder('t').orderBy('t.submittedPos', 'DESC');
  for (const [name, value] of Object.entries(filters))
    if (value !== undefined) select.andWhere(conditions[name as keyof Filters], { [name]: bound(name, value) });
  const place = placeOf(cursors, 'tasks', filters, cursor);
  if (place !== undefined) select.andWhere('t.submitted_pos < :place', { place });
  const found = await select.take(limit + 1).getMany();
  const { rows, next } = pageOf(cursors, 'tasks', filters, found, limit, (row) => row.submittedPos);
  return { schema: 'plumbline.tasks/1', tasks: rows.map(taskEntry), ...next };
}

/** As a date, so that years Postgres writes otherwise (0000) are not taken for errors. */
const bound = (name: string, value: string): unknown => (/(Since|Until)$/.test(name) ? new Date(value) : value);

function taskEntry(row: TaskRow): TasksDocument['tasks'][number] {
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
