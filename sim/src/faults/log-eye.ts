import type { TestSystem } from '@plumbline/testing';
import type { LogEvent } from './history.js';

/** A lease as the log tells of it. */
export interface LeaseSeen {
  taskId: string;
  step: string;
  epoch: number;
  holder: string;
}

/** An event as the watch tells it. */
export type Seen = Omit<LogEvent, 'at'> & { recordedAt: string };

const lookMs = 40;

/**
 * What the run has seen of the log so far, by task. It looks again and again instead of waiting for an event, because Postgres may be away
 * and a restore may take events back.
 */
export class LogEye {
  /** Events that a restore took away. */
  readonly lost: LogEvent[] = [];
  private byTask = new Map<string, Seen[]>();
  private seen = 0;
  private watch: TestSystem['watch'];
  private readonly timer: NodeJS.Timeout;
  private readonly waiting = new Set<() => void>();

  constructor(private readonly system: TestSystem) {
    this.watch = system.watch;
    this.timer = setInterval(() => this.look(), lookMs);
  }

  /** How many events were seen, those that are lost included. */
  get count(): number {
    return this.lost.length + this.seen;
  }

  of(taskId: string): readonly Seen[] {
    return this.byTask.get(taskId) ?? [];
  }

  tasks(): IterableIterator<string> {
    return this.byTask.keys();
  }

  /** Events of all tasks that fit, from the `from`-th event on. */
  find(from: number, fits: (event: Seen) => boolean): Seen | undefined {
    const events = this.seenEvents();
    for (let at = Math.max(0, from - this.lost.length); at < events.length; at++) {
      const event = events[at];
      if (event !== undefined && fits(event)) return event;
    }
    return undefined;
  }

  /** The leases that this holder has and that are neither over nor given to somebody else. */
  leasesOf(holder: string): LeaseSeen[] {
    const found: LeaseSeen[] = [];
    for (const [taskId, events] of this.byTask) {
      const held = new Map<string, LeaseSeen>();
      for (const { type, data } of events) {
        const step = data['step'];
        if (typeof step !== 'string') continue;
        if (type === 'lease.granted')
          held.set(step, { taskId, step, epoch: Number(data['epoch']), holder: String(data['holder']) });
        else if (endsLease.has(type)) held.delete(step);
      }
      if (!events.some(({ type }) => type === 'task.closed'))
        found.push(...[...held.values()].filter((lease) => lease.holder === holder));
    }
    return found;
  }

  /** Who was given the step last; undefined when nobody was. */
  holderOf(streamId: string, step: unknown): string | undefined {
    const granted = this.of(streamId.slice('task-'.length)).findLast(
      ({ type, data }) => type === 'lease.granted' && data['step'] === step,
    );
    return granted === undefined ? undefined : String(granted.data['holder']);
  }

  /** Resolves with the first answer that is not undefined, or undefined when none came in time. */
  async until<T>(ask: () => T | undefined, timeoutMs: number): Promise<T | undefined> {
    return new Promise((resolve) => {
      const settle = (answer: T | undefined): void => {
        clearTimeout(timer);
        this.waiting.delete(look);
        resolve(answer);
      };
      const look = (): void => {
        const answer = ask();
        if (answer !== undefined) settle(answer);
      };
      const timer = setTimeout(() => settle(undefined), timeoutMs);
      this.waiting.add(look);
      look();
    });
  }

  /** A restore happened: what was seen beyond `head` is gone, everything else is read anew. */
  restored(before: readonly unknown[], head: number): void {
    const gone = (before as readonly Seen[]).filter(({ pos }) => pos > head);
    this.lost.push(...gone.map(({ recordedAt, ...event }) => ({ ...event, at: Date.parse(recordedAt) })));
    this.watch = this.system.watch;
    this.byTask = new Map();
    this.seen = 0;
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private seenEvents(): readonly Seen[] {
    return this.watch.events as unknown as readonly Seen[];
  }

  private look(): void {
    const events = this.seenEvents();
    for (; this.seen < events.length; this.seen++) {
      const event = events[this.seen];
      if (event === undefined || !event.streamId.startsWith('task-')) continue;
      const taskId = event.streamId.slice('task-'.length);
      const known = this.byTask.get(taskId);
      if (known === undefined) this.byTask.set(taskId, [event]);
      else known.push(event);
    }
    for (const look of [...this.waiting]) look();
  }
}

/** Events after which a step has no holder. */
export const stepEndings: ReadonlySet<string> = new Set([
  ...['snapshot.taken', 'snapshot.failed', 'change.proposed', 'attempt.ended', 'gate.concluded', 'gate.failed'],
  ...['review.concluded', 'review.failed', 'change.published', 'publish.failed'],
]);
const endsLease: ReadonlySet<string> = new Set([
  ...stepEndings,
  ...['lease.expired', 'lease.released', 'task.step-abandoned'],
]);
