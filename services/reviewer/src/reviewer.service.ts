import { homeTimers } from '@plumbline/model';
import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { ArtifactClient, LedgerClient, StepWorker, type Bus } from '@plumbline/bus';
import {
  BUS,
  DRAINS,
  HEALTH,
  HOST_CONFIG,
  LOG,
  METRICS,
  SERVICE_CONFIG,
  stepLog,
  type Drains,
  type Health,
  type HostConfig,
  type Log,
  type Metrics,
} from '@plumbline/host';
import { reviewFailed, reviewHandler } from './review-step.js';
import type { ReviewerConfig } from './config.js';
import { reviewerMetrics } from './metrics.js';
import { loadPrompts } from './prompts.js';

const drainMs = 15_000;
/** About 15 000 tokens: with issue, rubric and answer it fits a context of 32 768. */
const diffCharsMax = 60_000;

/** Takes review steps from the bus. */
@Injectable()
export class ReviewerService implements OnApplicationBootstrap {
  constructor(
    @Inject(SERVICE_CONFIG) private readonly config: ReviewerConfig,
    @Inject(HOST_CONFIG) private readonly host: HostConfig,
    @Inject(BUS) private readonly bus: Bus,
    @Inject(LOG) private readonly log: Log,
    @Inject(METRICS) private readonly measures: Metrics,
    @Inject(HEALTH) private readonly health: Health,
    @Inject(DRAINS) private readonly drains: Drains,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const { config, bus, log } = this;
    const metrics = this.measures.register(reviewerMetrics);
    const handle = reviewHandler({
      artifacts: new ArtifactClient(config.ledger.url, config.ledger.token),
      access: { allowHosts: config.allowHosts, timers: homeTimers },
      prompts: loadPrompts(),
      metrics,
      workDir: config.workDir,
      diffCharsMax,
      secrets: [config.ledger.token, this.host.nats.password],
    });
    const worker = new StepWorker({
      bus,
      ledger: new LedgerClient(bus, 'reviewer'),
      service: 'reviewer',
      holder: this.host.holder,
      work: { 'reviewer-steps': { concurrency: config.concurrency, handle } },
      failure: reviewFailed,
      onStep: ({ taskId, step, outcome, code, durationMs }) => {
        metrics.plumb_step_duration_seconds.observe(durationMs / 1_000, { kind: 'review', outcome });
        stepLog(log, { taskId, step }).info({ outcome, code, durationMs: Math.round(durationMs) }, 'step ended');
      },
      onError: (err, where) => log.warn({ err, ...where }, 'a step met an error'),
    });
    this.health.register('reviewer-steps', () =>
      Promise.resolve({ ok: true, detail: `${worker.inFlight} of ${config.concurrency} steps in hand` }),
    );
    this.drains.register('reviewer-steps', () => worker.stop(drainMs));
  }
}
