import {
  Controller,
  Get,
  Inject,
  Module,
  Param,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
} from '@nestjs/common';
import type { Bus } from '@plumbline/bus';
import { z } from 'zod';
import {
  BUS,
  DRAINS,
  LOG,
  METRICS,
  SERVICE_CONFIG,
  startService,
  stepLog,
  type Drains,
  type Log,
  type Metrics,
} from './index.js';

/** The smallest service with everything in it: run as a process by the tests of start-service. */
const config = z.object({
  TINY_BOOT_MS: z.coerce.number().default(0),
  TINY_FAIL: z.enum(['module', 'bootstrap', 'uncaught']).optional(),
  PLUMB_TINY_TOKEN: z.string('expected the token of the tiny service'),
});
type TinyConfig = z.infer<typeof config>;

const metrics = [{ kind: 'counter', name: 'plumb_tiny_jobs_total', help: 'Jobs done.', labels: ['outcome'] }] as const;

/** Holds a job open until it is told to let go, so that a test can stop the service in the middle of it. */
class Jobs implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #running = new Map<string, () => void>();
  readonly #done;

  constructor(
    @Inject(BUS) private readonly bus: Bus,
    @Inject(LOG) private readonly log: Log,
    @Inject(SERVICE_CONFIG) private readonly config: TinyConfig,
    @Inject(METRICS) measures: Metrics,
    @Inject(DRAINS) drains: Drains,
  ) {
    this.#done = measures.register(metrics).plumb_tiny_jobs_total;
    drains.register('jobs', (deadline) => this.#drain(deadline));
  }

  async onApplicationBootstrap(): Promise<void> {
    if (this.config.TINY_FAIL === 'bootstrap')
      throw new Error(`bootstrap went\nwrong with ${this.config.PLUMB_TINY_TOKEN}`);
    await new Promise((done) => setTimeout(done, this.config.TINY_BOOT_MS));
    this.log.info({ apiToken: this.config.PLUMB_TINY_TOKEN }, `bootstrapped with ${this.config.PLUMB_TINY_TOKEN}`);
    if (this.config.TINY_FAIL === 'uncaught') setTimeout(() => Promise.reject(new Error('nobody caught this')), 20);
  }

  onApplicationShutdown(): void {
    this.log.info({ natsClosed: this.bus.nc.isClosed() }, 'hooks ran');
  }

  async run(id: string): Promise<{ id: string }> {
    stepLog(this.log, { taskId: 't-1', step: id }).info('job started');
    await new Promise<void>((resolve) => this.#running.set(id, resolve));
    this.#done.inc(1, { outcome: 'done' });
    this.log.info({ id }, 'job finished');
    return { id };
  }

  finish(id: string): void {
    this.#running.get(id)?.();
    this.#running.delete(id);
  }

  async #drain(deadline: AbortSignal): Promise<void> {
    this.log.info('draining');
    while (this.#running.size > 0 && !deadline.aborted) await new Promise((done) => setTimeout(done, 10));
    // The connection is still there while work is drained, unless the broker itself is away.
    if (this.bus.connected) await this.bus.nc.flush();
    this.log.info('drained');
  }
}

@Controller()
class TinyController {
  constructor(
    @Inject(Jobs) private readonly jobs: Jobs,
    @Inject(LOG) private readonly log: Log,
  ) {}

  @Get('jobs/:id')
  run(@Param('id') id: string): Promise<{ id: string }> {
    return this.jobs.run(id);
  }

  /** Work that nobody drains: only its request holds it. */
  @Get('slow')
  async slow(): Promise<string> {
    this.log.info('slow request');
    await new Promise((done) => setTimeout(done, 500));
    return 'done';
  }

  @Get('finish/:id')
  finish(@Param('id') id: string): string {
    this.log.info('told to finish');
    this.jobs.finish(id);
    return 'ok';
  }
}

@Module({ controllers: [TinyController], providers: [Jobs] })
class TinyModule {}

await startService({
  name: 'node-agent',
  config,
  module: (own) => {
    if (own.TINY_FAIL === 'module') throw new Error('the module could not be made');
    return TinyModule;
  },
});
