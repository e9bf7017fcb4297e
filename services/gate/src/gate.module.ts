import { Inject, Injectable, Module, type OnApplicationBootstrap } from '@nestjs/common';
import { SERVICE_CONFIG, StepHost } from '@plumbline/host';
import { nodeToolchain, openSandbox } from '@plumbline/sandbox';
import type { GateConfig } from './config.js';
import { gateFailed, gatingHandler } from './gating-step.js';
import { gateMetrics } from './metrics.js';

/** Takes gating steps once the sandbox has proved itself on this machine. */
@Injectable()
export class Gate implements OnApplicationBootstrap {
  constructor(
    @Inject(SERVICE_CONFIG) private readonly config: GateConfig,
    @Inject(StepHost) private readonly host: StepHost,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const { config, host } = this;
    const sandbox = await openSandbox(config.bwrapPath === undefined ? {} : { bwrapPath: config.bwrapPath });
    host.log.info({ isolation: sandbox.isolation }, 'the sandbox works');
    const metrics = host.metrics.register(gateMetrics);
    const toolchain = nodeToolchain(process.execPath);
    const { concurrency, workDir } = config;
    const handle = gatingHandler({ artifacts: host.artifacts(config), sandbox, toolchain, metrics, workDir });
    host.run({ service: 'gate', work: { 'gate-steps': { concurrency, handle } }, failure: gateFailed, workDir });
  }
}

@Module({ providers: [Gate] })
export class GateModule {}
