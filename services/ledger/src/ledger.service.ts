import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import type { Bus } from '@plumbline/bus';
import { EventLog, OperationalError, Projector, Sequencer, type Projection } from '@plumbline/event-log';
import { BUS, DRAINS, LOG, type Drains, type Log } from '@plumbline/host';
import type { DataSource } from 'typeorm';
import { Doors } from './doors.js';
import type { LedgerMetrics } from './metrics.js';
import { escalationsProjection } from './projections/escalations.js';
import { tasksProjection } from './projections/tasks.js';
import { verdictsProjection } from './projections/verdicts.js';
import { Relay } from './relay/relay.js';
import { Sweeper } from './sweeper.js';
import { EVENT_LOG, LEDGER_METRICS, READ_MODELS } from './tokens.js';

export const projections: readonly Projection[] = [tasksProjection, verdictsProjection, escalationsProjection];

/** The ledger's loops: doors, sequencer, projectors, relay, sweeper. Starts them in order and drains them in the opposite one. */
@Injectable()
export class LedgerService implements OnApplicationBootstrap {
  private readonly sequencer: Sequencer;
  private readonly projectors: { name: string; projector: Projector }[];
  private readonly relay: Relay;
  private readonly sweeper: Sweeper;
  private readonly doors: Doors;
  private gauges: NodeJS.Timeout | undefined;
  private measuring: Promise<void> | undefined;

  constructor(
    @Inject(BUS) private readonly bus: Bus,
    @Inject(EVENT_LOG) private readonly log: EventLog,
    @Inject(READ_MODELS) private readonly models: DataSource,
    @Inject(LEDGER_METRICS) private readonly metrics: LedgerMetrics,
    @Inject(LOG) private readonly logger: Log,
    @Inject(DRAINS) private readonly drains: Drains,
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
      },
      onError: onError('the sequencer'),
    });
    this.sweeper = new Sweeper(log, {
      onExpired: (count) => metrics.plumb_lease_expiries_total.inc(count),
      onFired: (count) => metrics.plumb_timers_fired_total.inc(count),
      onError: onError('the sweeper'),
    });
    this.doors = new Doors(bus, log, metrics, logger);
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
    await this.doors.open();
    // Last, for they may have a whole log to read first; nothing that is recorded has to wait for a read model.
    for (const { projector } of this.projectors) await projector.start();
    this.gauges = setInterval(() => {
      this.measuring ??= this.measure().finally(() => (this.measuring = undefined));
    }, 1_000);
    this.drains.register('ledger', () => this.drain());
  }

  private async drain(): Promise<void> {
    await this.doors.close();
    clearInterval(this.gauges);
    await this.measuring;
    await Promise.all([this.sweeper.stop(), this.relay.stop()]);
    await this.log.close();
    await this.sequencer.stop();
    await Promise.all(this.projectors.map(({ projector }) => projector.stop()));
    await this.models.destroy();
    await this.log.pool.end();
  }

  /** Gauges that nobody pushes. A failure shows in readiness; here it is only a missing point. */
  private async measure(): Promise<void> {
    try {
      this.metrics.plumb_log_epochs.set((await this.log.head()).epochNumber);
      for (const { name, projector } of this.projectors) {
        this.metrics.plumb_projection_position.set(await projector.position(), { projection: name });
        this.metrics.plumb_projection_parked_events.set((await projector.parked()).length, { projection: name });
      }
      const { state } = await this.bus.jsm.streams.info('DEAD');
      this.metrics.plumb_dead_letters.set(state.messages);
    } catch (err) {
      if (!(err instanceof OperationalError)) this.logger.debug({ err }, 'a gauge could not be read');
    }
  }
}
