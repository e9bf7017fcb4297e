import { setTimeout as delay } from 'node:timers/promises';
import { context as contextApi, SpanKind, trace } from '@opentelemetry/api';
import {
  leaseHeartbeatMs,
  leaseSelfAbortMs,
  parseStepId,
  StepFault,
  stepIdSchema,
  taskIdSchema,
  taskStream,
  type ClaimReply,
  type FaultCode,
  type PlumblineEvent,
  type RecordedEvent,
  type ServiceName,
  type StepId,
  type StepName,
  type TaskState,
} from '@plumbline/domain';
import { failpoint, isArmed } from '@plumbline/failpoint';
import { ArtifactError } from './artifact-client.js';
import { backoffMs } from './backoff.js';
import { commandId } from './command-id.js';
import type { Bus } from './connection.js';
import type { BusMessage, Consumption, Outcome } from './consume.js';
import { consumeService } from './consume-service.js';
import { describeError, retryOf } from './errors.js';
import type { LedgerClient } from './ledger-client.js';
import { publishLive } from './live.js';
import { traceparentOf, withSpan } from './trace.js';

/** Why a running step was told to stop. `lost`: the lease is somebody else's, or the ledger was out of reach for too long. */
export class StepStopped extends Error {
  override readonly name = 'StepStopped';
  constructor(readonly why: 'cancelled' | 'lost' | 'shutdown') {
    super(`the step was stopped: ${why}`);
  }
}

/** A step of a task, held under a lease by this worker. */
export interface HeldStep {
  taskId: string;
  id: StepId;
  name: StepName;
  epoch: number;
  /** The task and its history as they were when the lease was granted. */
  task: TaskState;
  history: readonly RecordedEvent[];
  /** Aborts with a {@link StepStopped} when the step must not go on. */
  signal: AbortSignal;
  /** Appends facts under the lease, at once. `key` names them within the step: the same key is recorded once. */
  record(key: string, events: PlumblineEvent[]): Promise<void>;
  /** Tells whoever watches; not stored. */
  live(message: Record<string, unknown>): void;
}

export interface StepWorkerOptions {
  bus: Bus;
  ledger: LedgerClient;
  service: Exclude<ServiceName, 'ledger'>;
  /** Who holds the leases: `<service>/<instance>`. */
  holder: string;
  /** By durable name: how many steps at once, and what to do with one. A handler returns the facts that end the step. */
  work: Readonly<Record<string, { concurrency: number; handle: (step: HeldStep) => Promise<PlumblineEvent[]> }>>;
  /** The event that records a failure of a step of this service. */
  failure: (step: HeldStep, code: FaultCode, detail: string) => PlumblineEvent;
  onStep?: (report: StepReport) => void;
  onError?: (error: unknown, where: { taskId?: string; step?: string }) => void;
}

/** How one delivery of a step request ended. `refused`: somebody else holds it or it is over, which is how most repetitions end. */
export interface StepReport {
  taskId: string;
  step: StepId;
  outcome: 'done' | 'failed' | 'refused' | 'stopped' | 'stale';
  code?: FaultCode;
  durationMs: number;
}

const claimTriesMax = 6;

type GrantedClaim = Extract<ClaimReply, { outcome: 'granted' }>;

const leaseKey = ({ taskId, step }: { taskId: string; step: StepId }, epoch: number): string =>
  `${taskId} ${step} ${epoch}`;
const leaseTypes: ReadonlySet<string> = new Set(['lease.granted', 'lease.expired', 'lease.released']);

/** A step in this worker's hands. Once its end is being recorded a shutdown waits for it: the work is done, only the telling is left. */
interface Running {
  controller: AbortController;
  recordingEnd: boolean;
}

/**
 * The loop of every worker: consume a request, claim its lease, do the work, append the facts. The message is acknowledged once the
 * lease is granted; from then on only the lease counts. A worker that hears nothing of its lease for 45 s gives up by itself.
 */
export class StepWorker {
  private readonly consumption: Consumption;
  private readonly running = new Set<Running>();
  /** The leases that this process has, whichever delivery got them: none is ever worked under twice at once. */
  private readonly inHand = new Set<string>();
  private stopping = false;

