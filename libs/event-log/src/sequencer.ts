import type { EventLog } from './event-log.js';
import { toOperationalError, type OperationalError } from './errors.js';
import { Wakeup } from './wakeup.js';

const maxBackoffMs = 1_000;

export interface SequencerOptions {
  /** Longest sleep between looks at the queue, when nobody calls `wake`. Default 20. */
  pollMs?: number;
  /** Most events numbered in one transaction. Default 2000. */
  batchSize?: number;
  /** Called after each batch with the new head position: the place to wake a relay or projector. */
  onSequenced?: (pos: number) => void;
  /** Told of every failure; the loop goes on after a growing pause of at most a second. */
  onError?: (error: OperationalError) => void;
}

/** The loop that numbers committed events. Several may run, in any number of processes; each event gets one position. */
export class Sequencer {
  private readonly wakeup = new Wakeup();
  private stopping: AbortController | undefined;
  private running: Promise<void> | undefined;

  constructor(
    private readonly log: EventLog,
    private readonly options: SequencerOptions = {},
  ) {}

  /** Starts the loop; does nothing when it runs already. */
  start(): void {
    if (this.running !== undefined) return;
    const stopping = new AbortController();
    this.stopping = stopping;
    this.running = this.run(stopping.signal);
  }

  /** There is something to number: look now instead of at the next poll. */
  wake(): void {
    this.wakeup.signal();
  }

  /** Ends the loop and resolves when the batch in hand is committed. */
  async stop(): Promise<void> {
    this.stopping?.abort();
    await this.running;
    this.running = undefined;
  }

  private async run(signal: AbortSignal): Promise<void> {
    const pollMs = this.options.pollMs ?? 20;
    let backoffMs = pollMs;
    while (!signal.aborted) {
      const mark = this.wakeup.mark();
      try {
        const { count, pos } = await this.log.sequence(this.options.batchSize ?? 2_000);
        backoffMs = pollMs;
        if (count > 0) this.options.onSequenced?.(pos);
        else await this.wakeup.sleep(mark, pollMs, signal);
      } catch (error) {
        this.options.onError?.(toOperationalError(error, 'numbering events'));
        await new Wakeup().sleep(0, backoffMs, signal);
        backoffMs = Math.min(backoffMs * 2, maxBackoffMs);
      }
    }
  }
}
