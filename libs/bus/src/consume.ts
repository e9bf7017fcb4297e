import type { JsMsg } from '@nats-io/jetstream';
import { headers as natsHeaders, type MsgHdrs } from '@nats-io/transport-node';
import type { Context } from '@opentelemetry/api';
import { backoffMs, type Backoff } from './backoff.js';
import { parseJson } from './bounded-json.js';
import type { Bus } from './connection.js';
import { deadLetter, publishDeadLetter, type DeadLetter } from './dead-letter.js';
import { Delivery } from './delivery.js';
import { BusError, describeError, retryOf } from './errors.js';
import { headersToJson } from './headers.js';
import { PullSession, type BindingState } from './pull-session.js';
import { MAX_PAYLOAD_BYTES } from './topology.js';
import { extractTrace } from './trace.js';

/** A message as its handler sees it. For a retried dead letter, `subject`, `stream` and `streamSequence` are the original's. */
export interface BusMessage {
  readonly subject: string;
  readonly stream: string;
  readonly durable: string;
  readonly streamSequence: number;
  /** 1 at the first delivery. */
  readonly deliveryCount: number;
  readonly storedAt: Date;
  readonly data: Uint8Array;
  readonly headers: MsgHdrs;
  /** The sender's trace context, or the root context. */
  readonly trace: Context;
  /** The body as JSON. Throws BusError `unreadable-message` (never), which sends the message to the dead letters. */
  json(): unknown;
  /** Acknowledges at once: from here on the lease counts, and whatever the handler returns is ignored. */
  ackNow(): void;
}

/** What a handler decided about a message. */
export type Outcome =
  | { readonly outcome: 'ack' }
  | { readonly outcome: 'nak'; readonly delayMs: number }
  | { readonly outcome: 'dead'; readonly reason: string };

export type Handler = (message: BusMessage) => Promise<Outcome>;

/** Where a delivery belongs: for a retried dead letter not where it was pulled from. */
export interface Origin {
  readonly durable: string;
  readonly stream: string;
  readonly subject: string;
  readonly seq: number;
}

/** What `consume` and `consumeService` have in common. */
export interface ConsumeSettings {
  /** A delivery with a bug (a throw that is no operational error) is dead at this count (5). */
  readonly maxDeliveries?: number;
  /** Delay before redelivery, by delivery count (1 s doubling to 60 s). */
  readonly redelivery?: Backoff;
  /** Delay between tries to find the durable (100 ms doubling to 5 s). */
  readonly rebind?: Backoff;
  readonly pullExpiresMs?: number;
  /** 0 ≤ random() < 1, for jitter. */
  readonly random?: () => number;
  readonly now?: () => Date;
  /** Told after a dead letter is safely stored. */
  readonly onDead?: (letter: DeadLetter) => void;
  /** Told about every throw of a handler and every failure to store a dead letter. */
  readonly onError?: (error: unknown, origin: Origin) => void;
  readonly onBinding?: (state: BindingState) => void;
}

export interface ConsumeOptions extends ConsumeSettings {
  readonly stream: string;
  readonly durable: string;
  /** How many handlers run at once, 1 to 256; nothing more is pulled than can be handled. */
  readonly concurrency: number;
  readonly handler: Handler;
}

/** A running consumer. */
export interface Consumption {
  /** Deliveries whose handler is running. */
  readonly inFlight: number;
  /**
   * Pulls nothing more and waits for running handlers, at most `deadlineMs` (10 s); hands the rest back to the server for
   * redelivery after `redeliverAfterMs` (1 s), ignoring what their handlers still return. Idempotent.
   */
  stop(options?: { deadlineMs?: number; redeliverAfterMs?: number }): Promise<{ finished: number; handedBack: number }>;
}

/** Which handler takes a pulled message; a string says why nobody does (the message is then dead). */
export type Route = (
  message: JsMsg,
) => { readonly origin: Origin; readonly handler: Handler } | { readonly origin: Origin; readonly refuse: string };

/** Consumes a durable with at most `concurrency` handlers at once until stopped; survives whatever the broker does. */
export function consume(bus: Bus, options: ConsumeOptions): Consumption {
  return new PullConsumption(bus, options, (message) => ({
    origin: { durable: options.durable, stream: options.stream, subject: message.subject, seq: message.seq },
    handler: options.handler,
  }));
}

/** The engine below `consume` and `consumeService`; `route` chooses the handler of each message. */
export class PullConsumption implements Consumption {
  private readonly session: PullSession;
  private readonly open = new Set<Delivery>();
  private readonly slots: Promise<void>[];
  private readonly redelivery: Backoff;
  private readonly random: () => number;
  private stopping: Promise<{ finished: number; handedBack: number }> | undefined;

