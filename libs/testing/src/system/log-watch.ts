import type { EventLog, RecordedEvent } from '@plumbline/event-log';

/** Follows the log from its beginning and keeps every event, so that a test waits for what is recorded and never for a while. */
export class LogWatch {
  readonly events: RecordedEvent[] = [];
  private readonly stopping = new AbortController();
  private readonly waiting = new Set<() => void>();
  private readonly running: Promise<void>;

  constructor(log: EventLog) {
    this.running = this.follow(log);
  }

  /** Events of one task, in order. */
  of(taskId: string): RecordedEvent[] {
    return this.events.filter((event) => event.streamId === `task-${taskId}`);
  }

  /** Resolves with the first answer that is neither undefined nor false, asked again after every event; rejects naming `what`. */
  async until<T>(
    what: string,
    ask: (events: readonly RecordedEvent[]) => T | undefined | false,
    timeoutMs = 60_000,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiting.delete(look);
        const last = this.events.slice(-15).map((event) => `${event.pos} ${event.streamId} ${event.type}`);
        reject(new Error(`not within ${timeoutMs} ms: ${what}\nthe log ends with\n  ${last.join('\n  ')}`));
      }, timeoutMs);
      const look = (): void => {
        const answer = ask(this.events);
        if (answer === undefined || answer === false) return;
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(answer);
      };
      this.waiting.add(look);
      look();
    });
  }

  /** The first event of a task of that type (and step, where one is named), now or as soon as it is recorded. */
  event(taskId: string, type: string, options: { step?: string; timeoutMs?: number } = {}): Promise<RecordedEvent> {
    const { step, timeoutMs } = options;
    const fits = (event: RecordedEvent): boolean =>
      event.type === type && (step === undefined || (event.data as { step?: string }).step === step);
    return this.until(`${type} ${step ?? ''} of ${taskId}`, () => this.of(taskId).find(fits), timeoutMs);
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async follow(log: EventLog): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        for await (const event of log.follow(this.events.at(-1)?.pos ?? 0, signal)) {
          this.events.push(event);
          for (const look of [...this.waiting]) look();
        }
      } catch {
        // The database is being restarted: whoever waits is told by its own time limit.
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}
