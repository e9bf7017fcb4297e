import type { JsMsg } from '@nats-io/jetstream';
import type { Binding, PullSession } from './pull-session.js';

/**
 * One delivery in progress. Tells the server every third of the ack wait that work goes on, and settles at most once: the first
 * of ack, nak and terminate counts, later ones are ignored.
 */
export class Delivery {
  private readonly timer: NodeJS.Timeout;
  private done = false;

  constructor(
    readonly message: JsMsg,
    readonly binding: Binding,
    private readonly session: PullSession,
  ) {
    this.timer = setInterval(() => this.working(), Math.max(1, binding.ackWaitMs / 3));
  }

  get settled(): boolean {
    return this.done;
  }

  ack(): void {
    this.settle(() => this.message.ack());
  }

  nak(delayMs: number): void {
    // A plain nak redelivers at once, which would be a busy loop.
    this.settle(() => this.message.nak(Math.max(1, Math.round(delayMs))));
  }

  /** No further delivery. Servers that do not know a reason ignore the whole signal if given one, so it is left out there. */
  terminate(reason: string, serverTakesReason: boolean): void {
    this.settle(() => this.message.term(serverTakesReason ? reason.replace(/\s+/g, ' ').slice(0, 200) : undefined));
  }

  private settle(signal: () => void): void {
    // The client's message takes the first signal only, also among several that waited for a binding.
    this.done = true;
    clearInterval(this.timer);
    this.session.settle(this.binding, signal);
  }

  private working(): void {
    if (this.session.isBoundTo(this.binding)) this.message.working();
  }
}
