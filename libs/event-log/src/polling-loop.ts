import { toOperationalError, type OperationalError } from './errors.js';
import { Wakeup } from './wakeup.js';

export interface PollingLoopOptions {
  /** Longest sleep after a pass that found nothing, when nobody calls `wake`. */
  pollMs: number;
  /** Longest pause after failures in a row; the first one is `pollMs`, each further one twice as long. */
  maxPauseMs: number;
  /** What the passes do, for the messages of their failures. */
  what: string;
  onError?: (error: OperationalError) => void;
}

/** Does the same small piece of work again and again: at once while there is more, on a call or a poll when there is not. */
export class PollingLoop {
  private readonly wakeup = new Wakeup();
  private stopping: AbortController | undefined;
  private running: Promise<void> | undefined;

  /** `pass` does one piece and says whether it found any. What it throws goes to `onError`, and the loop goes on. */
  constructor(
    private readonly pass: () => Promise<boolean>,
    private readonly options: PollingLoopOptions,
  ) {}

  /** Starts the loop; does nothing when it runs already. */
  start(): void {
    if (this.running !== undefined) return;
    this.stopping = new AbortController();
    this.running = this.run(this.stopping.signal);
  }

  get started(): boolean {
    return this.running !== undefined;
  }

  /** There is something to do: look now instead of at the next poll. */
  wake(): void {
    this.wakeup.signal();
  }

  /** Ends the loop and resolves when the pass in hand is over. */
  async stop(): Promise<void> {
    this.stopping?.abort();
    await this.running;
    this.running = undefined;
  }

  private async run(signal: AbortSignal): Promise<void> {
    const { pollMs, maxPauseMs, what, onError } = this.options;
    let pauseMs = pollMs;
    while (!signal.aborted) {
      const mark = this.wakeup.mark();
      try {
        const found = await this.pass();
        pauseMs = pollMs;
        if (!found) await this.wakeup.sleep(mark, pollMs, signal);
      } catch (error) {
        onError?.(toOperationalError(error, what));
        // News must not cut this short: they cannot be dealt with before the trouble is over.
        await new Wakeup().sleep(0, pauseMs, signal);
        pauseMs = Math.min(pauseMs * 2, maxPauseMs);
      }
    }
  }
}
