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
import { createFastGate } from '@plumbline/gate';
import { nodeToolchain, openSandbox } from '@plumbline/sandbox';
import { attemptEnded, codingHandler } from './coding-step.js';
import type { CoderConfig } from './config.js';
import { coderMetrics } from './metrics.js';
import { loadPrompts } from './prompts.js';

const drainMs = 15_000;

/** Takes coding steps from the bus once the sandbox has proved itself on this machine. */
@Injectable()
export class CoderService implements OnApplicationBootstrap {
  constructor(
    @Inject(SERVICE_CONFIG) private readonly config: CoderConfig,
    @Inject(HOST_CONFIG) private readonly host: HostConfig,
    @Inject(BUS) private readonly bus: Bus,
    @Inject(LOG) private readonly log: Log,
    @Inject(METRICS) private readonly measures: Metrics,
    @Inject(HEALTH) private readonly health: Health,
    @Inject(DRAINS) private readonly drains: Drains,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const { config, bus, log } = this;
    const sandbox = await openSandbox(config.bwrapPath === undefined ? {} : { bwrapPath: config.bwrapPath });
    log.info({ isolation: sandbox.isolation }, 'the sandbox works');
    const metrics = this.measures.register(coderMetrics);
    const toolchain = nodeToolchain(process.execPath);
    const handle = codingHandler({
      artifacts: new ArtifactClient(config.ledger.url, config.ledger.token),
      sandbox,
      toolchain,
      fastGate: createFastGate({ sandbox, toolchain, workDir: config.workDir }),
      access: { allowHosts: config.allowHosts, timers: homeTimers },
      prompts: loadPrompts(),
      metrics,
      workDir: config.workDir,
      secrets: [config.ledger.token, this.host.nats.password],
    });
    const worker = new StepWorker({
      bus,
      ledger: new LedgerClient(bus, 'coder'),
      service: 'coder',
      holder: this.host.holder,
      work: { 'coder-steps': { concurrency: config.concurrency, handle } },
      failure: attemptEnded,
      onStep: ({ taskId, step, outcome, code, durationMs }) => {
        metrics.plumb_step_duration_seconds.observe(durationMs / 1_000, { kind: 'coding', outcome });
        stepLog(log, { taskId, step }).info({ outcome, code, durationMs: Math.round(durationMs) }, 'step ended');
      },
      onError: (err, where) => log.warn({ err, ...where }, 'a step met an error'),
    });
    this.health.register('coder-steps', () =>
      Promise.resolve({ ok: true, detail: `${worker.inFlight} of ${config.concurrency} steps in hand` }),
    );
    this.drains.register('coder-steps', () => worker.stop(drainMs));
  }
}
