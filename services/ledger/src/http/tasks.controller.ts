import type { ServerResponse } from 'node:http';
import {
  BadRequestException,
  Controller,
  Get,
  Inject,
  NotFoundException,
  Param,
  Query,
  Res,
  UseGuards,
} from '@nestjs/common';
import {
  admit,
  decodeEvent,
  evolve,
  evolveFleet,
  explainWait,
  initialFleet,
  initialTask,
  liveSteps,
  problemsOf,
  projectTask,
  taskIdSchema,
  taskStream,
  type StepState,
  type TaskState,
  type WaitReason,
} from '@plumbline/domain';
import { EventLog, type RecordedEvent, type StreamEvent } from '@plumbline/event-log';
import { In, type DataSource } from 'typeorm';
import { EscalationRows, TaskRows } from '../projections/entities.js';
import { listTasks, taskQuerySchema } from './task-list.js';
import { Cursors } from './cursor.js';
import { EVENT_LOG, READ_MODELS } from '../tokens.js';
import { wireOf } from '../door/read-door.js';
import { HeadWatch } from './head-watch.js';
import { eventDocument, goneSignal, wholeNumber } from './log.controller.js';
import { TokenGuard } from './token.guard.js';

/** Tasks as people see them: lists from the read models, single tasks folded from the log itself. */
@Controller('v1')
@UseGuards(TokenGuard)
export class TasksController {
  constructor(
    @Inject(EVENT_LOG) private readonly log: EventLog,
    @Inject(READ_MODELS) private readonly models: DataSource,
    @Inject(HeadWatch) private readonly news: HeadWatch,
    @Inject(Cursors) private readonly cursors: Cursors,
  ) {}

  @Get('tasks')
  async list(@Query() given: Record<string, unknown>): Promise<unknown> {
    const parsed = taskQuerySchema.safeParse(given);
    if (!parsed.success) {
      const [problem] = problemsOf(parsed.error, given);
      throw new BadRequestException(`${problem?.field}: got ${problem?.value}, expected ${problem?.expected}`);
    }
    return listTasks(this.models, this.cursors, parsed.data);
  }

  @Get('tasks/:id')
  async show(@Param('id') given: string): Promise<unknown> {
    const { state, events } = await this.task(given);
    return projectTask(
      state,
      events.map((event) => ({ ...wireOf(event), ...(event.pos === null ? {} : { position: event.pos }) })),
    );
  }

  /** Why a task is where it is. For steps that wait for a model, why none can be admitted for them now. */
  @Get('tasks/:id/why')
  async why(@Param('id') given: string): Promise<unknown> {
    const { state } = await this.task(given);
    const subject = state.submission?.taskId ?? given;
    const waiting = liveSteps(state).filter((step) => step.status === 'waiting');
    const admissions = waiting.length === 0 ? {} : await this.admissions(subject, state, waiting);
    return { schema: 'plumbline.why/1', subject, state: state.phase, reasons: explainWait(state, admissions) };
  }

  /** A task's events after a log position, with long polling. */
  @Get('tasks/:id/events')
  async events(
    @Res({ passthrough: true }) response: ServerResponse,
    @Param('id') given: string,
    @Query('after') after?: string,
    @Query('waitMs') waitMs?: string,
  ): Promise<unknown> {
    const afterPos = wholeNumber('after', after, 0, Number.MAX_SAFE_INTEGER, 0);
    const deadline = performance.now() + wholeNumber('waitMs', waitMs, 0, 25_000, 0);
    const streamId = taskStream(await this.resolve(given));
    const gone = goneSignal(response);
    for (;;) {
      const head = (await this.log.head()).pos;
      const events = await this.recorded(streamId, afterPos, head);
      const left = deadline - performance.now();
      if (events.length > 0 || left <= 0 || gone.aborted)
        return { schema: 'plumbline.log/1', events: events.map(eventDocument), head };
      await this.news.beyond(head, left, gone);
    }
  }

  @Get('escalations')
  async escalations(@Query('open') open?: string): Promise<unknown> {
    const query = this.models
      .getRepository(EscalationRows)
      .createQueryBuilder('e')
      .orderBy('e.openedAt', open === 'all' ? 'DESC' : 'ASC')
      .take(500);
    if (open !== 'all') query.where("e.resolvedHow IS NULL AND e.target = 'human'");
    const rows = await query.getMany();
    const tasks = await this.models.getRepository(TaskRows).findBy({ taskId: In(rows.map((row) => row.taskId)) });
    const titles = new Map(tasks.map((task) => [task.taskId, task.title]));
    const escalations = rows.map((row) => ({
      escalation: row.escalationId,
      task: row.taskId,
      title: titles.get(row.taskId) ?? '',
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

  /** A stream's events between two positions, the first 500 of them. */
  private async recorded(streamId: string, afterPos: number, head: number): Promise<RecordedEvent[]> {
    const { rows } = await this.log.pool.query<{ version: number; chain_hash: Buffer }>(
      `SELECT e.version, l.chain_hash FROM es.event e JOIN es.log l ON l.ingest_id = e.ingest_id
        WHERE e.stream_id = $1 AND l.pos > $2 AND l.pos <= $3 ORDER BY e.version LIMIT 500`,
      [streamId, afterPos, head],
    );
    const [first] = rows;
    if (first === undefined) return [];
    const chain = new Map(rows.map((row) => [row.version, row.chain_hash.toString('hex')]));
    const events = await this.log.readStream(streamId, { fromVersion: first.version, limit: rows.length });
    return events.flatMap((event) => {
      const chainHash = chain.get(event.version);
      return event.pos === null || chainHash === undefined ? [] : [{ ...event, pos: event.pos, chainHash }];
    });
  }

  /** What the scheduler would be told if it asked for the models of these steps now. */
  private async admissions(
    taskId: string,
    state: TaskState,
    waiting: readonly StepState[],
  ): Promise<Record<string, WaitReason[]>> {
    const { rows } = await this.log.pool.query<{ stream_id: string }>(
      "SELECT stream_id FROM es.stream WHERE category IN ('node', 'fleet') ORDER BY stream_id",
    );
    let fleet = initialFleet;
    for (const { stream_id: streamId } of rows) {
      for (const event of await this.log.readStream(streamId)) {
        const decoded = decodeEvent(event);
        if (decoded.outcome === 'event') fleet = evolveFleet(fleet, decoded.event);
      }
    }
    const answers = waiting.map((step): [string, WaitReason[]] => {
      const tier = state.attempts.find((attempt) => attempt.n === step.attempt)?.tier ?? state.tier;
      const admission = admit(fleet, { taskId, step: step.id, seat: step.seat ?? 'coder', tier });
      return [step.id, admission.outcome === 'waits' ? admission.reasons : []];
    });
    return Object.fromEntries(answers);
  }
}
