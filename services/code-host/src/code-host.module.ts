import { Inject, Module, type OnApplicationBootstrap } from '@nestjs/common';
import { ArtifactClient, LedgerClient, StepWorker, type Bus } from '@plumbline/bus';
import { parseStepId } from '@plumbline/domain';
import {
  BUS,
  DRAINS,
  HOST_CONFIG,
  LOG,
  METRICS,
  SERVICE_CONFIG,
  stepLog,
  type Drains,
  type HostConfig,
  type Log,
  type Metrics,
} from '@plumbline/host';
import type { CodeHostMeans } from './code-host-means.js';
import type { CodeHostConfig } from './config.js';
import { codeHostMetrics } from './metrics.js';
import { publishingHandler } from './publishing-step.js';
import { codeHostFailed, snapshotHandler } from './snapshot-step.js';

const drainMs = 15_000;

/** Takes snapshot and publishing steps from the bus. */
export class CodeHost implements OnApplicationBootstrap {
  constructor(
    @Inject(SERVICE_CONFIG) private readonly config: CodeHostConfig,
    @Inject(HOST_CONFIG) private readonly host: HostConfig,
    @Inject(BUS) private readonly bus: Bus,
    @Inject(LOG) private readonly log: Log,
    @Inject(METRICS) private readonly measures: Metrics,
    @Inject(DRAINS) private readonly drains: Drains,
  ) {}

  onApplicationBootstrap(): void {
    const { config, bus, log } = this;
    const metrics = this.measures.register(codeHostMetrics);
    const ledger = new LedgerClient(bus, 'code-host');
    const means: CodeHostMeans = {
      artifacts: new ArtifactClient(config.ledger.url, config.ledger.token),
      ...{ ledger, access: config.access, metrics, workDir: config.workDir },
    };
    const { concurrency } = config;
    const worker = new StepWorker({
      bus,
      ledger,
      service: 'code-host',
      holder: this.host.holder,
      work: {
        'code-host-snapshot': { concurrency, handle: snapshotHandler(means) },
        'code-host-publish': { concurrency, handle: publishingHandler(means) },
      },
      failure: codeHostFailed,
      onStep: ({ taskId, step, outcome, code, durationMs }) => {
        metrics.plumb_step_duration_seconds.observe(durationMs / 1_000, { kind: parseStepId(step).kind, outcome });
        stepLog(log, { taskId, step }).info({ outcome, code, durationMs: Math.round(durationMs) }, 'step ended');
      },
      onError: (err, where) => log.warn({ err, ...where }, 'a step met an error'),
    });
    this.drains.register('code-host-steps', () => worker.stop(drainMs));
  }
}

@Module({ providers: [CodeHost] })
export class CodeHostModule {}
