import { setTimeout as sleep } from 'node:timers/promises';
import { CliError, explain, throwIfAborted } from '../failure.js';
import { duration } from '../terminal/text.js';

const firstPauseMs = 500;
const pauseMaxMs = 30_000;

/**
 * Patience for a night: repeats what fails while ledger or broker are away, with growing pauses and without end, and says once that it waits
 * and once that it is over, however many wait at the same time. What waiting does not mend (a wrong question, a refused login, an answer that
 * cannot be read) is thrown at once.
 */
export class Outage {
  private began: number | undefined;

  constructor(
    private readonly options: {
      readonly signal: AbortSignal;
      readonly say: (line: string) => void;
      readonly pauseMaxMs?: number;
    },
  ) {}

  async through<T>(work: () => Promise<T>, signal: AbortSignal = this.options.signal): Promise<T> {
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, this.options.pauseMaxMs ?? pauseMaxMs)) {
      throwIfAborted(signal);
      try {
        const value = await work();
        this.over();
        return value;
      } catch (error) {
        throwIfAborted(signal);
        if (!(error instanceof CliError) || error.retry === 'never') throw error;
        this.begin(error);
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  private begin(error: CliError): void {
    if (this.began !== undefined) return;
    this.began = performance.now();
    this.options.say(`${explain(error).message} Waiting until it is back; tasks lose nothing meanwhile.`);
  }

  private over(): void {
    if (this.began === undefined) return;
    this.options.say(`Back after ${duration(performance.now() - this.began)}; going on.`);
    this.began = undefined;
  }
}
