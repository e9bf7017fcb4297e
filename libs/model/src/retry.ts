import { setTimeout as delay } from 'node:timers/promises';
import { complete, type Bytes, type Completion, type CompletionRequest, type FailedCompletion } from './complete.js';
import { MODEL_FAILURES, type ModelFailureCode } from './failure.js';
import { probeHealth } from './health.js';

/** How patient to be. Times in milliseconds. */
export interface RetryPolicy {
  /** Retries of any kind together; each code has its own lower limit in `MODEL_FAILURES`. */
  readonly maxRetries: number;
  /** The n-th retry waits `baseMs` × 2ⁿ⁻¹, at most `capMs`, of which a random half is taken off. */
  readonly baseMs: number;
  readonly capMs: number;
  /** A server that asks for more patience than this is left to the scheduler. */
  readonly maxRetryAfterMs: number;
  /** How long a model may load, in all; waiting for it spends no retries. */
  readonly loadingMs: number;
}

/** Patience used when the caller does not say. */
export const DEFAULT_RETRY_POLICY: RetryPolicy = {
  maxRetries: 5,
  baseMs: 1_000,
  capMs: 30_000,
  maxRetryAfterMs: 120_000,
  loadingMs: 600_000,
};

/**
 * Time and luck, so that a test can hold them. `sleep` may reject when `signal` aborts; `now` counts milliseconds from
 * anywhere.
 */
export interface RetryClock {
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  readonly random: () => number;
  readonly now: () => number;
}

const SYSTEM_CLOCK: RetryClock = {
  sleep: (ms, signal) => delay(ms, undefined, signal ? { signal } : {}),
  random: () => Math.random(),
  now: () => performance.now(),
};

/** One sending of the request and what followed: `waitMs` is what was slept before the next, absent for the last. */
export interface Attempt {
  readonly completion: Completion;
  readonly startedAtMs: number;
  readonly waitMs?: number;
  /** False for an attempt that met a loading model, which costs no retry. */
  readonly counted: boolean;
}

/** The outcome of the last attempt, with every attempt on the way there. `bytes` includes the health probes. */
export interface RetriedCompletion {
  readonly completion: Completion;
  readonly attempts: readonly Attempt[];
  readonly healthProbes: number;
  readonly bytes: Bytes;
}

const HEALTH_TIMEOUT_MS = 5_000;
const FIRST_LOADING_WAIT_MS = 1_000;
const LONGEST_LOADING_WAIT_MS = 15_000;

/**
 * Calls a model and, where sending the identical request again may help, does so. Safe because a model call has no side
 * effect here: tool calls run only after a complete answer. The limits per code are those of `MODEL_FAILURES`;
 * Retry-After is honoured; a loading model is waited for by `/health` and ends as MODEL_LOADING_TIMEOUT. `onDelta` sees
 * the pieces of failed attempts too; `onAttempt` says when one has ended.
 */
export async function completeWithRetry(
  request: CompletionRequest,
  options: {
    readonly policy?: RetryPolicy;
    readonly clock?: RetryClock;
    readonly onAttempt?: (attempt: Attempt) => void;
  } = {},
): Promise<RetriedCompletion> {
  return new RetryRun(
    request,
    options.policy ?? DEFAULT_RETRY_POLICY,
    options.clock ?? SYSTEM_CLOCK,
    options.onAttempt,
  ).run();
}

class RetryRun {
  readonly #request: CompletionRequest;
  readonly #policy: RetryPolicy;
  readonly #clock: RetryClock;
  readonly #onAttempt: ((attempt: Attempt) => void) | undefined;
  readonly #attempts: Attempt[] = [];
  readonly #retries = new Map<ModelFailureCode, number>();
  #healthProbes = 0;
  #sent = 0;
  #received = 0;
  #loadingLeftMs: number;
  #loadingWaits = 0;

  constructor(
    request: CompletionRequest,
    policy: RetryPolicy,
    clock: RetryClock,
    onAttempt: ((attempt: Attempt) => void) | undefined,
  ) {
    this.#request = request;
    this.#policy = policy;
    this.#clock = clock;
    this.#onAttempt = onAttempt;
    this.#loadingLeftMs = policy.loadingMs;
  }

