import type { Consumer, ConsumerMessages, JsMsg } from '@nats-io/jetstream';
import { millis } from '@nats-io/transport-node';
import { backoffMs, type Backoff } from './backoff.js';
import type { Bus } from './connection.js';
import { describeError } from './errors.js';

/** One existence of a durable: deleting and recreating it, or wiping the store, makes another. */
export interface Binding {
  readonly consumer: Consumer;
  /** Tells one existence from the next. */
  readonly existence: string;
  readonly ackWaitMs: number;
}

/** What a consumer's hold on its durable is; for health and metrics. */
export type BindingState =
  { readonly state: 'bound'; readonly existence: string } | { readonly state: 'unbound'; readonly reason: string };

export interface PullSessionOptions {
  readonly bus: Bus;
  readonly stream: string;
  readonly durable: string;
  /** How long one pull waits on the server; also bounds how long a silent loss of the pull goes unnoticed. */
  readonly pullExpiresMs: number;
  readonly rebind: Backoff;
  readonly random: () => number;
  readonly onBinding: (state: BindingState) => void;
}

/**
 * A hold on one durable that survives everything the broker can do: restart, wiped store, consumer deleted and recreated. Messages are
 * pulled one at a time and only when asked for: the client's own `consume()` always keeps at least one message in its
 * buffer, which would sit unattended behind a busy handler while another replica is idle.
 */
export class PullSession {
  private current: Binding | undefined;
  private binding: Promise<void> | undefined;
  private readonly pulls = new Set<ConsumerMessages>();
  private parked: { binding: Binding; signal: () => void }[] = [];
  private readonly closing = new AbortController();
  /** Aborted at every change of the connection, so that nobody waits for an answer that cannot come. */
  private change = new AbortController();
  private readonly unwatch: () => void;

  constructor(private readonly options: PullSessionOptions) {
    this.unwatch = options.bus.watch((status) => {
      if (status.type === 'error') return;
      if (status.type === 'disconnected') this.unbind('disconnected');
      if (status.type === 'closed') this.close();
      this.change.abort();
      this.change = new AbortController();
    });
  }

  get closed(): boolean {
    return this.closing.signal.aborted;
  }

  isBoundTo(binding: Binding): boolean {
    return this.current?.existence === binding.existence;
  }

  /** The next message with the binding it came through; undefined once the session is closed. Never throws. */
  async next(): Promise<{ message: JsMsg; binding: Binding } | undefined> {
    while (!this.closed) {
      const binding = await this.bound();
      if (!binding) return undefined;
      try {
        const message = await this.pull(binding);
        if (message) return { message, binding };
      } catch (error) {
        // Only the existence that failed is given up: another slot may have found the new one meanwhile.
        if (this.isBoundTo(binding)) this.unbind(describeError(error));
      }
    }
    return undefined;
  }

  /**
   * Sends an acknowledgement, if the durable it belongs to still exists. Sequences start again in a recreated stream, so a late
   * acknowledgement would otherwise settle another message. While unbound it waits for the next binding to decide.
   */
  settle(binding: Binding, signal: () => void): void {
    if (this.isBoundTo(binding)) signal();
    else if (!this.current && !this.closed) this.parked.push({ binding, signal });
  }

  /** Asks for nothing more; settling what was delivered stays possible. */
  close(): void {
    if (this.closed) return;
    this.closing.abort();
    this.change.abort();
    for (const pull of this.pulls) void pull.close();
  }

  /** Lets go of the connection; to be called once everything delivered is settled. */
  dispose(): void {
    this.close();
    this.unwatch();
  }

  private async pull(binding: Binding): Promise<JsMsg | undefined> {
    const pull = await binding.consumer.fetch({
      max_messages: 1,
      expires: this.options.pullExpiresMs,
      idle_heartbeat: Math.max(500, Math.min(5_000, this.options.pullExpiresMs / 2)),
      // After a reconnect the session looks at the durable itself.
      bind: true,
    });
    this.pulls.add(pull);
    if (this.closed) void pull.close();
    try {
      for await (const message of pull) return message;
      return undefined;
    } finally {
      this.pulls.delete(pull);
    }
  }

  private unbind(reason: string): void {
    if (!this.current) return;
    this.current = undefined;
    for (const pull of this.pulls) void pull.close();
    this.options.onBinding({ state: 'unbound', reason });
  }

  private async bound(): Promise<Binding | undefined> {
    while (!this.current && !this.closed) {
      this.binding ??= this.bind().finally(() => (this.binding = undefined));
      await this.binding;
    }
    return this.closed ? undefined : this.current;
  }

  private async bind(): Promise<void> {
    const { bus, rebind, random, onBinding } = this.options;
    let lastReason = '';
    for (let attempt = 1; !this.closed; attempt += 1) {
      const { signal } = this.change;
      try {
        const binding = bus.connected ? await Promise.race([this.look(), failOn(signal)]) : await failOn(signal);
        this.current = binding;
        onBinding({ state: 'bound', existence: binding.existence });
        this.settleParked();
        return;
      } catch (error) {
        if (signal.aborted) {
          attempt = 0;
          continue;
        }
        const reason = describeError(error);
        if (reason !== lastReason) onBinding({ state: 'unbound', reason: (lastReason = reason) });
        await this.sleep(backoffMs(attempt, rebind, random), signal);
      }
    }
  }

  private async look(): Promise<Binding> {
    const { bus, stream, durable } = this.options;
    const info = await bus.jsm.consumers.info(stream, durable);
    const consumer = bus.js.consumers.getConsumerFromInfo(info);
    // The server's own creation stamp shifts by microseconds when it restarts, so it is only the second choice.
    const existence = info.config.description ?? info.created;
    return { consumer, existence, ackWaitMs: millis(info.config.ack_wait ?? 30e9) };
  }

  private settleParked(): void {
    const parked = this.parked;
    this.parked = [];
    for (const { binding, signal } of parked) if (this.isBoundTo(binding)) signal();
  }

  private sleep(ms: number, change: AbortSignal): Promise<void> {
    const woken = AbortSignal.any([this.closing.signal, change]);
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        woken.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      woken.addEventListener('abort', end);
    });
  }
}

/** Rejects as soon as `signal` is aborted. */
function failOn(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('the connection changed')), { once: true });
  });
}