  constructor(
    private readonly bus: Bus,
    private readonly options: Omit<ConsumeOptions, 'handler'>,
    private readonly route: Route,
  ) {
    const { concurrency } = options;
    if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 256) {
      throw new RangeError(`concurrency of ${options.durable}: expected 1 to 256, found ${concurrency}`);
    }
    this.redelivery = options.redelivery ?? { baseMs: 1_000, capMs: 60_000 };
    this.random = options.random ?? Math.random;
    this.session = new PullSession({
      bus,
      stream: options.stream,
      durable: options.durable,
      pullExpiresMs: options.pullExpiresMs ?? 30_000,
      rebind: options.rebind ?? { baseMs: 100, capMs: 1_000 },
      random: this.random,
      onBinding: (state) => options.onBinding?.(state),
    });
    this.slots = Array.from({ length: concurrency }, () => this.slot());
  }

  get inFlight(): number {
    return this.open.size;
  }

  stop(
    options: { deadlineMs?: number; redeliverAfterMs?: number } = {},
  ): Promise<{ finished: number; handedBack: number }> {
    this.stopping ??= this.stopOnce(options.deadlineMs ?? 10_000, options.redeliverAfterMs ?? 1_000);
    return this.stopping;
  }

  private async stopOnce(
    deadlineMs: number,
    redeliverAfterMs: number,
  ): Promise<{ finished: number; handedBack: number }> {
    const running = this.open.size;
    this.session.close();
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => (timer = setTimeout(resolve, deadlineMs)));
    await Promise.race([Promise.all(this.slots), deadline]);
    clearTimeout(timer);
    const left = [...this.open];
    for (const delivery of left) delivery.nak(redeliverAfterMs);
    this.session.dispose();
    return { finished: running - left.length, handedBack: left.length };
  }

  private async slot(): Promise<void> {
    for (let next = await this.session.next(); next; next = await this.session.next()) {
      const delivery = new Delivery(next.message, next.binding, this.session);
      this.open.add(delivery);
      await this.handle(delivery);
      this.open.delete(delivery);
    }
  }

  private async handle(delivery: Delivery): Promise<void> {
    const routed = this.route(delivery.message);
    const { origin } = routed;
    if ('refuse' in routed) return this.bury(delivery, origin, routed.refuse);
    const outcome = await this.run(routed.handler, delivery, origin);
    if (delivery.settled) return;
    if (outcome.outcome === 'ack') delivery.ack();
    else if (outcome.outcome === 'nak') delivery.nak(outcome.delayMs);
    else await this.bury(delivery, origin, outcome.reason);
  }

  private async run(handler: Handler, delivery: Delivery, origin: Origin): Promise<Outcome> {
    try {
      const outcome = await handler(this.view(delivery, origin));
      if (outcome === undefined || outcome === null) throw new TypeError('the handler returned no outcome');
      return outcome;
    } catch (error) {
      this.options.onError?.(error, origin);
      return this.outcomeOfThrow(error, delivery.message.info.deliveryCount);
    }
  }

  private outcomeOfThrow(error: unknown, deliveryCount: number): Outcome {
    const retry = retryOf(error);
    if (retry === 'never') return { outcome: 'dead', reason: describeError(error) };
    if (retry === 'bug' && deliveryCount >= (this.options.maxDeliveries ?? 5)) {
      return { outcome: 'dead', reason: `failed ${deliveryCount} times, last: ${describeError(error)}` };
    }
    return { outcome: 'nak', delayMs: backoffMs(deliveryCount, this.redelivery, this.random) };
  }

  /** The dead letter is stored before the original goes; if storing fails, the original stays. */
  private async bury(delivery: Delivery, origin: Origin, reason: string): Promise<void> {
    const { message, binding } = delivery;
    const letter = deadLetter(
      {
        service: this.bus.service,
        ...origin,
        reason,
        deliveries: message.info.deliveryCount,
        headers: headersToJson(message.headers),
        at: (this.options.now?.() ?? new Date()).toISOString(),
      },
      message.data,
    );
    try {
      const { stream, durable } = this.options;
      await publishDeadLetter(this.bus, letter, `dead:${stream}:${durable}:${binding.existence}:${message.seq}`);
    } catch (error) {
      this.options.onError?.(error, origin);
      delivery.nak(backoffMs(message.info.deliveryCount, this.redelivery, this.random));
      return;
    }
    delivery.terminate(reason, this.bus.capabilities.ackTermReason);
    this.options.onDead?.(letter);
  }

  private view(delivery: Delivery, origin: Origin): BusMessage {
    const { message } = delivery;
    const headers = message.headers ?? natsHeaders();
    return {
      subject: origin.subject,
      stream: origin.stream,
      durable: origin.durable,
      streamSequence: origin.seq,
      deliveryCount: message.info.deliveryCount,
      storedAt: message.time,
      data: message.data,
      headers,
      trace: extractTrace(headers),
      json: () => readJson(message.data, origin),
      ackNow: () => delivery.ack(),
    };
  }
}

function readJson(data: Uint8Array, origin: Origin): unknown {
  const parsed = parseJson(data, { maxBytes: MAX_PAYLOAD_BYTES, maxDepth: 64, forbiddenKeys: ['__proto__'] });
  if (parsed.ok) return parsed.value;
  throw new BusError('unreadable-message', `message ${origin.seq} of ${origin.stream}: ${parsed.problem}`, {
    retry: 'never',
    mend: 'look at the dead letter; the publisher must send JSON',
  });
}
