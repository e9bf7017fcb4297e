import { Controller, Inject } from '@nestjs/common';
import type { EscalationDocument, VerdictsDocument } from '@plumbline/domain';
import { In, type DataSource } from 'typeorm';
import { EscalationRows, TaskRows, VerdictRows, type EscalationRow } from '../projections/entities.js';
import { READ_MODELS } from '../tokens.js';
import { Cursors } from './cursor.js';
import { Handles, type Input, type Output } from './operation.js';
import { pageOf, placeOf } from './page.js';
import { ApiProblem } from './problems.js';

/** Verdicts and escalations over all tasks, from the read models. */
@Controller()
export class VerdictsController {
  constructor(
    @Inject(READ_MODELS) private readonly models: DataSource,
    @Inject(Cursors) private readonly cursors: Cursors,
  ) {}

  @Handles('listVerdicts')
  async verdicts({ limit, cursor, ...filters }: Input<'listVerdicts'>): Promise<Output<'listVerdicts'>> {
    const query = this.models.getRepository(VerdictRows).createQueryBuilder('v').orderBy('v.pos', 'DESC');
    const { verdict, policy, since, until } = filters;
    if (verdict !== undefined) query.andWhere('v.verdict = :verdict', { verdict });
    if (policy !== undefined) query.andWhere('v.policy = :policy', { policy });
    if (since !== undefined) query.andWhere('v.reached_at >= :since', { since: new Date(since) });
    if (until !== undefined) query.andWhere('v.reached_at < :until', { until: new Date(until) });
    const place = placeOf(this.cursors, 'verdicts', filters, cursor);
    if (place !== undefined) query.andWhere('v.pos < :place', { place });
    const found = await query.take(limit + 1).getMany();
    const { rows, next } = pageOf(this.cursors, 'verdicts', filters, found, limit, (row) => row.pos);
    const titles = await this.titles(rows.map((row) => row.taskId));
    const verdicts = rows.map((row) => ({
      task: row.taskId,
      title: titles.get(row.taskId) ?? '',
      attempt: row.attempt,
      verdict: row.verdict,
      policy: row.policy,
      ...(row.tree === null ? {} : { tree: row.tree }),
      reasons: row.reasons,
      position: Number(row.pos),
      at: row.reachedAt.toISOString(),
    })) satisfies VerdictsDocument['verdicts'];
    return { schema: 'plumbline.verdicts/1', verdicts, ...next };
  }

  @Handles('listEscalations')
  async escalations({ limit, cursor, ...filters }: Input<'listEscalations'>): Promise<Output<'listEscalations'>> {
    const open = filters.state === 'open';
    const query = this.models
      .getRepository(EscalationRows)
      .createQueryBuilder('e')
      .orderBy('e.openedPos', open ? 'ASC' : 'DESC');
    if (open) query.where("e.resolved_how IS NULL AND e.target = 'human'");
    if (filters.state === 'resolved') query.where('e.resolved_how IS NOT NULL');
    const place = placeOf(this.cursors, 'escalations', filters, cursor);
    if (place !== undefined) query.andWhere(open ? 'e.opened_pos > :place' : 'e.opened_pos < :place', { place });
    const found = await query.take(limit + 1).getMany();
    const { rows, next } = pageOf(this.cursors, 'escalations', filters, found, limit, (row) => row.openedPos);
    const titles = await this.titles(rows.map((row) => row.taskId));
    return { schema: 'plumbline.escalations/1', escalations: rows.map((row) => entry(row, titles)), ...next };
  }

  @Handles('getEscalation')
  async escalation({ escalation }: Input<'getEscalation'>): Promise<Output<'getEscalation'>> {
    const row = await this.models.getRepository(EscalationRows).findOneBy({ escalationId: escalation });
    if (row === null) throw new ApiProblem('not-found', `there is no escalation ${escalation}`);
    return { schema: 'plumbline.escalation/1', escalation: entry(row, await this.titles([row.taskId])) };
  }

  private async titles(taskIds: readonly string[]): Promise<Map<string, string>> {
    const ids = [...new Set(taskIds)];
    const tasks = await this.models
      .getRepository(TaskRows)
      .find({ select: { taskId: true, title: true }, where: { taskId: In(ids) } });
    return new Map(tasks.map((task) => [task.taskId, task.title]));
  }
}

function entry(row: EscalationRow, titles: ReadonlyMap<string, string>): EscalationDocument['escalation'] {
  const { escalationId, taskId, target, attempt, reasons, tried, openedAt, resolvedHow, resolvedBy, resolvedAt } = row;
  return {
    escalation: escalationId,
    task: taskId,
    title: titles.get(taskId) ?? '',
    to: target,
    attempt,
    reasons,
    tried,
    openedAt: openedAt.toISOString(),
    ...(resolvedHow === null || resolvedBy === null || resolvedAt === null
      ? {}
      : { resolved: { how: resolvedHow, by: resolvedBy, at: resolvedAt.toISOString() } }),
  };
}
