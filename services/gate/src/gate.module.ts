import { Inject, Module, type OnApplicationBootstrap } from '@nestjs/common';
import { ArtifactClient, LedgerClient, StepWorker, type Bus } from '@plumbline/bus';
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
import { nodeToolchain, openSandbox } from '@plumbline/sandbox';
import type { GateConfig } from './config.js';
import { gateFailed, gatingHandler } from './gating-step.js';
import { gateMetrics } from './metrics.js';

const drainMs = 15_000;

/** Takes gating steps from the bus once the sandbox has proved itself on this machine. */
export class Gate implements OnApplicationBootstrap {
  constructor(
    @Inject(SERVICE_CONFIG) private readonly config: GateConfig,
    @Inject(HOST_CONFIG) private readonly host: HostConfig,
    @Inject(BUS) private readonly bus: Bus,
    @Inject(LOG) private readonly log: Log,
    @Inject(METRICS) private readonly measures: Metrics,
    @Inject(DRAINS) private readonly drains: Drains,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const { config, bus, log } = this;
    const sandbox = await openSandbox(config.bwrapPath === undefined ? {} : { bwrapPath: config.bwrapPath });
    log.info({ isolation: sandbox.isolation }, 'the sandbox works');
    const metrics = this.measures.register(gateMetrics);
    const handle = gatingHandler({
      artifacts: new ArtifactClient(config.ledger.url, config.ledger.token),
      ...{ sandbox, toolchain: nodeToolchain(process.execPath), metrics, workDir: config.workDir },
    });
    const worker = new StepWorker({
      bus,
      ledger: new LedgerClient(bus, 'gate'),
      service: 'gate',
      holder: this.host.holder,
      work: { 'gate-steps': { concurrency: config.concurrency, handle } },
      failure: gateFailed,
      onStep: ({ taskId, step, outcome, code, durationMs }) => {
        metrics.plumb_step_duration_seconds.observe(durationMs / 1_000, { kind: 'gating', outcome });
        stepLog(log, { taskId, step }).info({ outcome, code, durationMs: Math.round(durationMs) }, 'step ended');
      },
      onError: (err, where) => log.warn({ err, ...where }, 'a step met an error'),
    });
    this.drains.register('gate-steps', () => worker.stop(drainMs));
  }
}

@Module({ providers: [Gate] })
export class GateModule {}
