import { tmpdir } from 'node:os';
import { Inject, Injectable } from '@nestjs/common';
import { ArtifactClient, LedgerClient, StepWorker, type Bus, type StepWorkerOptions } from '@plumbline/bus';
import { parseStepId } from '@plumbline/domain';
import { z } from 'zod';
import { diskMetrics, watchDisk } from './disk.js';
import type { Drains } from './drain.js';
import { envInteger, envUrl } from './env.js';
import type { Health } from './health.js';
import type { HostConfig } from './host-config.js';
import { stepLog, type Log } from './log.js';
import type { MetricDefinition, Metrics } from './metrics.js';
import { BUS, DRAINS, HEALTH, HOST_CONFIG, LOG, METRICS } from './tokens.js';

/** The environment of every service that works on steps; a service's own schema extends it. */
export const workerEnv = z.object({
  PLUMB_LEDGER_URL: envUrl(['http:', 'https:'], 'http://127.0.0.1:8080'),
  PLUMB_LEDGER_TOKEN: z.string('expected the bearer token of the ledger, or PLUMB_LEDGER_TOKEN_FILE instead').min(1),
  PLUMB_CONCURRENCY: envInteger({ min: 1, max: 64 }).default(1),
  PLUMB_WORK_DIR: z.string().default(tmpdir()),
});

export interface WorkerConfig {
  readonly ledger: { readonly url: string; readonly token: string };
  /** Steps worked on at once. */
  readonly concurrency: number;
  /** Scratch space. */
  readonly workDir: string;
}

/** What {@link workerEnv} means. */
export const workerConfigOf = (env: z.infer<typeof workerEnv>): WorkerConfig => ({
  ledger: { url: env.PLUMB_LEDGER_URL.replace(/\/+$/, ''), token: env.PLUMB_LEDGER_TOKEN },
  concurrency: env.PLUMB_CONCURRENCY,
  workDir: env.PLUMB_WORK_DIR,
});

/** A comma-separated list in one variable, without empty entries. */
export const envList = (text: string): string[] =>
  text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');

/** What every service that works on steps measures. */
export const stepMetrics = [
  {
    kind: 'histogram',
    name: 'plumb_step_duration_seconds',
    help: 'Steps from delivery to their end.',
    labels: ['kind', 'outcome'],
    buckets: [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 7200],
  },
  ...diskMetrics,
] as const satisfies readonly MetricDefinition[];

const drainMs = 15_000;

/** The side of a worker service that is the same for all of them: the loop over its steps, told to logs, metrics, readiness and drain. */
@Injectable()
export class StepHost {
  constructor(
    @Inject(HOST_CONFIG) readonly config: HostConfig,
    @Inject(BUS) readonly bus: Bus,
    @Inject(LOG) readonly log: Log,
    @Inject(METRICS) readonly metrics: Metrics,
    @Inject(HEALTH) private readonly health: Health,
    @Inject(DRAINS) private readonly drains: Drains,
  ) {}

  /** The ledger as this service meets it. */
  ledger(service: StepWorkerOptions['service']): LedgerClient {
    return new LedgerClient(this.bus, service);
  }

  artifacts({ ledger }: WorkerConfig): ArtifactClient {
    return new ArtifactClient(ledger.url, ledger.token);
  }

  /** Takes steps from now until the service is drained. Call it once everything a step needs has proved itself. */
  run(options: Pick<StepWorkerOptions, 'service' | 'work' | 'failure'> & Pick<WorkerConfig, 'workDir'>): void {
    const { bus, log } = this;
    const { service, workDir } = options;
    const measures = this.metrics.register(stepMetrics);
    watchDisk(measures, 'work', workDir, (err) => log.warn({ err, workDir }, 'the space for work cannot be measured'));
    const worker = new StepWorker({
      ...options,
      bus,
      ledger: this.ledger(service),
      holder: this.config.holder,
      onStep: ({ taskId, step, outcome, code, durationMs }) => {
        const { kind } = parseStepId(step);
        measures.plumb_step_duration_seconds.observe(durationMs / 1_000, { kind, outcome });
        stepLog(log, { taskId, step }).info({ outcome, code, durationMs: Math.round(durationMs) }, 'step ended');
      },
      onError: (err, where) => log.warn({ err, ...where }, 'a step met an error'),
    });
    this.health.register('steps', () => Promise.resolve({ ok: true, detail: `${worker.inFlight} steps in hand` }));
    this.drains.register('steps', () => worker.stop(drainMs));
  }
}
