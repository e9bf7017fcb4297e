import type { PlumblineEvent, ReportEvent } from '../src/index.js';
import type { aSubmission } from './builders.js';
import { World } from './world.js';

/** The beginning of every told night. */
export const nightMs = Date.parse('2026-11-20T20:00:00.000Z');
export const minute = (n: number): string => new Date(nightMs + Math.round(n * 60_000)).toISOString();

/** A task whose history has instants: what is recorded gets the minute that the clock was last set to. */
export class Told {
  readonly world = new World();
  readonly events: ReportEvent[] = [];

  constructor(readonly taskId: string) {}

  /** Sets the clock and records what `act` does to the task. */
  at(n: number, act: (world: World) => unknown): this {
    act(this.world);
    for (const event of this.world.events.slice(this.events.length))
      this.events.push({ ...event, schemaVersion: 1, version: this.events.length + 1, at: minute(n) });
    return this;
  }

  record(n: number, ...events: PlumblineEvent[]): this {
    return this.at(n, (world) => world.record(...events));
  }

  submit(n: number, overrides: Parameters<typeof aSubmission>[0]): this {
    return this.at(n, (world) => world.submit({ taskId: this.taskId, ...overrides }));
  }

  lease(n: number, step: string, epoch = 1): this {
    return this.record(n, { type: 'lease.granted', data: { step, holder: 'w/1', epoch, ttlMs: 60_000 } });
  }

  turn(n: number, turn: number, prompt: number, completion: number): this {
    const data = { step: 'coding.1.1', attempt: 1, turn, treeAfter: 'a'.repeat(40), tools: ['run'] };
    const transcript = { digest: 'ab'.repeat(32), sizeBytes: 1, mediaType: 'x' };
    return this.record(n, { type: 'turn.recorded', data: { ...data, transcript, tokens: { prompt, completion } } });
  }
}
