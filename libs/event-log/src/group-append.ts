import type { Pool } from 'pg';
import { setTimeout as delay } from 'node:timers/promises';
import type { AppendResult } from './append-batch.js';
import { appendGroup } from './append-group.js';
import type { EncodedBatch } from './encode-batch.js';
import { errorCode, isConnectionLoss, OperationalError, toOperationalError } from './errors.js';

const maxBatches = 50;
const maxEvents = 2_000;
const maxSizeBytes = 4 * 1024 * 1024;
const maxAttempts = 4;

interface Waiting {
  batch: EncodedBatch;
  resolve(result: AppendResult): void;
  reject(error: OperationalError): void;
}

/**
 * Coalesces the concurrent appends of this process into few transactions: while one is in flight the next group gathers, so a group
 * waits for at most one turn of the event loop when the line is free. Two groups may be in flight, and batches that share a key never
 * are at the same time: appends to one stream commit in the order of the calls.
 */
export class GroupAppend {
  private waiting: Waiting[] = [];
  private readonly busyKeys = new Set<string>();
  private inFlight = 0;
  private scheduled = false;
  private closed = false;
  private onIdle: (() => void) | undefined;

  constructor(
    private readonly pool: Pool,
    private readonly lanes = 2,
  ) {}

  /** Resolves with the batch's own result; rejects with an OperationalError that concerns this batch only. */
  append(batch: EncodedBatch): Promise<AppendResult> {
    if (this.closed) return Promise.reject(new OperationalError('the event log is closing', { retry: 'later' }));
    return new Promise((resolve, reject) => {
      this.waiting.push({ batch, resolve, reject });
      this.schedule();
    });
  }

  /** Takes no more batches and resolves when the ones already taken are settled. */
  async close(): Promise<void> {
    this.closed = true;
    if (this.inFlight === 0 && this.waiting.length === 0) return;
    await new Promise<void>((resolve) => (this.onIdle = resolve));
  }

  private schedule(): void {
    if (this.scheduled || this.inFlight >= this.lanes) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      while (this.inFlight < this.lanes) {
        const group = this.takeGroup();
        if (group.length === 0) break;
        void this.flush(group);
      }
    });
  }

  /** The oldest waiting batches that share no key with each other, with a group in flight, or with an older batch left behind. */
  private takeGroup(): Waiting[] {
    const group: Waiting[] = [];
    const left: Waiting[] = [];
    const taken = new Set<string>();
    let events = 0;
    let sizeBytes = 0;
    for (const [index, item] of this.waiting.entries()) {
      const { batch } = item;
      const full =
        group.length > 0 &&
        (group.length >= maxBatches || events + batch.events > maxEvents || sizeBytes + batch.sizeBytes > maxSizeBytes);
      if (full) {
        left.push(...this.waiting.slice(index));
        break;
      }
      const conflict = batch.keys.some((key) => taken.has(key) || this.busyKeys.has(key));
      for (const key of batch.keys) taken.add(key);
      if (conflict) {
        left.push(item);
        continue;
      }
      group.push(item);
      events += batch.events;
      sizeBytes += batch.sizeBytes;
    }
    this.waiting = left;
    return group;
  }

  private async flush(group: Waiting[]): Promise<void> {
    this.inFlight++;
    const keys = group.flatMap((item) => item.batch.keys);
    for (const key of keys) this.busyKeys.add(key);
    try {
      await this.commit(group);
    } finally {
      for (const key of keys) this.busyKeys.delete(key);
      this.inFlight--;
      if (this.waiting.length > 0) this.schedule();
      else if (this.inFlight === 0) this.onIdle?.();
    }
  }

  private async commit(group: Waiting[]): Promise<void> {
    try {
      const results = await appendGroup(
        this.pool,
        group.map((item) => item.batch),
      );
      group.forEach((item, index) => settle(item, results[index]));
    } catch (error) {
      if (isConnectionLoss(error)) return rejectAll(group, error);
      // The transaction was rolled back as a whole; alone, every batch gets the answer it deserves.
      for (const item of group) await this.commitAlone(item);
    }
  }

  private async commitAlone(item: Waiting): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        const [result] = await appendGroup(this.pool, [item.batch]);
        return settle(item, result);
      } catch (error) {
        if (attempt >= maxAttempts || !isLostRace(error)) return rejectAll([item], error);
        await delay(Math.random() * 5 * attempt);
      }
    }
  }
}

/** Another transaction recorded the same command first, or the two waited for each other: the next try sees its result. */
function isLostRace(error: unknown): boolean {
  const code = errorCode(error);
  if (code === '40P01' || code === '40001') return true;
  return code === '23505' && (error as { constraint?: string }).constraint === 'command_result_pkey';
}

function settle(item: Waiting, result: AppendResult | OperationalError | undefined): void {
  if (result === undefined) throw new Error('es.append answered fewer batches than it was given');
  if (result instanceof OperationalError) item.reject(result);
  else item.resolve(result);
}

function rejectAll(group: readonly Waiting[], error: unknown): void {
  const what = isConnectionLoss(error)
    ? 'the connection was lost during an append, whether it committed is unknown: retry with the same command id'
    : 'the append was refused by the database';
  const wrapped = toOperationalError(error, what);
  for (const item of group) item.reject(wrapped);
}
