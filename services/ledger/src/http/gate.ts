/** Lets a bounded number through at once; a bounded number of others wait in line for a bounded time. */
export class Gate {
  private inside = 0;
  private readonly line: (() => void)[] = [];

  constructor(
    private readonly max: number,
    private readonly waiting: { max: number; ms: number } = { max: 0, ms: 0 },
  ) {}

  /** A function that leaves again (once, however often it is called), or undefined when there was no room in time. */
  async enter(gone?: AbortSignal): Promise<(() => void) | undefined> {
    if (this.inside < this.max) return this.taken();
    if (this.line.length >= this.waiting.max || gone?.aborted === true) return undefined;
    return new Promise((resolve) => {
      const end = (leave: (() => void) | undefined): void => {
        clearTimeout(timer);
        gone?.removeEventListener('abort', giveUp);
        const at = this.line.indexOf(next);
        if (at >= 0) this.line.splice(at, 1);
        resolve(leave);
      };
      const next = (): void => end(this.taken());
      const giveUp = (): void => end(undefined);
      const timer = setTimeout(giveUp, this.waiting.ms);
      gone?.addEventListener('abort', giveUp);
      this.line.push(next);
    });
  }

  private taken(): () => void {
    this.inside += 1;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.inside -= 1;
      this.line[0]?.();
    };
  }
}
