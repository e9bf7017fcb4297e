import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { ServiceName } from '@plumbline/domain';
import { armFailpoints } from '@plumbline/failpoint';
import type { z } from 'zod';
import { configure, type HostConfig } from './host-config.js';
import { HostModule, nestLogger, type ServiceModule } from './host-module.js';
import { createLog } from './log.js';
import { blotter } from './redaction.js';
import { ServiceProcess } from './service-process.js';
import { startTracing } from './tracing.js';

/** A service as its `main.ts` describes it. */
export interface ServiceDescription<Own> {
  readonly name: ServiceName;
  /** Parses the environment (empty variables left out, `PLUMB_X_FILE` read into `PLUMB_X`) into the service's own configuration. */
  readonly config: z.ZodType<Own>;
  readonly module: (config: Own, host: HostConfig) => ServiceModule;
}

/**
 * Runs a service in this process and resolves when it is ready: configuration, tracing, HTTP, NATS, then Nest with every
 * `onApplicationBootstrap` finished, then one line `ready`. From then on the process lives until a signal ends it.
 *
 * Exit codes: 0 after SIGTERM or SIGINT with all work drained; 1 for a failed start, an uncaught exception, or work that could not
 * be drained in time; 2 for a configuration that is not usable (one sentence per problem on standard error); 128 + signal when a second
 * signal asks for haste. It never throws: a problem is told to the operator and ends the process.
 */
export async function startService<Own>(description: ServiceDescription<Own>): Promise<void> {
  const { name } = description;
  const configured = configure(name, description.config, process.env);
  const tell = (sentence: string): void => void process.stderr.write(`${name}: ${sentence}\n`);
  if (!configured.ok) {
    configured.problems.forEach(tell);
    process.exit(2);
  }
  const { host, own, secrets } = configured.config;
  armFailpoints(host.failpoints);
  const log = createLog({ service: name, level: host.logLevel, secrets });
  const blot = blotter(secrets);
  const service = new ServiceProcess(name, host, log, (sentence) => tell(blot(sentence)));
  service.takeSignals();
  if (host.failpoints.length > 0)
    log.warn(
      { failpoints: host.failpoints },
      'failpoints are armed: this process is going to be killed or stopped on purpose',
    );
  await service.guard(async () => {
    const { instance, otlpEndpoint: endpoint } = host;
    service.tracing = await startTracing({
      service: name,
      instance,
      log,
      ...(endpoint === undefined ? {} : { endpoint }),
    });
    const http = await service.listen();
    const bus = await service.connect();
    if (bus === undefined) return;
    const { metrics, health, drains } = service;
    const module = HostModule.around({ own, host, log, metrics, health, drains, bus }, description.module(own, host));
    const app = await NestFactory.create<NestExpressApplication>(module, {
      logger: nestLogger(log),
      abortOnError: false,
      // No parser takes a body before its handler does: bodies are streams here, whatever type they say they are of.
      bodyParser: false,
    });
    service.application = app;
    await app.init();
    if (service.stopping) return;
    http.serve(app.getHttpAdapter().getInstance() as Parameters<typeof http.serve>[0]);
    health.state = 'ready';
    // Whoever started the process waits for this line, whatever the log level.
    log.child({}, { level: 'info' }).info({ http: http.url }, 'ready');
  });
}
