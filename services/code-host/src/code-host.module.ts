import { mkdir } from 'node:fs/promises';
import { Inject, Injectable, Module, type OnApplicationBootstrap } from '@nestjs/common';
import { ArtifactClient, LedgerClient, StepWorker, type Bus, type HeldStep, type StepReport } from '@plumbline/bus';
import { parseStepId, type FaultCode, type PlumblineEvent } from '@plumbline/domain';
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
import type { CodeHostConfig } from './config.js';
import { codeHostMetrics } from './metrics.js';
import { publishStep } from './publish-step.js';
import { takeSnapshotStep } from './snapshot-step.js';

const drainMs = 15_000;

/** The one service with the host's credentials: fetches base, pushes what has its GO, and never runs anything of it. */
@Injectable()
export class CodeHost implements OnApplicationBootstrap {
  constructor(
    @Inject(SERVICE_CONFIG) private readonly config: CodeHostConfig,
    @Inject(HOST_CONFIG) private readonly host: HostConfig,
    @Inject(BUS) private readonly bus: Bus,
    @Inject(LOG) private readonly log: Log,
    @Inject(METRICS) private readonly measures: Metrics,
    @Inject(DRAINS) private readonly drains: Drains,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const { config, bus, log } = this;
    await mkdir(config.workDir, { recursive: true });
    const metrics = this.measures.register(codeHostMetrics);
    const tools = { artifacts: new ArtifactClient(config.ledger.url, config.ledger.token), config };
    const { concurrency } = config;
    const worker = new StepWorker({
      bus,
      ledger: new LedgerClient(bus, 'code-host'),
      service: 'code-host',
      holder: this.host.holder,
      work: {
        'code-host-snapshot': { concurrency, handle: (step) => takeSnapshotStep(tools, step) },
        'code-host-publish': { concurrency, handle: (step) => publishStep(tools, step) },
      },
      failure: stepFailed,
      onStep: (report) => {
        const counter =
          parseStepId(report.step).kind === 'snapshot'
            ? metrics.plumb_snapshots_total
            : metrics.plumb_published_changes_total;
        counter.inc(1, { outcome: report.outcome });
        this.note(report);
      },
      onError: (err, where) => log.warn({ err, ...where }, 'a step met an error'),
    });
    this.drains.register('code-host-steps', () => worker.stop(drainMs));
  }

  private note({ taskId, step, outcome, code, durationMs }: StepReport): void {
    stepLog(this.log, { taskId, step }).info({ outcome, code, durationMs: Math.round(durationMs) }, 'step ended');
  }
}

/** The event that records a failed step of this service. */
export function stepFailed(step: HeldStep, code: FaultCode, detail: string): PlumblineEvent {
  if (step.name.kind === 'snapshot') return { type: 'snapshot.failed', data: { step: step.id, code, detail } };
  return { type: 'publish.failed', data: { step: step.id, code, detail, attempt: Math.max(1, step.name.attempt) } };
}

@Module({ providers: [CodeHost] })
export class CodeHostModule {}
