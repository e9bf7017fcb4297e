import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs } from '@plumbline/bus';
import { OperationalError, probeDatabase, type EventLog } from '@plumbline/event-log';
import { StartError, type Log, type Readiness } from '@plumbline/host';

const backoff = { baseMs: 200, capMs: 2_000 };
/** While Postgres stays away, the log says so this often, not at every try. */
const reportEveryMs = 15_000;

/** Postgres as a dependency: what `/ready` says of it from the first try on. */
export class DatabaseLink {
  private problem = 'not tried yet';
  private log: EventLog | undefined;

  constructor(
    private readonly logger: Pick<Log, 'warn'>,
    private readonly patienceMs = 60_000,
  ) {}

  readonly readiness = async (): Promise<Readiness> => {
    if (this.log === undefined) return { ok: false, detail: `waiting for Postgres: ${this.problem}` };
    const { pos } = await this.log.head();
    return { ok: true, detail: `the log is at position ${pos}` };
  };

  /**
   * Resolves once every one of these databases takes statements: the parts of a house start in any order. What waiting cannot mend (a
   * refused password, a database that does not exist) ends the start at once, patience that is over after a minute.
   * @throws StartError
   */
  async reached(urls: readonly string[]): Promise<void> {
    const giveUpAt = performance.now() + this.patienceMs;
    let reportAt = 0;
    for (let tries = 1; ; tries++) {
      try {
        for (const url of urls) await probeDatabase(url);
        return;
      } catch (error) {
        if (!(error instanceof OperationalError)) throw error;
        this.problem = error.message;
        if (error.retry === 'never') throw new StartError(`${error.message}; correct PLUMB_DATABASE_URL`, error);
      }
      const now = performance.now();
      if (now >= giveUpAt)
        throw new StartError(
          `no Postgres within ${Math.round(this.patienceMs / 1_000)} s (${this.problem}); start it, or correct PLUMB_DATABASE_URL`,
        );
      if (now >= reportAt) {
        reportAt = now + reportEveryMs;
        this.logger.warn({ tries }, `waiting for Postgres: ${this.problem}`);
      }
      await delay(Math.min(backoffMs(tries, backoff, Math.random), giveUpAt - now));
    }
  }

  /** From now on the log itself says whether Postgres answers. */
  serves(log: EventLog): void {
    this.log = log;
  }
}
