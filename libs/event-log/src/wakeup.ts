/** Lets loops sleep until something happens in this process or a poll is due, whichever comes first. */
export class Wakeup {
  private readonly sleepers = new Set<() => void>();
  private signals = 0;

  /** A mark to pass to {@link sleep}: a signal given after the mark was taken ends the sleep at once. */
  mark(): number {
    return this.signals;
  }

  /** Ends every sleep. */
  signal(): void {
    this.signals++;
    for (const wake of [...this.sleepers]) wake();
  }

  /** Resolves after a signal since `mark`, after `ms`, or when `abort` fires; never rejects. */
  sleep(mark: number, ms: number, abort?: AbortSignal): Promise<void> {
    if (this.signals !== mark || abort?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        abort?.removeEventListener('abort', wake);
        this.sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      abort?.addEventListener('abort', wake, { once: true });
      this.sleepers.add(wake);
    });
  }
}
