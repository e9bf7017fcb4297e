import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs, BusError, connectBus, describeError, type Bus } from '@plumbline/bus';
import type { ServiceName } from '@plumbline/domain';
import type { Readiness } from './health.js';
import type { HostConfig } from './host-config.js';
import type { Log } from './log.js';
import { StartError } from './start-error.js';

const BACKOFF = { baseMs: 250, capMs: 5_000 };
/** While the broker stays away, the log says so this often, not at every try. */
const REPEAT_MS = 30_000;

/** The broker as a dependency: what `/ready` says of it from the first try on. */
export class BrokerLink {
  #bus: Bus | undefined;
  #attempts = 0;
  #problem = 'not tried yet';

  constructor(
    private readonly service: ServiceName,
    private readonly nats: HostConfig['nats'],
    private readonly log: Log,
  ) {}

  /** Ready while connected. */
  readonly readiness = (): Promise<Readiness> => {
    const { url } = this.nats;
    if (this.#bus === undefined) {
      return Promise.resolve({
        ok: false,
        detail: `connecting to ${url}, ${this.#attempts} tries so far: ${this.#problem}`,
      });
    }
    const { connected, capabilities } = this.#bus;
    const detail = connected
      ? `connected to nats-server ${capabilities.version} at ${url}`
      : `lost ${url}; reconnecting`;
    return Promise.resolve({ ok: connected, detail });
  };

  get connected(): boolean {
    return this.#bus?.connected ?? false;
  }

  /**
   * Connects, however long the broker is away: services of a house start in any order, and one that waits can say why. What waiting
   * cannot mend (a refused password, a server that is too old or has no JetStream) ends the start.
   * @returns undefined when `signal` aborted first
   * @throws StartError
   */
  async connect(signal: AbortSignal): Promise<Bus | undefined> {
    let nextReportAt = 0;
    while (!signal.aborted) {
      this.#attempts += 1;
      try {
        this.#bus = await this.#tryOnce();
        return this.#bus;
      } catch (error) {
        if (!(error instanceof BusError)) throw error;
        if (error.retry === 'never') throw new StartError(`${error.message}; ${error.mend}`, error);
        this.#problem = describeError(error);
        if (performance.now() >= nextReportAt) {
          nextReportAt = performance.now() + REPEAT_MS;
          this.log.warn({ tries: this.#attempts, mend: error.mend }, `waiting for NATS: ${error.message}`);
        }
      }
      await sleep(backoffMs(this.#attempts, BACKOFF, Math.random), undefined, { signal }).catch(() => undefined);
    }
    return undefined;
  }

  #tryOnce(): Promise<Bus> {
    const { url, user, password } = this.nats;
    return connectBus({ servers: url, user, password, service: this.service });
  }
}
