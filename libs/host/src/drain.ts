import type { Log } from './log.js';

/**
 * Work that must not be cut off: stop taking more, finish or hand back what is in flight. When `deadline` aborts there is no more time:
 * let go of what cannot be finished and return.
 */
export type Drain = (deadline: AbortSignal) => Promise<void>;

/** The work of a service that is drained before it leaves. */
export class Drains {
  readonly #drains = new Map<string, Drain>();

  /** Adds work to be drained. All are drained at once; what must go in order registers once. Throws if the name is taken: a bug. */
  register(name: string, drain: Drain): void {
    if (this.#drains.has(name)) throw new Error(`a drain ${JSON.stringify(name)} exists already`);
    this.#drains.set(name, drain);
  }

  /**
   * Drains everything. After `deadlineMs` the deadline aborts, and what has not returned `graceMs` later is left behind. Returns the
   * names of what failed or was left behind; empty when all work came to its end. Never throws.
   */
  async run(deadlineMs: number, graceMs: number, log: Log): Promise<string[]> {
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), deadlineMs);
    const unfinished = new Set(this.#drains.keys());
    const all = [...this.#drains].map(async ([name, drain]) => {
      try {
        await drain(deadline.signal);
        unfinished.delete(name);
      } catch (err) {
        log.error({ err, drain: name }, 'draining failed');
      }
    });
    const { promise: left, resolve: leave } = Promise.withResolvers<void>();
    const graceTimer = setTimeout(leave, deadlineMs + graceMs);
    await Promise.race([Promise.all(all), left]);
    clearTimeout(timer);
    clearTimeout(graceTimer);
    return [...unfinished];
  }
}
