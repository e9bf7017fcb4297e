import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import type { Bus } from '@plumbline/bus';
import { ChainWatch, EventLog, Projector, Sequencer, type Projection } from '@plumbline/event-log';
import { BUS, DRAINS, LOG, SERVICE_CONFIG, type Drains, type Log } from '@plumbline/host';
import type { DataSource } from 'typeorm';
import type { LedgerConfig } from './config.js';
import { Doors } from './doors.js';
import { Gauges } from './gauges.js';
import { HeldRequests } from './http/held-requests.js';
import type { LedgerMetrics } from './metrics.js';
import { Notifier } from './notify/notifier.js';
import { escalationsProjection } from './projections/escalations.js';
import { queueProjection } from './projections/queue.js';
import { tasksProjection } from './projections/tasks.js';
import { verdictsProjection } from './projections/verdicts.js';
import { Relay } from './relay/relay.js';
import { Sweeper } from './sweeper.js';
import { EVENT_LOG, LEDGER_METRICS, READ_MODELS } from './tokens.js';

export const projections: readonly Projection[] = [
  tasksProjection,
  verdictsProjection,
  escalationsProjection,
  queueProjection,
];

/** The ledger's loops: doors, sequencer, projectors, relay, sweeper, the watch over the chain, gauges. Starts them in order and drains them in the opposite one. */
@Injectable()
export class LedgerService implements OnApplicationBootstrap {
  private readonly sequencer: Sequencer;
  private readonly projectors: { name: string; projector: Projector }[];
  private readonly relay: Relay;
  private readonly sweeper: Sweeper;
  private readonly doors: Doors;
  private readonly chain: ChainWatch;
  private readonly gauges: Gauges;
  private readonly notifier: Notifier;

  constructor(
    @Inject(BUS) bus: Bus,
    @Inject(EVENT_LOG) private readonly log: EventLog,
    @Inject(READ_MODELS) private readonly models: DataSource,
    @Inject(LEDGER_METRICS) metrics: LedgerMetrics,
    @Inject(LOG) private readonly logger: Log,
    @Inject(DRAINS) private readonly drains: Drains,
    @Inject(SERVICE_CONFIG) config: LedgerConfig,
    @Inject(HeldRequests) private readonly held: HeldRequests,
  ) {
    const onError = (what: string) => (err: unknown) => this.logger.error({ err }, `${what} failed; it goes on`);
    this.projectors = projections.map((projection) => ({
      name: projection.name,
      projector: new Projector(log, projection, {
        onParked: ({ pos, streamId, error }) =>
          this.logger.error({ pos, streamId, error, projection: projection.name }, 'an event was parked'),
        onError: onError(`the projector ${projection.name}`),
      }),
    }));
    this.relay = new Relay(log, bus, {
      onPublished: (count, pos) => {
        metrics.plumb_log_relayed_total.inc(count);
        metrics.plumb_log_relay_position.set(pos);
      },
      onRebuild: (why) => {
        metrics.plumb_log_stream_rebuilds_total.inc(1);
        this.logger.error({ why }, 'LOG is being rebuilt from the log');
      },
      onEpoch: (why) => this.logger.error({ why }, 'events of the log were lost: a new epoch began'),
      onError: onError('the relay'),
    });
    this.sequencer = new Sequencer(log, {
      onSequenced: (pos) => {
        metrics.plumb_log_head_position.set(pos);
        for (const { projector } of this.projectors) projector.wake();
        this.relay.wake();
        this.notifier.wake();
      },
      onError: onError('the sequencer'),
    });
    this.sweeper = new Sweeper(log, {
      onExpired: (count) => metrics.plumb_lease_expiries_total.inc(count),
      onFired: (count) => metrics.plumb_timers_fired_total.inc(count),
      onError: onError('the sweeper'),
    });
    this.chain = new ChainWatch(log.pool, {
      onBroken: (finding) => this.logger.error(finding, 'the chain of the log is broken'),
      onLook: ({ ok, verifiedPosition, passPosition, passedAt }) => {
        metrics.plumb_log_chain_ok.set(ok ? 1 : 0);
        metrics.plumb_log_chain_verified_position.set(verifiedPosition);
        metrics.plumb_log_chain_pass_position.set(passPosition);
        if (passedAt !== undefined) metrics.plumb_log_chain_pass_timestamp_seconds.set(passedAt.getTime() / 1_000);
      },
      onError: onError('the watch over the chain'),
    });
    this.gauges = new Gauges(log, bus, metrics, {
      onError: (err) => this.logger.debug({ err }, 'a gauge could not be read'),
    });
    this.doors = new Doors(bus, log, metrics, logger);
    this.notifier = new Notifier(log, bus, {
      webhooks: config.webhooks,
      onOutcome: (target, outcome, count, why) => {
        metrics.plumb_notifications_total.inc(count, { target, outcome });
        if (outcome !== 'delivered') logger.warn({ target, outcome, why }, 'a notice was not delivered');
      },
      onError: onError('a loop of the notices'),
    });
  }

  /** Something was appended: number it now. */
  appended(): void {
    this.sequencer.wake();
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.models.initialize();
    if (await this.log.keepEpoch())
      this.logger.error('the log was restored, copied or failed over: a new epoch began, see log.epoch-started');
    this.sequencer.start();
    this.relay.start();
    this.sweeper.start();
    await this.relay.compared;
    await this.doors.open();
    // Before the read models, which may take long: an alarm must not have to wait for them.
    this.chain.start();
    this.gauges.start();
    await this.notifier.start();
    // Last, for they may have a whole log to read first; nothing that is recorded has to wait for a read model.
    for (const { projector } of this.projectors) await projector.start();
    this.drains.register('ledger', () => this.drain());
  }

  private async drain(): Promise<void> {
    this.held.end();
    await this.doors.close();
    const watchers = [this.gauges, this.chain, this.sweeper, this.relay, this.notifier];
    await Promise.all(watchers.map((watcher) => watcher.stop()));
    await this.log.close();
    await this.sequencer.stop();
    await Promise.all(this.projectors.map(({ projector }) => projector.stop()));
    await this.models.destroy();
    await this.log.pool.end();
  }
}
