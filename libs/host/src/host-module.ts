import { Module, type DynamicModule, type LoggerService, type Type } from '@nestjs/common';
import type { Bus } from '@plumbline/bus';
import type { Drains } from './drain.js';
import type { Health } from './health.js';
import type { HostConfig } from './host-config.js';
import type { Log } from './log.js';
import type { Metrics } from './metrics.js';
import { StepHost } from './step-host.js';
import { BUS, DRAINS, HEALTH, HOST_CONFIG, LOG, METRICS, SERVICE_CONFIG } from './tokens.js';

/** Everything a service's modules can ask for. */
export interface Provided {
  readonly own: unknown;
  readonly host: HostConfig;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly health: Health;
  readonly drains: Drains;
  readonly bus: Bus;
}

/** A service's module: a class, or one with providers chosen at start. */
export type ServiceModule = Type | DynamicModule;

@Module({})
export class HostModule {
  /** The root of the application: the host's providers, everywhere, and the service's module. */
  static around(provided: Provided, service: ServiceModule): DynamicModule {
    const providers = [
      { provide: SERVICE_CONFIG, useValue: provided.own },
      { provide: HOST_CONFIG, useValue: provided.host },
      { provide: LOG, useValue: provided.log },
      { provide: METRICS, useValue: provided.metrics },
      { provide: HEALTH, useValue: provided.health },
      { provide: DRAINS, useValue: provided.drains },
      { provide: BUS, useValue: provided.bus },
    ];
    return {
      module: HostModule,
      global: true,
      imports: [service],
      providers: [...providers, StepHost],
      exports: [...providers, StepHost],
    };
  }
}

/** Nest's own log lines in ours. Its account of every module and route it sets up is left out. */
export function nestLogger(log: Log): LoggerService {
  const write =
    (level: 'fatal' | 'error' | 'warn') =>
    (message: unknown, ...rest: unknown[]): void => {
      const err = [message, ...rest].find((value) => value instanceof Error);
      const [stack, context] = rest.filter((value) => typeof value === 'string');
      log[level]({ err, nest: context ?? stack, stack: context === undefined ? undefined : stack }, String(message));
    };
  const ignore = (): void => undefined;
  return {
    fatal: write('fatal'),
    error: write('error'),
    warn: write('warn'),
    log: ignore,
    debug: ignore,
    verbose: ignore,
  };
}