  constructor(private readonly options: StepWorkerOptions) {
    const handlers = Object.entries(options.work).map(([durable, { concurrency, handle }]) => [
      durable,
      { concurrency, handler: (message: BusMessage) => this.take(message, handle) },
    ]);
    this.consumption = consumeService(options.bus, {
      service: options.service,
      handlers: Object.fromEntries(handlers),
      onError: (error, origin) => options.onError?.(error, { step: origin.subject }),
    });
  }

  get inFlight(): number {
    return this.consumption.inFlight;
  }

  /**
   * Takes nothing new, stops what runs and hands its leases back; what is done already is still recorded. After `deadlineMs` returns all
   * the same: leases that could not be handed back expire.
   */
  async stop(deadlineMs = 15_000): Promise<void> {
    this.stopping = true;
    const stopped = this.consumption.stop({ deadlineMs });
    for (const { controller, recordingEnd } of this.running)
      if (!recordingEnd) controller.abort(new StepStopped('shutdown'));
    await stopped;
    for (const { controller } of this.running) controller.abort(new StepStopped('shutdown'));
  }

  private async take(message: BusMessage, handle: (step: HeldStep) => Promise<PlumblineEvent[]>): Promise<Outcome> {
    const target = targetOf(message);
    if (target === undefined) return { outcome: 'dead', reason: `not a step request: ${message.subject}` };
    const { holder, service } = this.options;
    const attributes = { 'plumb.task.id': target.taskId, 'plumb.step.id': target.step };
    return withSpan(`${service} ${target.step}`, SpanKind.CONSUMER, message.trace, attributes, async (span, ctx) => {
      const startedAt = performance.now();
      const traceparent = traceparentOf(ctx);
      const claim = await this.claim({ ...target, holder, ...(traceparent === undefined ? {} : { traceparent }) });
      span.setAttribute('plumb.claim.outcome', claim.outcome);
      if (claim.outcome === 'unknown-step')
        return { outcome: 'dead', reason: `the ledger knows no step ${target.step} of ${target.taskId}` };
      if (claim.outcome === 'granted' && this.stopping) {
        await this.handBack(target, claim.epoch);
        this.inHand.delete(leaseKey(target, claim.epoch));
        return { outcome: 'nak', delayMs: 100 };
      }
      if (claim.outcome === 'granted') failpoint('step.claimed');
      message.ackNow();
      if (isArmed('step.acknowledged') && claim.outcome === 'granted') {
        await this.options.bus.nc.flush();
        failpoint('step.acknowledged');
      }
      if (claim.outcome !== 'granted')
        this.report({ ...target, outcome: 'refused', durationMs: performance.now() - startedAt });
      else
        this.report({
          ...target,
          ...(await this.hold(target, claim.epoch, handle)),
          durationMs: performance.now() - startedAt,
        });
      return { outcome: 'ack' };
    });
  }

  /**
   * Claims a step, again when no answer came. An unanswered claim may have been granted: then the next one finds the lease held by this
   * very worker, and the history says under which epoch.
   */
  private async claim(request: {
    taskId: string;
    step: StepId;
    holder: string;
    traceparent?: string;
  }): Promise<ClaimReply> {
    const { ledger } = this.options;
    for (let tries = 1; ; tries++) {
      try {
        const reply = await ledger.claim(request);
        if (reply.outcome === 'granted') return this.takeInHand(request, reply);
        if (tries === 1 || reply.outcome !== 'held' || reply.holder !== request.holder) return reply;
        const { events } = await ledger.readTask(request.taskId);
        const last = events.findLast(
          (event): event is Extract<RecordedEvent, { type: 'lease.granted' | 'lease.expired' | 'lease.released' }> =>
            leaseTypes.has(event.type) && (event.data as { step?: string }).step === request.step,
        );
        if (last?.type !== 'lease.granted' || last.data.holder !== request.holder) return reply;
        // Granted to another delivery of the same request, here and now: that one works under it.
        if (this.inHand.has(leaseKey(request, last.data.epoch))) return reply;
        return this.takeInHand(request, { outcome: 'granted', epoch: last.data.epoch, expiresInMs: reply.expiresInMs });
      } catch (error) {
        if (retryOf(error) !== 'later' || tries >= claimTriesMax || this.stopping) throw error;
        await delay(backoffMs(tries, { baseMs: 200, capMs: 5_000 }, Math.random));
      }
    }
  }

