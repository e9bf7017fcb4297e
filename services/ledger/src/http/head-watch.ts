import { setTimeout as sleep } from 'node:timers/promises';
import type { EventLog } from '@plumbline/event-log';

/** Between looks at the head while somebody waits. */
const pollMs = 25;

/** Lets any number of requests wait for news of the log at the price of one look every now and then. */
export class HeadWatch {
  private readonly waiting = new Set<{ afterPos: number; end: () => void }>();
  private polling = false;

  constructor(private readonly log: Pick<EventLog, 'head'>) {}

  /** Resolves when the log has grown beyond `afterPos`, after `timeoutMs`, or when `gone` aborts; whoever waited looks for itself. */
  async beyond(afterPos: number, timeoutMs: number, gone?: AbortSignal): Promise<void> {
    if (timeoutMs <= 0 || gone?.aborted === true) return;
    await new Promise<void>((resolve) => {
      const entry = {
        afterPos,
        end: (): void => {
          clearTimeout(timer);
          this.waiting.delete(entry);
          gone?.removeEventListener('abort', entry.end);
          resolve();
        },
      };
      const timer = setTimeout(entry.end, Math.ceil(timeoutMs));
      gone?.addEventListener('abort', entry.end);
      this.waiting.add(entry);
      if (!this.polling) void this.poll();
    });
  }

  /** Resolves after so long, or when `gone` aborts. */
  async pause(ms: number, gone: AbortSignal): Promise<void> {
    await sleep(ms, undefined, { signal: gone }).catch(() => undefined);
  }

  private async poll(): Promise<void> {
    this.polling = true;
    while (this.waiting.size > 0) {
      try {
        const { pos } = await this.log.head();
        for (const entry of [...this.waiting]) if (pos > entry.afterPos) entry.end();
      } catch {
        // They find out for themselves, and say so.
        for (const entry of [...this.waiting]) entry.end();
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    this.polling = false;
  }
}
