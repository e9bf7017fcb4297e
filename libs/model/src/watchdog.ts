/** The longest delay a Node timer can hold, in milliseconds; a longer one would fire at once. */
export const MAX_TIMER_MS = 2_147_483_647;

/**
 * Calls `onExpired` once when `limitMs` have passed without {@link Watchdog.feed}.
 *
 * A process that was itself held up (a suspended laptop, a blocked loop) finds its timers due before it has read what
 * waits in its sockets. So an expired timer lets the sockets be read first, and looks again.
 */
export class Watchdog {
  readonly #limitMs: number;
  readonly #onExpired: () => void;
  #fedAtMs = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;

  constructor(limitMs: number, onExpired: () => void) {
    this.#limitMs = limitMs;
    this.#onExpired = onExpired;
    this.#arm(limitMs);
  }

  /** Starts the wait anew. */
  feed(): void {
    this.#fedAtMs = performance.now();
  }

  /** Ends the watch for good. */
  stop(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
  }

  #arm(delayMs: number): void {
    this.#timer = setTimeout(() => {
      this.#immediate = setImmediate(() => this.#look());
    }, delayMs);
  }

  #look(): void {
    const leftMs = this.#fedAtMs + this.#limitMs - performance.now();
    if (leftMs <= 0) this.#onExpired();
    else this.#arm(Math.ceil(leftMs));
  }
}