  private takeInHand(target: { taskId: string; step: StepId }, granted: GrantedClaim): ClaimReply {
    this.inHand.add(leaseKey(target, granted.epoch));
    return granted;
  }

  /** Runs the handler under the lease and records how it ended. Never throws: the message is acknowledged, nobody would redeliver it. */
  private async hold(
    target: { taskId: string; step: StepId },
    epoch: number,
    handle: (step: HeldStep) => Promise<PlumblineEvent[]>,
  ): Promise<Pick<StepReport, 'outcome' | 'code'>> {
    const running: Running = { controller: new AbortController(), recordingEnd: false };
    const { signal } = running.controller;
    this.running.add(running);
    const heart = this.beat(target, epoch, running.controller);
    try {
      const { state, events } = await this.options.ledger.readTask(target.taskId, signal);
      const step = this.heldStep(target, epoch, state, events, signal);
      const { end, code } = await this.attempt(step, handle);
      failpoint('step.worked');
      signal.throwIfAborted();
      running.recordingEnd = true;
      return await this.recordEnd(step, end, code);
    } catch (error) {
      return this.stopped(target, epoch, signal, error);
    } finally {
      clearInterval(heart);
      this.running.delete(running);
      this.inHand.delete(leaseKey(target, epoch));
    }
  }

  /** Records the end of a step. Facts that the ledger does not take, however often, are a failure of this harness, and recorded as one. */
  private async recordEnd(
    step: HeldStep,
    end: PlumblineEvent[],
    code: FaultCode | undefined,
  ): Promise<Pick<StepReport, 'outcome' | 'code'>> {
    const target = { taskId: step.taskId, step: step.id };
    try {
      const appended = await this.appendFacts(target, step.epoch, 'end', end, true, step.signal);
      if (!appended) return { outcome: 'stale' };
      failpoint('step.recorded');
      return code === undefined ? { outcome: 'done' } : { outcome: 'failed', code };
    } catch (error) {
      if (retryOf(error) !== 'never' || step.signal.aborted) throw error;
      this.options.onError?.(error, target);
      const failure = this.options.failure(step, 'HARNESS_BUG', describeError(error));
      const appended = await this.appendFacts(target, step.epoch, 'end refused', [failure], true, step.signal);
      return appended ? { outcome: 'failed', code: 'HARNESS_BUG' } : { outcome: 'stale' };
    }
  }

  private heldStep(
    target: { taskId: string; step: StepId },
    epoch: number,
    task: TaskState,
    history: readonly RecordedEvent[],
    signal: AbortSignal,
  ): HeldStep {
    return {
      taskId: target.taskId,
      id: target.step,
      name: parseStepId(target.step),
      epoch,
      task,
      history,
      signal,
      record: async (key, events) => {
        if (!(await this.appendFacts(target, epoch, `fact ${key}`, events, false, signal)))
          throw new StepStopped('lost');
        failpoint('step.fact-recorded');
      },
      live: (message) => void publishLive(this.options.bus, target.taskId, { step: target.step, ...message }),
    };
  }

  /** The handler's facts, or the one fact that it failed. A stop is neither: it goes on upwards. */
  private async attempt(
    step: HeldStep,
    handle: (step: HeldStep) => Promise<PlumblineEvent[]>,
  ): Promise<{ end: PlumblineEvent[]; code?: FaultCode }> {
    try {
      return { end: await handle(step) };
    } catch (error) {
      if (step.signal.aborted || error instanceof StepStopped) throw error;
      this.options.onError?.(error, { taskId: step.taskId, step: step.id });
      const code = codeOf(error);
      const detail = (error instanceof StepFault ? error.message : describeError(error)).slice(0, 2000);
      return { end: [this.options.failure(step, code, detail)], code };
    }
  }

