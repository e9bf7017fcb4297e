import { Gate } from './gate.js';
import { ApiProblem } from './problems.js';
import type { ServerResponse } from 'node:http';

/** Requests that are held open: event streams and long polls. So many at most, and all of them end when the ledger leaves. */
export class HeldRequests {
  private readonly gate: Gate;
  private readonly leave = new AbortController();

  constructor(max: number) {
    this.gate = new Gate(max);
  }

  get leaving(): boolean {
    return this.leave.signal.aborted;
  }

  /** Ends every held request, and lets nobody in any more. */
  end(): void {
    this.leave.abort();
  }

  /** Does what may take long; `over` aborts when the asker has gone or the ledger leaves. Refuses when too many are held already. */
  async hold<T>(response: ServerResponse, work: (over: AbortSignal) => Promise<T>): Promise<T> {
    const leave = await this.gate.enter();
    if (leave === undefined)
      throw new ApiProblem('too-many-requests', 'too many requests are held open (streams and long polls)', {
        headers: { 'retry-after': '5' },
      });
    const gone = new AbortController();
    const end = (): void => gone.abort();
    response.once('close', end);
    try {
      return await work(AbortSignal.any([gone.signal, this.leave.signal]));
    } finally {
      response.off('close', end);
      leave();
    }
  }
}
