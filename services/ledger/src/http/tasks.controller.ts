import {
  BadRequestException,
  Controller,
  Get,
  Inject,
  NotFoundException,
  Param,
  Query,
  UseGuards,
} from '@nestjs/common';
import {
  decodeEvent,
  evolve,
  explainWait,
  initialTask,
  projectTask,
  taskIdSchema,
  taskStream,
  type TaskState,
} from '@plumbline/domain';
import { EventLog, type StreamEvent } from '@plumbline/event-log';
import type { DataSource } from 'typeorm';
import { EscalationRows, TaskRows } from '../projections/entities.js';
import { EVENT_LOG, READ_MODELS } from '../tokens.js';
import { wireOf } from '../door/read-door.js';
import { eventDocument, wholeNumber } from './log.controller.js';
import { TokenGuard } from './token.guard.js';

/** Tasks as people see them: lists from the read models, single tasks folded from the log itself. */
@Controller()
@UseGuards(TokenGuard)
export class TasksController {
  constructor(
    @Inject(EVENT_LOG) private readonly log: EventLog,
    @Inject(READ_MODELS) private readonly models: DataSource,
  ) {}

  @Get('tasks')
  async list(@Query('state') state?: string, @Query('limit') limit?: string): Promise<unknown> {
    const take = wholeNumber('limit', limit, 1, 1_000, 200);
    const rows = await this.models
      .getRepository(TaskRows)
      .find({ ...(state === undefined ? {} : { where: { phase: state } }), order: { submittedPos: 'DESC' }, take });
    const tasks = rows.map(({ taskId, phase, verdict, title, waitingFor, submittedAt, attempts }) => ({
      id: taskId,
      state: phase,
      ...(verdict === null ? {} : { verdict }),
      title,
      ...(waitingFor === null ? {} : { waitingFor }),
      attempts,
      submittedAt: submittedAt.toISOString(),
    }));
    return { schema: 'plumbline.tasks/1', tasks };
  }

  @Get('tasks/:id')
  async show(@Param('id') given: string): Promise<unknown> {
    const { state, events } = await this.task(given);
    const positions = await this.positions(events);
    return projectTask(
      state,
      events.map((event) => ({ ...wireOf(event), position: positions.get(event.eventId) ?? 0 })),
    );
  }

  @Get('tasks/:id/why')
  async why(@Param('id') given: string): Promise<unknown> {
    return explainWait((await this.task(given)).state);
  }

  /** A task's events after a log position, with long polling. */
  @Get('tasks/:id/events')
  async events(
    @Param('id') given: string,
    @Query('after') after?: string,
    @Query('waitMs') waitMs?: string,
  ): Promise<unknown> {
    const afterPos = wholeNumber('after', after, 0, Number.MAX_SAFE_INTEGER, 0);
    const deadline = performance.now() + wholeNumber('waitMs', waitMs, 0, 25_000, 0);
    const { events: known } = await this.task(given);
    const streamId = known[0]?.streamId ?? '';
    for (;;) {
      const head = (await this.log.head()).pos;
      const { rows } = await this.log.pool.query<{ pos: string }>(
        `SELECT l.pos FROM es.event e JOIN es.log l ON l.ingest_id = e.ingest_id WHERE e.stream_id = $1 AND l.pos > $2 AND l.pos <= $3 ORDER BY l.pos LIMIT 500`,
        [streamId, afterPos, head],
      );
      const events = (
        await Promise.all(rows.map((row) => this.log.readLog({ afterPos: Number(row.pos) - 1, limit: 1 })))
      ).flat();
      const left = deadline - performance.now();
      if (events.length > 0 || left <= 0) return { schema: 'plumbline.log/1', events: events.map(eventDocument), head };
      for await (const event of this.log.follow(head, AbortSignal.timeout(Math.ceil(left))))
        if (event.streamId === streamId) break;
    }
  }

  @Get('escalations')
  async escalations(@Query('open') open?: string): Promise<unknown> {
    const query = this.models
      .getRepository(EscalationRows)
      .createQueryBuilder('e')
      .orderBy('e.openedAt', 'DESC')
      .take(500);
    if (open !== 'all') query.where("e.resolvedHow IS NULL AND e.target = 'human'");
    const escalations = (await query.getMany()).map((row) => ({
      id: row.escalationId,
      task: row.taskId,
      to: row.target,
      attempt: row.attempt,
      reasons: row.reasons,
      tried: row.tried,
      openedAt: row.openedAt.toISOString(),
      ...(row.resolvedHow === null
        ? {}
        : { resolved: { how: row.resolvedHow, by: row.resolvedBy, at: row.resolvedAt?.toISOString() } }),
    }));
    return { schema: 'plumbline.escalations/1', escalations };
  }

  /** A task by its id or the beginning of it, with its history and state. */
  private async task(given: string): Promise<{ state: TaskState; events: StreamEvent[] }> {
    const taskId = await this.resolve(given);
    const events = await this.log.readStream(taskStream(taskId));
    let state = initialTask;
    for (const event of events) {
      const decoded = decodeEvent(event);
      if (decoded.outcome === 'event') state = evolve(state, { ...decoded.event, at: event.recordedAt });
    }
    return { state, events };
  }

  private async resolve(given: string): Promise<string> {
    const prefix = given.startsWith('t-') ? given : `t-${given}`;
    if (!/^t-[0-9a-z]{1,26}$/.test(prefix))
      throw new BadRequestException(
        `${JSON.stringify(given.slice(0, 60))} is no task id: expected t- and up to 26 characters of 0-9 a-z`,
      );
    const { rows } = await this.log.pool.query<{ stream_id: string }>(
      `SELECT stream_id FROM es.stream WHERE category = 'task' AND stream_id >= $1 AND stream_id < $1 || '~' ORDER BY stream_id LIMIT 2`,
      [taskStream(prefix)],
    );
    const [first, second] = rows.map((row) => row.stream_id.slice('task-'.length));
    if (first === undefined) throw new NotFoundException(`there is no task ${prefix}; list them with: plumb list`);
    if (second !== undefined && !taskIdSchema.safeParse(prefix).success)
      throw new BadRequestException(`${prefix} is the beginning of several task ids; give more of it`);
    return first;
  }

  private async positions(events: readonly StreamEvent[]): Promise<Map<string, number>> {
    const streamId = events[0]?.streamId;
    if (streamId === undefined) return new Map();
    const { rows } = await this.log.pool.query<{ event_id: string; pos: string }>(
      `SELECT e.event_id, l.pos FROM es.event e JOIN es.log l ON l.ingest_id = e.ingest_id WHERE e.stream_id = $1`,
      [streamId],
    );
    return new Map(rows.map((row) => [row.event_id, Number(row.pos)]));
  }
}
