import { setTimeout as sleep } from 'node:timers/promises';
import { BusError, LedgerRefusal, type LedgerClient } from '@plumbline/bus';
import type { AppendRequest } from '@plumbline/domain';
import { failpoint } from '@plumbline/failpoint';
import type { Log } from '@plumbline/host';
import type { FactSpool } from './fact-spool.js';

export interface FactSenderOptions {
  readonly spool: FactSpool;
  readonly ledger: Pick<LedgerClient, 'append'>;
  readonly log: Log;
  /** Called whenever the number of waiting facts has changed. */
  readonly onChange: () => void;
  /** Pause after a failure that is neither the ledger's absence nor its refusal. */
  readonly pauseMs?: number;
}

/** Sends the spooled facts to the ledger, one after the other in the order they were observed, until it is stopped. */
export class FactSender {
  readonly #stop = new AbortController();
  readonly #waiting = new Set<() => void>();
  #wake = Promise.withResolvers<void>();

  constructor(private readonly options: FactSenderOptions) {
    void this.#run();
  }

  /** To be called after a fact was added. */
  wake(): void {
    this.options.onChange();
    this.#wake.resolve();
  }

  /** Resolves when nothing waits, or when `signal` aborts. */
  async idle(signal: AbortSignal): Promise<void> {
    if (this.options.spool.pending === 0 || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    signal.addEventListener('abort', () => resolve());
    await promise;
    this.#waiting.delete(resolve);
  }

  /** Ends at once. A fact on its way stays in the spool: whether its answer still comes is not waited for. */
  stop(): void {
    this.#stop.abort();
    this.#wake.resolve();
  }

  async #run(): Promise<void> {
    const { spool, log, pauseMs = 10_000 } = this.options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const fact = spool.oldest;
      if (fact === undefined) {
        for (const resolve of this.#waiting) resolve();
        await this.#wake.promise;
        this.#wake = Promise.withResolvers<void>();
        continue;
      }
      try {
        await this.#send(fact);
        this.options.onChange();
      } catch (err) {
        if (signal.aborted) return;
        log.error({ err, commandId: fact.commandId }, 'a fact could not be sent; it stays in the spool');
        await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** The client repeats by itself while the ledger or the broker is away. */
  async #send(fact: AppendRequest): Promise<void> {
    const { spool, ledger, log } = this.options;
    const reply = await ledger.append(fact, this.#stop.signal).catch((error: unknown) => {
      if (isFinal(error)) return error;
      throw error;
    });
    if ('outcome' in reply && reply.outcome === 'appended') {
      failpoint('fact.recorded');
      return spool.settle(fact.commandId);
    }
    const why = 'outcome' in reply ? `the ledger answered ${reply.outcome}` : reply.message;
    log.error({ commandId: fact.commandId, why }, 'the ledger will never take this fact; it was set aside');
    await spool.setAside(fact, why);
  }
}

/** Whether the fact itself is the problem. A missing permission or a foreign answer is not: those get mended, and the fact is still true. */
function isFinal(error: unknown): error is LedgerRefusal | BusError {
  if (error instanceof LedgerRefusal) return error.retry === 'never';
  return error instanceof BusError && (error.code === 'too-large' || error.code === 'not-serialisable');
}
