import { constants } from 'node:os';
import type { INestApplicationContext } from '@nestjs/common';
import { describeError, type Bus } from '@plumbline/bus';
import type { ServiceName } from '@plumbline/domain';
import { BrokerLink } from './connect.js';
import { Drains } from './drain.js';
import { Health } from './health.js';
import type { HostConfig } from './host-config.js';
import { hostMetrics } from './host-metrics.js';
import { HttpServer } from './http-server.js';
import type { Log } from './log.js';
import { Metrics } from './metrics.js';
import { StartError } from './start-error.js';
import type { Tracing } from './tracing.js';

/** How long each part of leaving may take; together below the 30 s after which supervisors kill. */
const DRAIN_MS = 20_000;
const DRAIN_GRACE_MS = 1_000;
const BUS_DRAIN_MS = 2_000;
const HTTP_GRACE_MS = 1_000;
const HOOKS_MS = 3_000;
const TRACING_MS = 2_000;

type Signal = 'SIGTERM' | 'SIGINT';

/** One service as a process: what it holds, and how it leaves. */
export class ServiceProcess {
  readonly health = new Health();
  readonly drains = new Drains();
  readonly metrics = new Metrics({ processDefaults: true });
  tracing: Tracing | undefined;
  application: INestApplicationContext | undefined;
  readonly #measures = this.metrics.register(hostMetrics);
  readonly #leave = new AbortController();
  readonly #link: BrokerLink;
  #http: HttpServer | undefined;
  #bus: Bus | undefined;

  constructor(
    service: ServiceName,
    private readonly config: HostConfig,
    private readonly log: Log,
    /** Tells the operator one sentence. */
    private readonly tell: (sentence: string) => void,
  ) {
    this.#link = new BrokerLink(service, config.nats, log);
    this.health.register('nats', this.#link.readiness);
    this.#measures.plumb_nats_connected.set(0);
    this.#measures.plumb_failpoints_armed.set(config.failpoints.length);
  }

  get stopping(): boolean {
    return this.#leave.signal.aborted;
  }

  /** The first signal asks for an orderly end, the second for an immediate one. An exception that nobody caught ends the process. */
  takeSignals(): void {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => this.#onSignal(signal));
    // Rejections that nobody handled arrive here too.
    process.on('uncaughtException', (err) => {
      this.log.fatal({ err }, 'uncaught exception');
      process.exit(1);
    });
  }

  /** Runs the start; what it throws is told to the operator and ends the process with 1, after giving back what was taken. */
  async guard(start: () => Promise<void>): Promise<void> {
    try {
      await start();
    } catch (err) {
      if (this.stopping) return;
      const sentence = err instanceof StartError ? err.message : `the start failed: ${describeError(err)}`;
      this.log.fatal({ err }, sentence);
      this.tell(sentence);
      await this.#stop(1);
    }
  }

  async listen(): Promise<HttpServer> {
    const { health, metrics } = this;
    this.#http = await HttpServer.listen({ ...this.config.http, health, metrics, measures: this.#measures });
    return this.#http;
  }

  /** Undefined when a signal came before the broker. */
  async connect(): Promise<Bus | undefined> {
    const bus = await this.#link.connect(this.#leave.signal);
    if (bus === undefined) return undefined;
    this.#bus = bus;
    this.#measures.plumb_nats_connected.set(1);
    bus.watch((status) => {
      this.#measures.plumb_nats_connected.set(bus.connected ? 1 : 0);
      if (status.type === 'closed') this.#onBusClosed();
      else if (status.type === 'error') this.log.error({ err: status.error }, 'NATS refused something');
      else this.log[status.type === 'disconnected' ? 'warn' : 'info'](`NATS ${status.type}`);
    });
    return bus;
  }

  /** The client reconnects for ever; a connection that closed by itself will not come back, so the supervisor has to start us anew. */
  #onBusClosed(): void {
    if (this.stopping) return;
    this.log.fatal('the connection to NATS closed for good');
    void this.#stop(1);
  }

  #onSignal(signal: Signal): void {
    if (this.stopping) {
      this.log.warn({ signal }, 'second signal: leaving at once');
      process.exit(128 + constants.signals[signal]);
    }
    this.log.info({ signal }, 'leaving');
    void this.#stop(0);
  }

  async #stop(code: number): Promise<never> {
    this.#leave.abort();
    this.health.state = 'draining';
    const unfinished = await this.drains.run(DRAIN_MS, DRAIN_GRACE_MS, this.log);
    if (unfinished.length > 0) this.log.error({ unfinished }, 'left without finishing');
    await this.#bus?.drain(BUS_DRAIN_MS);
    await this.#http?.close(HTTP_GRACE_MS);
    await this.#closeApplication();
    await this.tracing?.stop(TRACING_MS);
    const exitCode = code !== 0 || unfinished.length > 0 ? 1 : 0;
    this.log.info({ exitCode }, 'left');
    process.exit(exitCode);
  }

  /** Nest's own hooks: connection pools and the like. */
  async #closeApplication(): Promise<void> {
    const { promise: late, resolve: giveUp } = Promise.withResolvers<void>();
    const timer = setTimeout(giveUp, HOOKS_MS);
    const closed = this.application?.close().catch((err: unknown) => this.log.error({ err }, 'a shutdown hook failed'));
    await Promise.race([closed, late]);
    clearTimeout(timer);
  }
}
