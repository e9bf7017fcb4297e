import type { FailpointHit, ServiceExit, ServiceProcessName } from '@plumbline/testing';
import type { House } from './house.js';

const stopPatienceMs = 4_000;
const comeBackMs = 400;

/** A process that ended without having been told to. */
export interface Crash {
  process: string;
  code: number | null;
  signal: string | null;
  words: string;
}

/**
 * Keeps one process running, as an operator's supervisor would: whatever ends it, it is started again. The leases of a dead process are let
 * run out at once (the row is aged), because the minute a lease lasts would be most of a run.
 */
export class ProcessLife {
  private env: Readonly<Record<string, string>> = {};
  private mode: 'kept' | 'replaced' | 'over' = 'kept';
  private exits: ((exit: ServiceExit) => void)[] = [];
  private hits: ((hit: FailpointHit) => void)[] = [];
  private reviving: Promise<void> = Promise.resolve();
  starts = 0;

  constructor(
    private readonly house: House,
    readonly name: ServiceProcessName,
    private readonly onCrash: (crash: Crash) => void,
  ) {}

  /** A new life under this environment; the one that goes on is ended in order first. */
  async begin(env: Readonly<Record<string, string>>): Promise<void> {
    this.mode = 'replaced';
    await this.reviving;
    const child = this.house.system.child(this.name);
    if (child.running) {
      const force = setTimeout(() => void child.kill('SIGKILL'), stopPatienceMs);
      await child.kill('SIGTERM');
      clearTimeout(force);
    }
    await this.age();
    this.env = env;
    this.start();
  }

  /** Resolves once it runs again, when it is being started again. */
  async up(): Promise<void> {
    await this.reviving;
  }

  /** What is armed now is armed no more: the next life begins without it. */
  disarm(): void {
    this.env = {};
  }

  /** Resolves with the next end of a life that a failpoint brought about; undefined when none came in time. */
  killed(timeoutMs: number, stop: AbortSignal): Promise<ServiceExit | undefined> {
    return within(timeoutMs, stop, (settle) => {
      this.exits.push((exit) => {
        if (exit.failpoint !== undefined) settle(exit);
      });
      return () => (this.exits = []);
    });
  }

  /** Resolves with the next failpoint that stops this process; undefined when none came in time. */
  stopped(timeoutMs: number, stop: AbortSignal): Promise<FailpointHit | undefined> {
    return within(timeoutMs, stop, (settle) => {
      this.hits.push((hit) => {
        if (hit.action === 'stop') settle(hit);
      });
      return () => (this.hits = []);
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.house.system.child(this.name).signal(signal);
  }

  get running(): boolean {
    return this.house.system.child(this.name).running;
  }

  heardHit(hit: FailpointHit): void {
    for (const listener of [...this.hits]) listener(hit);
  }

  heardExit(exit: ServiceExit): void {
    if (this.mode === 'over') return;
    for (const listener of [...this.exits]) listener(exit);
    // Whoever replaces this life starts the next one.
    if (this.mode === 'replaced') return;
    if (exit.failpoint === undefined && exit.signal !== 'SIGKILL') {
      const words = this.house.system.child(this.name).lastWords().slice(-2_000);
      this.onCrash({ process: this.name, code: exit.code, signal: exit.signal, words });
    }
    if (exit.failpoint !== undefined) this.disarm();
    this.reviving = this.revive(exit.failpoint === undefined ? comeBackMs : 0);
  }

  /** No life follows any more. */
  over(): void {
    this.mode = 'over';
  }

  private async revive(delayMs: number): Promise<void> {
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    await this.age();
    if (this.mode === 'kept') this.start();
  }

  private start(): void {
    this.mode = 'kept';
    this.starts += 1;
    this.house.system.child(this.name).start(this.env);
  }

  /** Before the next life can claim anything under the same name. Postgres may be away for a moment. */
  private async age(): Promise<void> {
    for (let tries = 0; tries < 40; tries++) {
      try {
        await this.house.ageLeases(this.name);
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    }
  }
}

function within<T>(
  timeoutMs: number,
  stop: AbortSignal,
  listen: (settle: (value: T | undefined) => void) => () => void,
): Promise<T | undefined> {
  return new Promise((resolve) => {
    const settle = (value: T | undefined): void => {
      clearTimeout(timer);
      stop.removeEventListener('abort', stopped);
      leave();
      resolve(value);
    };
    const stopped = (): void => settle(undefined);
    const timer = setTimeout(stopped, timeoutMs);
    stop.addEventListener('abort', stopped);
    const leave = listen(settle);
  });
}
