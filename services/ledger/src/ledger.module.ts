import { Module, type DynamicModule, type MiddlewareConsumer, type NestModule } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { Artifacts, createLedgerPool, EventLog, migrate } from '@plumbline/event-log';
import { HEALTH, LOG, METRICS, type Health, type Log, type Metrics } from '@plumbline/host';
import { DataSource } from 'typeorm';
import type { LedgerConfig } from './config.js';
import { DatabaseLink } from './database-link.js';
import { apiControllers } from './http/api-controllers.js';
import { Cursors } from './http/cursor.js';
import { FleetView } from './http/fleet-view.js';
import { FrontDoor } from './http/front-door.js';
import { HeadWatch } from './http/head-watch.js';
import { HeldRequests } from './http/held-requests.js';
import { ProblemFilter } from './http/problem.filter.js';
import { LedgerService } from './ledger.service.js';
import { ledgerMetrics } from './metrics.js';
import { EscalationRows, QueueRows, TaskRows, VerdictRows } from './projections/entities.js';
import { ARTIFACTS, EVENT_LOG, LEDGER_METRICS, READ_MODELS } from './tokens.js';

@Module({})
export class LedgerModule implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(FrontDoor).forRoutes('{*everything}');
  }

  static with(config: LedgerConfig): DynamicModule {
    const appended = { signal: (): void => undefined };
    return {
      module: LedgerModule,
      controllers: [...apiControllers],
      providers: [
        { provide: APP_FILTER, useClass: ProblemFilter },
        {
          provide: LEDGER_METRICS,
          inject: [METRICS],
          useFactory: (metrics: Metrics) => metrics.register(ledgerMetrics),
        },
        {
          provide: EVENT_LOG,
          inject: [LOG, HEALTH],
          useFactory: async (logger: Log, health: Health) => {
            const link = new DatabaseLink(logger);
            health.register('postgres', link.readiness);
            // Migrating makes the ledger's own role: with an administrator's login, that is the one to wait for.
            await link.reached([config.adminUrl ?? config.databaseUrl]);
            await bringUpToDate(config, logger);
            const pool = createLedgerPool({
              url: config.databaseUrl,
              onError: (err) => logger.warn({ err }, 'an idle database connection broke'),
            });
            const log = new EventLog({ pool, onAppended: () => appended.signal() });
            link.serves(log);
            return log;
          },
        },
        { provide: ARTIFACTS, inject: [EVENT_LOG], useFactory: (log: EventLog) => new Artifacts(log.pool) },
        {
          provide: READ_MODELS,
          useFactory: () =>
            new DataSource({
              type: 'postgres',
              url: config.databaseUrl,
              entities: [TaskRows, EscalationRows, VerdictRows, QueueRows],
              synchronize: false,
              poolSize: 4,
            }),
        },
        { provide: HeadWatch, inject: [EVENT_LOG], useFactory: (log: EventLog) => new HeadWatch(log) },
        { provide: FleetView, inject: [EVENT_LOG], useFactory: (log: EventLog) => new FleetView(log) },
        { provide: HeldRequests, useValue: new HeldRequests(config.heldMax) },
        { provide: Cursors, useValue: new Cursors(config.apiToken) },
        LedgerService,
        {
          // The log tells the sequencer of news; the sequencer lives in the service that is built on the log.
          provide: 'APPENDED',
          inject: [LedgerService],
          useFactory: (service: LedgerService) => (appended.signal = () => service.appended()),
        },
      ],
    };
  }
}

/** Migrates with the administrator's rights, if the ledger was given them. The ledger's own role then gets the password of its URL. */
async function bringUpToDate(config: LedgerConfig, logger: Log): Promise<void> {
  if (config.adminUrl === undefined) return;
  const own = new URL(config.databaseUrl);
  const { applied } = await migrate({
    adminUrl: config.adminUrl,
    ledgerRole: decodeURIComponent(own.username),
    ...(own.password === '' ? {} : { ledgerPassword: decodeURIComponent(own.password) }),
  });
  logger.info({ applied }, 'the database is up to date');
}
