import type { EventLog } from '@plumbline/event-log';

export interface SweeperOptions {
  intervalMs?: number;
  onExpired: (count: number) => void;
  onFired: (count: number) => void;
  onError: (error: unknown) => void;
}

/** Lets leases expire and timers fire, on the clock of Postgres. Any number of replicas may sweep: each row falls to one of them. */
export class Sweeper {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;

  constructor(
    private readonly log: EventLog,
    private readonly options: SweeperOptions,
  ) {}

  start(): void {
    this.timer = setInterval(() => {
      this.running ??= this.sweep().finally(() => (this.running = undefined));
    }, this.options.intervalMs ?? 250);
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  private async sweep(): Promise<void> {
    try {
      const expired = await this.log.leases.expireLeases();
      if (expired.length > 0) this.options.onExpired(expired.length);
      const fired = await this.log.timers.fire();
      if (fired.length > 0) this.options.onFired(fired.length);
    } catch (error) {
      this.options.onError(error);
    }
  }
}
