import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { createFastGate } from '@plumbline/gate';
import { SERVICE_CONFIG, StepHost } from '@plumbline/host';
import { homeTimers } from '@plumbline/model';
import { nodeToolchain, openSandbox } from '@plumbline/sandbox';
import { attemptEnded, codingHandler } from './coding-step.js';
import type { CoderConfig } from './config.js';
import { coderMetrics } from './metrics.js';
import { loadPrompts } from './prompts.js';

/** Takes coding steps once the sandbox has proved itself on this machine. */
@Injectable()
export class CoderService implements OnApplicationBootstrap {
  constructor(
    @Inject(SERVICE_CONFIG) private readonly config: CoderConfig,
    @Inject(StepHost) private readonly host: StepHost,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    const { config, host } = this;
    const { concurrency, workDir } = config;
    const sandbox = await openSandbox(config.bwrapPath === undefined ? {} : { bwrapPath: config.bwrapPath });
    host.log.info({ isolation: sandbox.isolation }, 'the sandbox works');
    const toolchain = nodeToolchain(process.execPath);
    const handle = codingHandler({
      artifacts: host.artifacts(config),
      sandbox,
      toolchain,
      fastGate: createFastGate({ sandbox, toolchain, workDir }),
      access: { allowHosts: config.allowHosts, timers: homeTimers },
      prompts: loadPrompts(),
      metrics: host.metrics.register(coderMetrics),
      workDir,
      secrets: [config.ledger.token, host.config.nats.password],
    });
    host.run({ service: 'coder', work: { 'coder-steps': { concurrency, handle } }, failure: attemptEnded, workDir });
  }
}
