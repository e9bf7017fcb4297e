import { headers as natsHeaders } from '@nats-io/transport-node';
import { refuse, serve, toStructured, type Bus, type Serving } from '@plumbline/bus';
import { noticeKinds, type Webhook } from '@plumbline/domain';
import type { EventLog } from '@plumbline/event-log';
import { Outbox, type ClaimedDelivery } from './outbox.js';
import { postWebhook, type Sending } from './post-webhook.js';

/** What became of a sending: `retried` will be tried again, `failed` will not, `parked` took its target with it, `expired` waited for a week. */
export type NoticeOutcome = 'delivered' | 'retried' | 'failed' | 'parked' | 'expired';

export interface NotifierOptions {
  readonly webhooks: readonly Webhook[];
  readonly onOutcome: (target: string, outcome: NoticeOutcome, count: number, why?: string) => void;
  readonly onError: (error: unknown) => void;
  /** Pauses after the first, second … failure of a notice; after as many failures as there are pauses, and one, it is given up. */
  readonly pausesMs?: readonly number[];
  readonly timeoutMs?: number;
  readonly idleMs?: number;
}

const seconds = 1_000;
const hours = 3_600 * seconds;
/** The schedule that Standard Webhooks recommends ("Retry schedule"): ten sendings in a little over three days. */
export const recommendedPausesMs: readonly number[] = [
  5 * seconds,
  300 * seconds,
  1_800 * seconds,
  ...[2, 5, 10, 14, 20, 24].map((n) => n * hours),
];
/** The broker is ours: it comes back, and until then it is asked every now and then. */
const natsTarget = 'nats';
const natsPauseMaxMs = 30 * seconds;
const flushTimeoutMs = 5 * seconds;
const pruneEveryMs = hours;
const errorPauseMaxMs = 5 * seconds;

/**
 * Tells people what they want to be told: reads the log into the outbox, and sends what is due, each target in a loop of its own, so that a
 * slow one keeps nobody else waiting. Any number of replicas may run it.
 */
export class Notifier {
  private readonly outbox: Outbox;
  private readonly stopping = new AbortController();
  private readonly sleepers = new Set<() => void>();
  private woken = 0;
  private running: Promise<void>[] = [];
  private serving: Serving | undefined;

  constructor(
    log: EventLog,
    private readonly bus: Bus,
    private readonly options: NotifierOptions,
  ) {
    this.outbox = new Outbox(log, [{ name: natsTarget, kinds: noticeKinds }, ...options.webhooks]);
  }

  /** Opens the outbox, serves the operator's question and starts the loops. Nothing that was recorded before the first start is told. */
  async start(): Promise<void> {
    await this.outbox.open();
    this.serving = await serve(
      this.bus,
      'plumb.request.ledger.notices',
      { queue: 'ledger', concurrency: 4, maxPayloadBytes: this.bus.maxPayloadBytes, onError: this.options.onError },
      async (body) =>
        (body as { op?: unknown } | null)?.op === 'list'
          ? { ok: true, value: { targets: await this.outbox.states() } }
          : refuse('invalid-request', 'expected {op: "list"}', 'never'),
    );
    const sendTo = (name: string, send: (delivery: ClaimedDelivery) => Promise<Sending>): Promise<void> =>
      this.loop(() => this.deliver(name, send));
    this.running = [
      this.loop(() => this.advance()),
      this.loop(() => this.prune(), pruneEveryMs),
      sendTo(natsTarget, (delivery) => this.publish(delivery)),
      ...this.options.webhooks.map((hook) => sendTo(hook.name, (delivery) => this.post(hook, delivery))),
    ];
  }

  /** The log has grown. */
  wake(): void {
    this.woken += 1;
    for (const wake of [...this.sleepers]) wake();
  }

  /** Ends the loops. A sending on its way is broken off and repeated by whoever comes next. */
  async stop(): Promise<void> {
    await this.serving?.stop();
    this.stopping.abort();
    this.wake();
    await Promise.all(this.running);
  }

