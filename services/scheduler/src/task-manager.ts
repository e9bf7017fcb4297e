import { createHash } from 'node:crypto';
import { context as contextApi, trace, type Context } from '@opentelemetry/api';
import { commandId, contextFromTraceparent, traceparentOf, type LedgerClient, type TaskHistory } from '@plumbline/bus';
import {
  decide,
  effectsOf,
  evolve,
  fleetStream,
  initialTask,
  taskStream,
  type AppendReply,
  type AppendRequest,
  type EventData,
  type PlumblineEvent,
  type TaskInput,
  type TaskState,
} from '@plumbline/domain';
import { failpoint } from '@plumbline/failpoint';
import type { FleetView } from './fleet-view.js';

export type Handled =
  | { outcome: 'accepted'; events: PlumblineEvent[]; state: TaskState }
  | { outcome: 'refused'; code: 'UNKNOWN_TASK' | 'ILLEGAL_STATE'; message: string; history: TaskHistory }
  /** Other deciders kept getting in first; what was asked may be asked again. */
  | { outcome: 'contended' }
  /** The grants moved on since the admission was decided. */
  | { outcome: 'grants-moved' };

export interface ManagerHooks {
  /** Called with a task's state after each look at it, also when nothing followed. */
  onState: (taskId: string, state: TaskState) => void;
  onEvents: (taskId: string, events: readonly PlumblineEvent[]) => void;
}

export interface HandleOptions {
  grant?: EventData<'grant.reserved'>;
  fleetVersion?: number;
  /** Names the message this input came with: what was decided on it is recorded once, however often the message comes. */
  commandId?: string;
  /** Ends the patience with a ledger that does not answer; then the call throws the signal's reason. */
  signal?: AbortSignal;
}

const roundsMax = 8;
/** A version no stream ever has: an append that expects it is always refused. */
const neverVersion = 2_147_483_647;

/**
 * Runs the process manager on the log: reads a task's history, decides, and appends the events with their steps, timers and grants in one
 * command that expects the history to be as it was read. Whoever loses the race reads again.
 */
export class TaskManager {
  constructor(
    private readonly ledger: LedgerClient,
    private readonly fleet: FleetView,
    private readonly hooks: ManagerHooks,
  ) {}

  async handle(taskId: string, input: TaskInput, options: HandleOptions = {}): Promise<Handled> {
    for (let round = 0; round < roundsMax; round++) {
      // Taken before the history is read: a grant in this view was recorded with its step's request, so the history read next has both.
      const grants = Object.values(this.fleet.state.grants).filter((grant) => grant.taskId === taskId);
      // A submission is nearly always the first one: that nothing is there yet is found out by the append itself.
      const history =
        input.kind === 'submit' && round === 0
          ? { state: initialTask, events: [] }
          : await this.ledger.readTask(taskId, options.signal);
      const decision = decide(history.state, input);
      if (decision.outcome === 'refused') return { ...decision, history };
      const state = decision.events.reduce<TaskState>(evolve, history.state);
      const ofTask = traceOf(history);
      const reply = await contextApi.with(ofTask, () => this.record(taskId, history, decision.events, grants, options));
      if (input.kind === 'submit' && reply !== 'nothing' && reply.outcome === 'appended' && reply.duplicate) continue;
      if (reply === 'nothing' || reply.outcome === 'appended') {
        this.hooks.onState(taskId, state);
        // A repeated command was counted when it was first appended.
        if (reply !== 'nothing' && !reply.duplicate)
          contextApi.with(ofTask, () => this.hooks.onEvents(taskId, decision.events));
        return { outcome: 'accepted', events: decision.events, state };
      }
      if (reply.outcome === 'command-reused' && options.commandId !== undefined)
        return { outcome: 'accepted', events: [], state: history.state };
      if (reply.outcome !== 'wrong-expected-version')
        throw new Error(`the ledger answered ${reply.outcome} to a decision on ${taskId}`);
      if (reply.streamId === fleetStream) return { outcome: 'grants-moved' };
      // Whoever came first has looked after the task; to repeat the same requests on top of that would only double them.
      if (input.kind === 'reconcile') break;
    }
    return { outcome: 'contended' };
  }

  /** Whether what was decided on a message is recorded already, whatever happened to the task since. Records nothing. */
  async wasTaken(taskId: string, command: string, signal?: AbortSignal): Promise<boolean> {
    const events = [{ type: 'task.retried', data: { by: 'nobody', why: 'never recorded' } }];
    const reply = await this.ledger.append(
      { commandId: command, streams: [{ streamId: taskStream(taskId), expectedVersion: neverVersion, events }] },
      signal,
    );
    // The log looks at the command before it looks at the version.
    return reply.outcome === 'command-reused' || reply.outcome === 'appended';
  }

  private async record(
    taskId: string,
    history: TaskHistory,
    events: PlumblineEvent[],
    known: readonly EventData<'grant.reserved'>[],
    options: HandleOptions,
  ): Promise<AppendReply | 'nothing'> {
    const effects = effectsOf(history.state, events);
    const released = known
      .filter((grant) => !effects.grantsKept.includes(grant.grantId))
      .map((grant): PlumblineEvent => ({
        type: 'grant.released',
        data: { grantId: grant.grantId, why: 'the step it was for is over' },
      }));
    const grants: PlumblineEvent[] =
      options.grant === undefined ? released : [{ type: 'grant.reserved', data: options.grant }, ...released];
    if (events.length === 0 && grants.length === 0) return 'nothing';
    const streams: AppendRequest['streams'] = [];
    if (events.length > 0)
      streams.push({ streamId: taskStream(taskId), expectedVersion: history.state.version, events });
    if (grants.length > 0) {
      const expected = options.fleetVersion;
      streams.push({
        streamId: fleetStream,
        events: grants,
        ...(expected === undefined ? {} : { expectedVersion: expected }),
      });
    }
    const content = createHash('sha256').update(JSON.stringify(streams)).digest('hex');
    const traceparent = traceparentOf(contextApi.active());
    const request: AppendRequest = {
      commandId: options.commandId ?? commandId('decision', taskId, history.state.version, content),
      streams,
      steps: {
        open: effects.openSteps.map((step) => ({ taskId, step })),
        close: effects.closeSteps.map((step) => ({ taskId, step })),
      },
      timers: {
        set: effects.setTimers.map((timer) => ({ ...timer, taskId })),
        cancel: effects.cancelTimers,
        ...(effects.cancelAllTimers ? { cancelTask: taskId } : {}),
      },
      ...(traceparent === undefined ? {} : { traceparent }),
    };
    failpoint('decision.made');
    const reply = await this.ledger.append(request, options.signal);
    if (reply.outcome === 'appended') failpoint('decision.recorded');
    return reply;
  }
}

/**
 * Below what is being handled, if that is of the task's own trace. What leads to a decision may also be a look around, a timer, or another
 * task that made room: the decision then goes on from where the task began, and never in the other one's trace.
 */
function traceOf({ state, traceparent }: TaskHistory): Context {
  const active = contextApi.active();
  if (state.version === 0) return active;
  const own = contextFromTraceparent(traceparent);
  return trace.getSpanContext(active)?.traceId === trace.getSpanContext(own)?.traceId ? active : own;
}
