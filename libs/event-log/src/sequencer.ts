import type { EventLog } from './event-log.js';
import type { OperationalError } from './errors.js';
import { PollingLoop } from './polling-loop.js';

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
  private readonly loop: PollingLoop;

  constructor(log: EventLog, options: SequencerOptions = {}) {
    const pass = async (): Promise<boolean> => {
      const { count, pos } = await log.sequence(options.batchSize ?? 2_000);
      if (count > 0) options.onSequenced?.(pos);
      return count > 0;
    };
    this.loop = new PollingLoop(pass, {
      pollMs: options.pollMs ?? 20,
      maxPauseMs: 1_000,
      what: 'numbering events',
      ...(options.onError === undefined ? {} : { onError: options.onError }),
    });
  }

  /** Starts the loop; does nothing when it runs already. */
  start(): void {
    this.loop.start();
  }

  /** There is something to number: look now instead of at the next poll. */
  wake(): void {
    this.loop.wake();
  }

  /** Ends the loop and resolves when the batch in hand is committed. */
  stop(): Promise<void> {
    return this.loop.stop();
  }
}
