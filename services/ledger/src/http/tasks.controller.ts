import type { ServerResponse } from 'node:http';
import { Controller, Inject } from '@nestjs/common';
import {
  adjudicate,
  explainWait,
  factsOf,
  liveSteps,
  projectTask,
  type Reason,
  type TaskState,
  type VerdictDocument,
} from '@plumbline/domain';
import type { EventLog } from '@plumbline/event-log';
import { SERVICE_CONFIG } from '@plumbline/host';
import type { DataSource } from 'typeorm';
import type { LedgerConfig } from '../config.js';
import { wireOf } from '../door/read-door.js';
import { EVENT_LOG, READ_MODELS } from '../tokens.js';
import { Cursors } from './cursor.js';
import { streamEvents } from './event-stream.js';
import { FleetView } from './fleet-view.js';
import { HeadWatch } from './head-watch.js';
import { HeldRequests } from './held-requests.js';
import { Handles, type Input, type Output } from './operation.js';
import { startOf } from './stream-start.js';
import { eventDocument, TaskHistory, toldEvent } from './task-history.js';
import { listTasks } from './task-list.js';

/** Between looks for news of one task: others may be moving all the time. */
const paceMs = 200;

/** Tasks as people see them: lists from the read models, single tasks folded from the log itself. */
@Controller()
export class TasksController {
  private readonly history: TaskHistory;

  constructor(
    @Inject(EVENT_LOG) private readonly log: EventLog,
    @Inject(READ_MODELS) private readonly models: DataSource,
    @Inject(HeadWatch) private readonly news: HeadWatch,
    @Inject(Cursors) private readonly cursors: Cursors,
    @Inject(HeldRequests) private readonly held: HeldRequests,
    @Inject(FleetView) private readonly fleet: FleetView,
    @Inject(SERVICE_CONFIG) private readonly config: LedgerConfig,
  ) {
    this.history = new TaskHistory(log);
  }

  @Handles('listTasks')
  list(query: Input<'listTasks'>): Promise<Output<'listTasks'>> {
    return listTasks(this.models, this.cursors, query);
  }

  @Handles('getTask')
  async show({ id }: Input<'getTask'>): Promise<Output<'getTask'>> {
    const { state, events } = await this.history.task(id);
    return projectTask(
      state,
      events.map((event) => ({ ...wireOf(event), ...(event.pos === null ? {} : { position: event.pos }) })),
    );
  }

  /** Why a task is where it is. For steps that wait for a model, why none can be admitted for them now. */
  @Handles('getTaskWhy')
  async why({ id }: Input<'getTaskWhy'>): Promise<Output<'getTaskWhy'>> {
    const { taskId, state } = await this.history.task(id);
    const waiting = liveSteps(state).filter((step) => step.status === 'waiting');
    const admissions = waiting.length === 0 ? {} : await this.fleet.admissions(taskId, state, waiting);
    return { schema: 'plumbline.why/1', subject: taskId, state: state.phase, reasons: explainWait(state, admissions) };
  }

  @Handles('getTaskEvents')
  async events(
    { id, after, waitMs }: Input<'getTaskEvents'>,
    response: ServerResponse,
  ): Promise<Output<'getTaskEvents'>> {
    const taskId = await this.history.resolve(id);
    const look = async () => {
      const head = (await this.log.head()).pos;
      return { head, events: await this.history.recorded(taskId, after, head) };
    };
    let found = await look();
    if (found.events.length === 0 && waitMs > 0) {
      const deadline = performance.now() + waitMs;
      await this.held.hold(response, async (over) => {
        for (let left = waitMs; left > 0 && found.events.length === 0 && !over.aborted;) {
          await this.news.beyond(found.head, left, over);
          found = await look();
          left = deadline - performance.now();
        }
      });
    }
    return { schema: 'plumbline.log/1', events: found.events.map(eventDocument), head: found.head };
  }

  @Handles('followTask')
  async follow(input: Input<'followTask'>, response: ServerResponse): Promise<void> {
    const taskId = await this.history.resolve(input.id);
    const { pos } = await this.log.head();
    const afterPos = startOf(input, pos);
    let seen = pos;
    await this.held.hold(response, (over) =>
      streamEvents(response, {
        afterPos,
        over,
        ...this.config.streams,
        read: async (from) => {
          seen = (await this.log.head()).pos;
          return (await this.history.recorded(taskId, from, seen)).map(toldEvent);
        },
        news: async (timeoutMs) => {
          await this.news.beyond(seen, timeoutMs, over);
          await this.news.pause(Math.min(paceMs, timeoutMs), over);
        },
      }),
    );
  }

  @Handles('getTaskVerdict')
  async verdict({ id }: Input<'getTaskVerdict'>): Promise<Output<'getTaskVerdict'>> {
    const { taskId, state } = await this.history.task(id);
    return verdictDocument(taskId, state);
  }
}

function verdictDocument(taskId: string, state: TaskState): VerdictDocument {
  const { submission, phase, outcome, ruling } = state;
  if (submission === undefined || phase === 'none') throw new Error('a task without a submission has no verdict');
  const attempts = state.attempts.flatMap((attempt) => {
    if (attempt.judgement === undefined) return [];
    const facts = factsOf(state, attempt);
    const { verdict, reasons } = adjudicate(submission.policy, facts);
    const agrees = verdict === attempt.judgement.verdict && kinds(reasons) === kinds(attempt.judgement.reasons);
    return [
      {
        attempt: attempt.n,
        ...(attempt.model === undefined ? {} : { model: attempt.model }),
        subject: facts.subject,
        ...attempt.judgement,
        recomputed: { verdict, reasons, agrees },
      },
    ];
  });
  const last = attempts.at(-1)?.verdict;
  return {
    schema: 'plumbline.verdict/1',
    task: taskId,
    state: phase,
    policy: submission.policy.name,
    ...(last === undefined ? {} : { verdict: outcome?.outcome === 'go-waived' ? 'GO-WAIVED' : last }),
    ...(outcome === undefined ? {} : { outcome: outcome.outcome }),
    attempts,
    ...(ruling === undefined ? {} : { ruling }),
  };
}

/** What reasons stand on, without their words: these may say more when they are recorded. */
const kinds = (reasons: readonly Reason[]): string =>
  reasons
    .map(({ check, effect }) => `${check} ${effect}`)
    .sort()
    .join('\n');