  private async stopped(
    target: { taskId: string; step: StepId },
    epoch: number,
    signal: AbortSignal,
    error: unknown,
  ): Promise<Pick<StepReport, 'outcome'>> {
    const why =
      signal.reason instanceof StepStopped ? signal.reason.why : error instanceof StepStopped ? error.why : undefined;
    if (why === undefined) this.options.onError?.(error, target);
    if (why === 'lost' || why === 'cancelled') return { outcome: 'stopped' };
    await this.handBack(target, epoch);
    return { outcome: 'stopped' };
  }

  /** Hands a lease back, so that another worker need not wait for it to expire. If this fails, the expiry does it. */
  private async handBack(target: { taskId: string; step: StepId }, epoch: number): Promise<void> {
    const { ledger, holder } = this.options;
    await ledger.release({ ...target, holder, epoch }).catch((cause: unknown) => this.options.onError?.(cause, target));
  }

  /** Appends under the lease. False when the lease is not ours any more: the result is stale and changes nothing. */
  private async appendFacts(
    target: { taskId: string; step: StepId },
    epoch: number,
    key: string,
    events: PlumblineEvent[],
    release: boolean,
    signal: AbortSignal,
  ): Promise<boolean> {
    const traceparent = traceparentOf(contextApi.active());
    const reply = await this.options.ledger.append(
      {
        commandId: commandId(target.taskId, target.step, epoch, key),
        streams: [{ streamId: taskStream(target.taskId), events: events.map(({ type, data }) => ({ type, data })) }],
        fence: { taskId: target.taskId, step: target.step, epoch, release },
        ...(traceparent === undefined ? {} : { traceparent }),
      },
      signal,
    );
    if (reply.outcome === 'appended') return true;
    if (reply.outcome === 'fenced') return false;
    throw new Error(`the ledger answered ${reply.outcome} to facts of ${target.step}`);
  }

  /** Heartbeats the lease; aborts the step when it is cancelled or lost, or when nothing was heard of it for too long. */
  private beat(target: { taskId: string; step: StepId }, epoch: number, controller: AbortController): NodeJS.Timeout {
    let heardAt = performance.now();
    let asking = false;
    const ask = async (): Promise<void> => {
      const askedAt = performance.now();
      const reply = await this.options.ledger.heartbeat({ ...target, holder: this.options.holder, epoch });
      if (reply.outcome === 'ok') heardAt = Math.max(heardAt, askedAt);
      else controller.abort(new StepStopped(reply.outcome === 'cancelled' ? 'cancelled' : 'lost'));
    };
    let dueAt = heardAt + leaseHeartbeatMs;
    return setInterval(() => {
      const now = performance.now();
      if (now - heardAt > leaseSelfAbortMs) controller.abort(new StepStopped('lost'));
      if (asking || now < dueAt || controller.signal.aborted) return;
      asking = true;
      dueAt = now + leaseHeartbeatMs;
      ask()
        // Asked again in a second: an unanswered heartbeat costs patience, not the step.
        .catch(() => (dueAt = performance.now() + 1_000))
        .finally(() => (asking = false));
    }, 500);
  }

  private report(report: StepReport): void {
    trace.getActiveSpan()?.setAttribute('plumb.step.outcome', report.outcome);
    this.options.onStep?.(report);
  }
}

/** What the system says when the machine has run out of something, whoever of us was writing. */
const machineCodes = new Set(['ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE', 'ENOMEM', 'EIO']);

/** The code of whatever a handler threw. Only what says so is a fault of the machine; the rest is ours. */
function codeOf(error: unknown): FaultCode {
  if (error instanceof StepFault) return error.code;
  if (machineCodes.has(String((error as NodeJS.ErrnoException | undefined)?.code))) return 'WORKSPACE_SETUP';
  if (retryOf(error) !== 'later') return 'HARNESS_BUG';
  return error instanceof ArtifactError ? 'ARTIFACT_UNAVAILABLE' : 'WORKSPACE_SETUP';
}

/** The step a request is about: the task from its subject, the step from its data. Undefined when it is no step request. */
function targetOf(message: BusMessage): { taskId: string; step: StepId } | undefined {
  const taskId = taskIdSchema.safeParse(message.subject.split('.').at(-1));
  const body = message.json() as { step?: unknown } | null;
  const step = stepIdSchema.safeParse(body?.step);
  return taskId.success && step.success ? { taskId: taskId.data, step: step.data } : undefined;
}
