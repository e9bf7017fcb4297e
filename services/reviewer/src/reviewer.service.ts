import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SERVICE_CONFIG, StepHost } from '@plumbline/host';
import { homeTimers } from '@plumbline/model';
import type { ReviewerConfig } from './config.js';
import { reviewerMetrics } from './metrics.js';
import { loadPrompts } from './prompts.js';
import { reviewFailed, reviewHandler } from './review-step.js';

/** About 15 000 tokens: with issue, rubric and answer it fits a context of 32 768. */
const diffCharsMax = 60_000;

/** Takes review steps. */
@Injectable()
export class ReviewerService implements OnApplicationBootstrap {
  constructor(
    @Inject(SERVICE_CONFIG) private readonly config: ReviewerConfig,
    @Inject(StepHost) private readonly host: StepHost,
  ) {}

  onApplicationBootstrap(): void {
    const { config, host } = this;
    const { concurrency, workDir } = config;
    const handle = reviewHandler({
      artifacts: host.artifacts(config),
      access: { allowHosts: config.allowHosts, timers: homeTimers },
      prompts: loadPrompts(),
      metrics: host.metrics.register(reviewerMetrics),
      workDir,
      diffCharsMax,
      secrets: [config.ledger.token, host.config.nats.password],
    });
    host.run({
      service: 'reviewer',
      work: { 'reviewer-steps': { concurrency, handle } },
      failure: reviewFailed,
      workDir,
    });
  }
}