  async run(): Promise<RetriedCompletion> {
    for (;;) {
      const startedAtMs = this.#clock.now();
      const completion = await complete(this.#request);
      this.#count(completion.bytes);
      const loading = completion.outcome === 'failed' && completion.code === 'MODEL_LOADING';
      const waitMs = completion.outcome === 'failed' ? this.#waitAfter(completion) : undefined;
      const attempt = { completion, startedAtMs, counted: !loading, ...(waitMs !== undefined && { waitMs }) };
      this.#attempts.push(attempt);
      this.#onAttempt?.(attempt);
      if (completion.outcome === 'complete') return this.#result(completion);
      if (waitMs === undefined) {
        return this.#result(loading ? { ...completion, code: 'MODEL_LOADING_TIMEOUT' } : completion);
      }
      await (loading ? this.#waitForModel(waitMs) : this.#sleep(waitMs));
      if (this.#request.signal?.aborted) {
        return this.#result({
          ...completion,
          code: 'CANCELLED',
          message: `cancelled while waiting after: ${completion.message}`,
        });
      }
    }
  }

  /** How long to wait before the next attempt, or undefined when there is none to be. */
  #waitAfter(failed: FailedCompletion): number | undefined {
    if (failed.code === 'MODEL_LOADING') return this.#nextLoadingWait(failed.retryAfterMs);
    const used = this.#retries.get(failed.code) ?? 0;
    const usedInAll = [...this.#retries.values()].reduce((sum, count) => sum + count, 0);
    if (used >= MODEL_FAILURES[failed.code].retries || usedInAll >= this.#policy.maxRetries) return undefined;
    const { retryAfterMs = 0 } = failed;
    if (retryAfterMs > this.#policy.maxRetryAfterMs) return undefined;
    this.#retries.set(failed.code, used + 1);
    const backoffMs = Math.min(this.#policy.capMs, this.#policy.baseMs * 2 ** usedInAll);
    return Math.max(retryAfterMs, Math.round(backoffMs * (1 - this.#clock.random() / 2)));
  }

  #nextLoadingWait(retryAfterMs = 0): number | undefined {
    if (this.#loadingLeftMs <= 0) return undefined;
    const stepMs = Math.min(LONGEST_LOADING_WAIT_MS, FIRST_LOADING_WAIT_MS * 2 ** this.#loadingWaits);
    this.#loadingWaits += 1;
    return Math.min(this.#loadingLeftMs, Math.max(stepMs, retryAfterMs));
  }

  /**
   * Waits until `/health` no longer says loading, or the patience for loading is used up; then the request itself must
   * tell.
   */
  async #waitForModel(firstWaitMs: number): Promise<void> {
    let waitMs: number | undefined = firstWaitMs;
    while (waitMs !== undefined && !this.#request.signal?.aborted) {
      const startedAtMs = this.#clock.now();
      await this.#sleep(waitMs);
      const { signal, endpoint } = this.#request;
      if (signal?.aborted) return;
      const health = await probeHealth(endpoint, { timeoutMs: HEALTH_TIMEOUT_MS, signal });
      this.#healthProbes += 1;
      this.#count(health.bytes);
      this.#loadingLeftMs -= Math.max(waitMs, this.#clock.now() - startedAtMs);
      if (health.state !== 'loading') return;
      waitMs = this.#nextLoadingWait();
    }
  }

  async #sleep(ms: number): Promise<void> {
    const { signal } = this.#request;
    try {
      await this.#clock.sleep(ms, signal);
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
  }

  #count(bytes: Bytes): void {
    this.#sent += bytes.sent;
    this.#received += bytes.received;
  }

  #result(completion: Completion): RetriedCompletion {
    return {
      completion,
      attempts: this.#attempts,
      healthProbes: this.#healthProbes,
      bytes: { sent: this.#sent, received: this.#received },
    };
  }
}