  /** Does `pass` again as long as there is something to do (true); then sleeps until woken, or `idleMs`. A failure pauses it, longer each time. */
  private async loop(pass: () => Promise<boolean>, idleMs = this.options.idleMs ?? seconds): Promise<void> {
    let failures = 0;
    while (!this.stopping.signal.aborted) {
      const mark = this.woken;
      try {
        const more = await pass();
        failures = 0;
        if (!more) await this.sleep(mark, idleMs, idleMs !== pruneEveryMs);
      } catch (error) {
        if (this.stopping.signal.aborted) return;
        this.options.onError(error);
        failures += 1;
        // News must not cut this short: what failed would fail as often as there are news.
        await this.sleep(mark, Math.min(50 * 2 ** failures, errorPauseMaxMs), false);
      }
    }
  }

  private async advance(): Promise<boolean> {
    const stored = await this.outbox.advance();
    if (stored !== undefined && stored > 0) this.wake();
    return stored !== undefined;
  }

  private async prune(): Promise<boolean> {
    for (const [target, count] of await this.outbox.prune()) this.options.onOutcome(target, 'expired', count);
    return false;
  }

  private async deliver(target: string, send: (delivery: ClaimedDelivery) => Promise<Sending>): Promise<boolean> {
    const delivery = await this.outbox.claim(target);
    if (delivery === undefined) return false;
    const sending = await send(delivery);
    if (sending.outcome === 'delivered') {
      await this.outbox.delivered(target, delivery);
      this.options.onOutcome(target, 'delivered', 1);
      return true;
    }
    const { why, gone } = sending;
    const pauseMs = this.pauseMs(target, delivery.attempt);
    if (pauseMs !== undefined && !gone) {
      // At once when the ledger stops: the next one need not wait until the claim runs out.
      await this.outbox.again(target, delivery, why, this.stopping.signal.aborted ? 0 : pauseMs);
      this.options.onOutcome(target, 'retried', 1, why);
      return true;
    }
    const parked = await this.outbox.giveUp(target, delivery, why, gone);
    this.options.onOutcome(target, parked ? 'parked' : 'failed', 1, why);
    return true;
  }

  /** How long to wait after the n-th failure; undefined when that was the last. A tenth of luck keeps replicas and notices apart. */
  private pauseMs(target: string, failures: number): number | undefined {
    if (target === natsTarget) return Math.min(500 * 2 ** Math.min(failures, 10), natsPauseMaxMs);
    const pause = (this.options.pausesMs ?? recommendedPausesMs)[failures - 1];
    return pause === undefined ? undefined : pause * (1 + Math.random() / 10);
  }

  private post(hook: Webhook, { eventId, body }: ClaimedDelivery): Promise<Sending> {
    const { timeoutMs } = this.options;
    return postWebhook(
      hook,
      { id: eventId, body },
      { nowMs: Date.now(), signal: this.stopping.signal, ...(timeoutMs === undefined ? {} : { timeoutMs }) },
    );
  }

  /** Publishes a notice as a CloudEvent on core NATS; counts once the broker has answered the flush behind it. */
  private async publish({ eventId, kind, taskId, body }: ClaimedDelivery): Promise<Sending> {
    const data = JSON.parse(body) as { at: string };
    const event = { id: eventId, source: 'plumbline', type: `dev.plumbline.notice.${kind}.v1`, subject: taskId };
    const structured = toStructured({
      ...event,
      time: data.at,
      datacontenttype: 'application/json',
      data,
      extensions: {},
    });
    if (!this.bus.connected) return { outcome: 'failed', why: 'the broker is away', gone: false };
    const headers = natsHeaders();
    for (const [name, value] of Object.entries(structured.headers)) headers.set(name, value);
    this.bus.nc.publish(`plumb.notify.${kind}.${taskId}`, structured.body, { headers });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), flushTimeoutMs)));
    const flushed = this.bus.nc.flush().then(
      () => true,
      () => false,
    );
    const confirmed = await Promise.race([flushed, late]).finally(() => clearTimeout(timer));
    return confirmed ? { outcome: 'delivered' } : { outcome: 'failed', why: 'the broker did not confirm', gone: false };
  }

  private sleep(mark: number, ms: number, wakeable: boolean): Promise<void> {
    if (this.stopping.signal.aborted || (wakeable && this.woken !== mark)) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        if (!wakeable && !this.stopping.signal.aborted) return;
        end();
      };
      const end = (): void => {
        clearTimeout(timer);
        this.sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.sleepers.add(wake);
    });
  }
}
