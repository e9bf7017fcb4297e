import { setTimeout as delay } from 'node:timers/promises';
import {
  decodeEvent,
  doorSubject,
  evolve,
  initialTask,
  taskStream,
  type AppendReply,
  type AppendRequest,
  type ClaimReply,
  type HeartbeatReply,
  type LeaseRequest,
  type ReadRequest,
  type RecordedEvent,
  type ReleaseReply,
  type ServiceName,
  type StreamPage,
  type TaskState,
} from '@plumbline/domain';
import { backoffMs } from './backoff.js';
import type { Bus } from './connection.js';
import { retryOf } from './errors.js';
import type { ReplyError } from './reply.js';
import { request } from './request.js';

/** The log holds something this build cannot read: a newer release wrote it. Deciding on half a history would be worse than waiting. */
export class UnreadableHistory extends Error {
  override readonly name = 'UnreadableHistory';
  readonly retry = 'later';
}

/** The ledger's door said no: to data it does not take, to an event type that is not this service's, or because it is overloaded. */
export class LedgerRefusal extends Error {
  override readonly name = 'LedgerRefusal';
  readonly code: string;
  readonly retry: 'later' | 'never';
  constructor(error: ReplyError) {
    super(`${error.code}: ${error.message}`);
    this.code = error.code;
    this.retry = error.retry;
  }
}

export interface TaskHistory {
  state: TaskState;
  events: RecordedEvent[];
  /** The trace the task was submitted under, as a W3C traceparent, if it had one. */
  traceparent?: string;
}

/** A task that is not closed. */
export interface OpenTask {
  taskId: string;
  version: number;
}

/** A ledger that was killed leaves no answer: every request may be repeated, so nobody waits for long. */
const requestTimeoutMs = 5_000;

/** A service's side of the ledger's door. Every request may be repeated: appends carry their command id, reads change nothing. */
export class LedgerClient {
  /** When `leaving` aborts, every call that is being repeated ends, throwing its reason: its service has no more time. */
  constructor(
    private readonly bus: Bus,
    private readonly service: Exclude<ServiceName, 'ledger'>,
    private readonly leaving: AbortSignal = new AbortController().signal,
  ) {}

  /**
   * Appends, repeating the same command while the ledger or the bus is away, until `signal` aborts (then it throws the signal's reason)
   * or the refusal is final (then it throws the BusError of the reply).
   */
  async append(batch: AppendRequest, signal?: AbortSignal): Promise<AppendReply> {
    return (await this.patiently('append', batch, signal)) as AppendReply;
  }

  async claim(target: { taskId: string; step: string; holder: string; traceparent?: string }): Promise<ClaimReply> {
    return (await this.once('lease', { op: 'claim', ...target } satisfies LeaseRequest)) as ClaimReply;
  }

  async heartbeat(target: { taskId: string; step: string; holder: string; epoch: number }): Promise<HeartbeatReply> {
    return (await this.once('lease', { op: 'heartbeat', ...target } satisfies LeaseRequest)) as HeartbeatReply;
  }

  async release(target: { taskId: string; step: string; holder: string; epoch: number }): Promise<ReleaseReply> {
    return (await this.once('lease', { op: 'release', ...target } satisfies LeaseRequest)) as ReleaseReply;
  }

  /** A task's whole history and the state folded from it. The state of an unknown task is {@link initialTask}. */
  async readTask(taskId: string, signal?: AbortSignal): Promise<TaskHistory> {
    const { events, traceparent } = await this.readStream(taskStream(taskId), signal);
    return {
      state: events.reduce<TaskState>(evolve, initialTask),
      events,
      ...(traceparent === undefined ? {} : { traceparent }),
    };
  }

  /** The events of a stream from a version on, in order. Empty for a stream that does not exist. @throws UnreadableHistory */
  async readStream(
    streamId: string,
    signal?: AbortSignal,
    firstVersion = 1,
  ): Promise<{ events: RecordedEvent[]; traceparent?: string }> {
    const events: RecordedEvent[] = [];
    let traceparent: string | undefined;
    let fromVersion: number | undefined = firstVersion;
    while (fromVersion !== undefined) {
      const page = (await this.patiently(
        'read',
        { op: 'stream', streamId, fromVersion } satisfies ReadRequest,
        signal,
      )) as StreamPage;
      for (const wire of page.events) {
        const decoded = decodeEvent(wire);
        if (decoded.outcome !== 'event') {
          throw new UnreadableHistory(
            `${streamId} version ${wire.version} is a ${wire.type} v${wire.schemaVersion} that this build cannot read; update this service`,
          );
        }
        traceparent ??= wire.traceparent;
        events.push({
          ...decoded.event,
          eventId: wire.eventId,
          streamId: wire.streamId,
          version: wire.version,
          at: wire.at,
        });
      }
      fromVersion = page.next;
    }
    return { events, ...(traceparent === undefined ? {} : { traceparent }) };
  }

  /** All tasks that are not closed, oldest first, each with the version of its history. May be behind by a moment. */
  async openTasks(signal?: AbortSignal): Promise<OpenTask[]> {
    const all: OpenTask[] = [];
    for (;;) {
      const after = all.at(-1)?.taskId;
      const page = (await this.patiently(
        'read',
        { op: 'open-tasks', ...(after === undefined ? {} : { after }) } satisfies ReadRequest,
        signal,
      )) as { tasks: OpenTask[]; more: boolean };
      all.push(...page.tasks);
      if (!page.more || page.tasks.length === 0) return all;
    }
  }

  /**
   * Steps to be requested again: without a live lease for `olderThanMs` or more, and last requested so long ago; twice as long after every
   * further request, at most 10 minutes. The most urgent ones, not necessarily all.
   */
  async idleSteps(olderThanMs: number, signal?: AbortSignal): Promise<{ taskId: string; step: string }[]> {
    return (
      (await this.patiently('read', { op: 'idle-steps', olderThanMs } satisfies ReadRequest, signal)) as {
        steps: { taskId: string; step: string }[];
      }
    ).steps;
  }

  async streams(category: 'node' | 'fleet', signal?: AbortSignal): Promise<string[]> {
    return (
      (await this.patiently('read', { op: 'streams', category } satisfies ReadRequest, signal)) as { streams: string[] }
    ).streams;
  }

  private async once(door: 'append' | 'lease' | 'read', body: unknown): Promise<unknown> {
    const reply = await request(this.bus, doorSubject(door, this.service), body, { timeoutMs: requestTimeoutMs });
    if (reply.ok) return reply.value;
    throw new LedgerRefusal(reply.error);
  }

  private async patiently(door: 'append' | 'read', body: unknown, signal?: AbortSignal): Promise<unknown> {
    for (let tries = 1; ; tries++) {
      this.leaving.throwIfAborted();
      signal?.throwIfAborted();
      try {
        return await this.once(door, body);
      } catch (error) {
        if (retryOf(error) !== 'later') throw error;
        // Without a signal somebody above retries; a minute of patience bridges a restart of the ledger.
        if (signal === undefined && tries >= 12) throw error;
        const pauseMs = backoffMs(tries, { baseMs: 100, capMs: 10_000 }, Math.random);
        const stop = signal === undefined ? this.leaving : AbortSignal.any([this.leaving, signal]);
        // The reason of the abort is thrown at the next turn, not the timer's own.
        await delay(pauseMs, undefined, { signal: stop }).catch(() => undefined);
      }
    }
  }
}
