import { randomUUID } from 'node:crypto';
import { headers as natsHeaders } from '@nats-io/transport-node';
import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SpanKind, trace, type Context } from '@opentelemetry/api';
import {
  BusError,
  consumeService,
  contextFromTraceparent,
  LedgerClient,
  refuse,
  serve,
  toStructured,
  withSpan,
  type Bus,
  type BusMessage,
  type Consumption,
  type Outcome,
  type Reply,
  type Serving,
} from '@plumbline/bus';
import { grantedBytes, type IntakeKind, type PlumblineEvent } from '@plumbline/domain';
import {
  BUS,
  DRAINS,
  HEALTH,
  LOG,
  METRICS,
  SERVICE_CONFIG,
  type Drains,
  type Health,
  type Log,
  type Metrics,
} from '@plumbline/host';
import type { SchedulerConfig } from './config.js';
import { Facts } from './facts.js';
import { FleetView } from './fleet-view.js';
import { Intake, type IntakeResult } from './intake.js';
import { schedulerMetrics, type SchedulerMetrics } from './metrics.js';
import { Reconciler } from './reconciler.js';
import { Seating } from './seating.js';
import { TaskManager } from './task-manager.js';
import { WaitingNotes } from './waiting-notes.js';

const drainMs = 10_000;
/** Whoever asks wants an answer while they wait for it. */
const requestPatienceMs = 8_000;
const intakePrefix = 'plumb.intake.task.';
const requestKinds: readonly IntakeKind[] = ['submit', 'cancel', 'rule', 'retry'];

/** Wires the scheduler: intake and facts come in, decisions go to the log, waiting steps get their models, the reconciler looks after all. */
@Injectable()
export class SchedulerService implements OnApplicationBootstrap {
  private readonly measures: SchedulerMetrics;
  private readonly fleet: FleetView;
  private readonly manager: TaskManager;
  private readonly seating: Seating;
  private readonly intake: Intake;
  private readonly facts: Facts;
  private readonly reconciler: Reconciler;
  private consumption: Consumption | undefined;
  private serving: Serving[] = [];
  private gauges: NodeJS.Timeout | undefined;
  /** Aborted once everything in flight had its time: from then on nobody waits for a ledger that does not answer. */
  private readonly leaving = new AbortController();

  constructor(
    @Inject(BUS) private readonly bus: Bus,
    @Inject(LOG) private readonly log: Log,
    @Inject(METRICS) metrics: Metrics,
    @Inject(HEALTH) private readonly health: Health,
    @Inject(DRAINS) private readonly drains: Drains,
    @Inject(SERVICE_CONFIG) private readonly config: SchedulerConfig,
  ) {
    this.measures = metrics.register(schedulerMetrics);
    const ledger = new LedgerClient(bus, 'scheduler', this.leaving.signal);
    const onError = (what: string) => (err: unknown) => this.log.error({ err }, `${what} failed; it goes on`);
    this.fleet = new FleetView(ledger);
    this.manager = new TaskManager(ledger, this.fleet, {
      onState: (taskId, state) => this.seating.update(taskId, state),
      onEvents: (taskId, events) => this.count(taskId, events),
    });
    const notes = new WaitingNotes(() => this.manager, onError('a note of why a step waits'));
    this.seating = new Seating(this.fleet, () => this.manager, {
      onWaits: (step, reasons) => notes.note(step, reasons),
      onError: onError('seating'),
    });
    this.intake = new Intake(this.manager, { allowLocal: config.allowLocal });
    this.facts = new Facts(this.manager, this.fleet, this.seating);
    this.reconciler = new Reconciler(ledger, this.manager, this.fleet, this.seating, {
      idleAfterMs: config.stepIdleAfterMs,
      intervalMs: config.reconcileIntervalMs,
      onError: onError('the reconciler'),
      onRound: () => this.measures.plumb_reconciliations_total.inc(1),
    });
  }

  async onApplicationBootstrap(): Promise<void> {
    const handlers = {
      'scheduler-intake': {
        concurrency: this.config.concurrency,
        handler: (message: BusMessage) => this.takeIntake(message),
      },
      'scheduler-facts': {
        concurrency: this.config.concurrency,
        handler: (message: BusMessage) => this.takeFact(message),
      },
    };
    this.consumption = consumeService(this.bus, {
      service: 'scheduler',
      handlers,
      onError: (err, origin) => this.log.error({ err, subject: origin.subject }, 'a message was not handled'),
    });
    for (const kind of requestKinds) await this.serveRequests(kind);
    this.reconciler.start();
    this.gauges = setInterval(() => this.measure(), 1_000);
    this.health.register('intake', () =>
      Promise.resolve({ ok: true, detail: `${this.seating.count} steps wait for a model` }),
    );
    this.drains.register('scheduler', () => this.drain());
  }

  private async drain(): Promise<void> {
    clearInterval(this.gauges);
    await Promise.all([
      ...this.serving.map((serving) => serving.stop(drainMs)),
      this.consumption?.stop({ deadlineMs: drainMs }),
      this.reconciler.stop(),
    ]);
    this.leaving.abort(new BusError('closed', 'the scheduler is leaving', { retry: 'later', mend: 'nothing' }));
    await this.seating.stop();
  }

  /** A fact on the log. Its trace goes on where there is one; timers and expiries have none and are found again by the task's history. */
  private takeFact(message: BusMessage): Promise<Outcome> {
    const handle = (): Promise<Outcome> => this.facts.take(message);
    if (trace.getSpanContext(message.trace) === undefined) return handle();
    const [, category, event] = message.subject.split('.');
    return withSpan(
      `scheduler ${category}.${event}`,
      SpanKind.CONSUMER,
      message.trace,
      { 'plumb.subject': message.subject },
      handle,
    );
  }

