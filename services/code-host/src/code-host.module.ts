import { Inject, Injectable, Module, type OnApplicationBootstrap } from '@nestjs/common';
import { SERVICE_CONFIG, StepHost } from '@plumbline/host';
import type { CodeHostMeans } from './code-host-means.js';
import type { CodeHostConfig } from './config.js';
import { codeHostMetrics } from './metrics.js';
import { publishingHandler } from './publishing-step.js';
import { codeHostFailed, snapshotHandler } from './snapshot-step.js';

/** Takes snapshot and publishing steps. */
@Injectable()
export class CodeHost implements OnApplicationBootstrap {
  constructor(
    @Inject(SERVICE_CONFIG) private readonly config: CodeHostConfig,
    @Inject(StepHost) private readonly host: StepHost,
  ) {}

  onApplicationBootstrap(): void {
    const { config, host } = this;
    const means: CodeHostMeans = {
      artifacts: host.artifacts(config),
      ledger: host.ledger('code-host'),
      access: config.access,
      metrics: host.metrics.register(codeHostMetrics),
      workDir: config.workDir,
    };
    const { concurrency } = config;
    const work = {
      'code-host-snapshot': { concurrency, handle: snapshotHandler(means) },
      'code-host-publish': { concurrency, handle: publishingHandler(means) },
    };
    host.run({ service: 'code-host', work, failure: codeHostFailed, workDir: config.workDir });
  }
}

@Module({ providers: [CodeHost] })
export class CodeHostModule {}
