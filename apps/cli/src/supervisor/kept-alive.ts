import { setTimeout as sleep } from 'node:timers/promises';

/** How a process ended; one of the two is not null. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** One run of a server or service. */
export interface Instance {
  readonly pid: number;
  readonly http?: string;
  /** Resolves when it is gone, for whatever reason; never rejects. */
  readonly exited: Promise<Exit>;
  /** Asks it to end, then kills it. True when no kill was needed. */
  stop(): Promise<boolean>;
  kill(): Promise<void>;
}

export type KeptState = 'stopped' | 'starting' | 'running' | 'waiting';

/** What happened to a kept process; `restartInMs` is set when it will be started again. */
export type KeptEvent =
  | { readonly type: 'running'; readonly name: string; readonly restarts: number }
  | { readonly type: 'ended'; readonly name: string; readonly exit: Exit; readonly restartInMs: number }
  | { readonly type: 'start-failed'; readonly name: string; readonly error: unknown; readonly restartInMs: number };

export interface RestartPolicy {
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
  /** A run this long proves that it works: the next restart is quick again. */
  readonly provenAfterMs: number;
}

export const restartPolicy: RestartPolicy = { firstDelayMs: 500, maxDelayMs: 10_000, provenAfterMs: 60_000 };

/** A process that is started again when it dies, until it is told to stop. The first start is not repeated: its failure is the caller's. */
export class KeptAlive {
  readonly name: string;
  readonly #start: (signal: AbortSignal) => Promise<Instance>;
  readonly #policy: RestartPolicy;
  readonly #tell: (event: KeptEvent) => void;
  readonly #stopping = new AbortController();
  #instance: Instance | undefined;
  #loop: Promise<void> = Promise.resolve();
  #state: KeptState = 'stopped';
  #restarts = 0;

  constructor(
    name: string,
    start: (signal: AbortSignal) => Promise<Instance>,
    tell: (event: KeptEvent) => void,
    policy: RestartPolicy = restartPolicy,
  ) {
    this.name = name;
    this.#start = start;
    this.#tell = tell;
    this.#policy = policy;
  }

  get state(): KeptState {
    return this.#state;
  }
  get restarts(): number {
    return this.#restarts;
  }
  /** The present run; undefined between two. */
  get instance(): Instance | undefined {
    return this.#instance;
  }

  /** Starts it and returns when it is ready. Throws what the start throws. */
  async start(signal: AbortSignal): Promise<void> {
    this.#state = 'starting';
    try {
      this.#instance = await this.#start(AbortSignal.any([signal, this.#stopping.signal]));
    } catch (error) {
      this.#state = 'stopped';
      throw error;
    }
    this.#running();
    this.#loop = this.#keep(this.#instance);
  }

  /** Ends it for good. True when no kill was needed. */
  async stop(): Promise<boolean> {
    this.#stopping.abort();
    const clean = (await this.#instance?.stop()) ?? true;
    await this.#loop;
    this.#instance = undefined;
    this.#state = 'stopped';
    return clean;
  }

  /** As {@link stop}, without asking. */
  async kill(): Promise<void> {
    this.#stopping.abort();
    await this.#instance?.kill();
    await this.#loop;
    this.#instance = undefined;
    this.#state = 'stopped';
  }

  #running(): void {
    this.#state = 'running';
    this.#tell({ type: 'running', name: this.name, restarts: this.#restarts });
  }

  async #keep(first: Instance): Promise<void> {
    const { signal } = this.#stopping;
    let delayMs = this.#policy.firstDelayMs;
    for (let instance: Instance | undefined = first; ;) {
      if (instance !== undefined) {
        const startedAt = performance.now();
        const exit = await instance.exited;
        if (signal.aborted) return;
        this.#instance = undefined;
        if (performance.now() - startedAt >= this.#policy.provenAfterMs) delayMs = this.#policy.firstDelayMs;
        this.#state = 'waiting';
        this.#tell({ type: 'ended', name: this.name, exit, restartInMs: delayMs });
      }
      await sleep(delayMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      delayMs = Math.min(delayMs * 2, this.#policy.maxDelayMs);
      instance = await this.#again(delayMs);
      if (signal.aborted) {
        await instance?.stop();
        return;
      }
    }
  }

  async #again(nextDelayMs: number): Promise<Instance | undefined> {
    this.#state = 'starting';
    try {
      this.#instance = await this.#start(this.#stopping.signal);
      this.#restarts += 1;
      this.#running();
      return this.#instance;
    } catch (error) {
      if (!this.#stopping.signal.aborted) {
        this.#state = 'waiting';
        this.#tell({ type: 'start-failed', name: this.name, error, restartInMs: nextDelayMs });
      }
      return undefined;
    }
  }
}