  private async takeIntake(message: BusMessage): Promise<Outcome> {
    const kind = message.subject.slice(intakePrefix.length);
    const read = this.intake.read(kind, message.headers, message.data);
    const sent = read.outcome === 'read' ? read.origin.traceparent : undefined;
    const parent = sent === undefined ? message.trace : contextFromTraceparent(sent);
    const result = await this.inSpan(kind, parent, () =>
      read.outcome === 'read' ? this.intake.data(read.kind, read.data, read.origin) : Promise.resolve(read),
    );
    // What could not be recorded now stays in the stream; what was refused is answered where the sender can see it.
    if (result.outcome === 'refused' && result.refusal.code === 'UNAVAILABLE')
      return { outcome: 'nak', delayMs: 1_000 };
    if (result.outcome === 'refused') await this.publishRefusal(kind, message, result);
    return { outcome: 'ack' };
  }

  private async publishRefusal(
    kind: string,
    message: BusMessage,
    result: IntakeResult & { outcome: 'refused' },
  ): Promise<void> {
    const id = `${message.stream}:${message.streamSequence}`;
    const data = {
      kind,
      subject: message.subject,
      ...(result.origin === undefined ? {} : { source: result.origin.source, id: result.origin.id }),
      ...result.refusal,
    };
    const event = {
      id,
      source: 'plumbline/scheduler',
      type: 'dev.plumbline.intake.refused.v1',
      time: message.storedAt.toISOString(),
      data,
      extensions: {},
    };
    const { headers, body } = toStructured(event);
    const natsHdrs = natsHeaders();
    for (const [name, value] of Object.entries(headers)) natsHdrs.set(name, value);
    await this.bus.js.publish('plumb.intake.refused', body, { msgID: `refused:${id}`, headers: natsHdrs });
  }

  private async serveRequests(kind: IntakeKind): Promise<void> {
    const options = {
      queue: 'scheduler',
      concurrency: 16,
      maxPayloadBytes: this.bus.maxPayloadBytes,
      onError: (err: unknown) => this.log.error({ err, kind }, 'a request failed'),
    };
    const handler = async (body: unknown, context: { trace: Context }): Promise<Reply> => {
      const result = await this.inSpan(kind, context.trace, () =>
        this.intake.data(
          kind,
          body,
          { source: 'plumb.request', id: randomUUID() },
          AbortSignal.timeout(requestPatienceMs),
        ),
      );
      if (result.outcome === 'accepted')
        return { ok: true, value: { taskId: result.taskId, duplicate: result.duplicate } };
      const { code, message, problems } = result.refusal;
      return refuse(code, message, code === 'UNAVAILABLE' ? 'later' : 'never', problems);
    };
    this.serving.push(await serve(this.bus, `plumb.request.task.${kind}`, options, handler));
  }

  /** A task's trace begins with its intake: below the sender's span, if it sent one. */
  private inSpan(kind: string, parent: Context, work: () => Promise<IntakeResult>): Promise<IntakeResult> {
    return withSpan(`intake ${kind.slice(0, 40)}`, SpanKind.CONSUMER, parent, {}, async (span) => {
      const result = await work();
      // Inside the span, so that the line can be found by the trace that begins with it.
      this.note(kind, result);
      if (result.outcome === 'accepted') span.setAttribute('plumb.task.id', result.taskId);
      return result;
    });
  }

  private note(kind: string, result: IntakeResult): void {
    const known = (requestKinds as readonly string[]).includes(kind) ? kind : 'unknown';
    const outcome =
      result.outcome === 'refused' ? result.refusal.code.toLowerCase() : result.duplicate ? 'duplicate' : 'accepted';
    this.measures.plumb_intake_total.inc(1, { kind: known, outcome });
    if (result.outcome === 'refused') this.log.warn({ kind: known, refusal: result.refusal }, 'intake refused');
    else this.log.info({ kind: known, taskId: result.taskId, duplicate: result.duplicate }, 'intake accepted');
  }

  private count(taskId: string, events: readonly PlumblineEvent[]): void {
    for (const event of events) {
      this.log.info(
        { taskId, event: event.type, ...('step' in event.data ? { step: event.data.step } : {}) },
        event.type,
      );
      if (event.type === 'verdict.reached') {
        const { judgement, policy } = event.data;
        this.measures.plumb_verdicts_total.inc(1, { verdict: judgement.verdict, policy });
        for (const { check, effect } of judgement.reasons)
          this.measures.plumb_verdict_reasons_total.inc(1, { check, effect });
      }
      if (event.type === 'task.closed') this.measures.plumb_tasks_closed_total.inc(1, { outcome: event.data.outcome });
      if (event.type === 'escalation.opened') this.measures.plumb_escalations_total.inc(1, { target: event.data.to });
      if (event.type === 'task.step-retry-scheduled')
        this.measures.plumb_step_retries_total.inc(1, { code: event.data.code });
      const kind = /^task\.(.+)-requested$/.exec(event.type)?.[1];
      if (kind !== undefined) this.measures.plumb_step_requests_total.inc(1, { kind });
    }
  }

  private measure(): void {
    this.measures.plumb_waiting_steps.set(this.seating.count);
    const oldest = this.seating.oldestSubmittedAt;
    this.measures.plumb_oldest_waiting_seconds.set(
      oldest === undefined ? 0 : Math.max(0, (Date.now() - Date.parse(oldest)) / 1_000),
    );
    const fleet = this.fleet.state;
    for (const [node, { pools }] of Object.entries(fleet.nodes)) {
      for (const pool of pools)
        this.measures.plumb_granted_bytes.set(grantedBytes(fleet, node, pool.id), { node, pool: pool.id });
    }
  }
}
