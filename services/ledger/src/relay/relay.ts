import { ensureDurables, ensureStreams, publishLog, recreateLog, verifyLog, type Bus } from '@plumbline/bus';
import type { EventLog } from '@plumbline/event-log';
import { failpoint } from '@plumbline/failpoint';
import { logMessage } from './log-message.js';

export interface RelayOptions {
  batchSize?: number;
  /** How often LOG is compared with the log while there is nothing to publish. */
  verifyEveryMs?: number;
  onPublished: (count: number, pos: number) => void;
  /** LOG was not a copy of the log: gone, restored from elsewhere, or written to by somebody else. It is being rebuilt. */
  onRebuild: (why: string) => void;
  onError: (error: unknown) => void;
}

/** Messages at the end of LOG that are looked at while nothing is published. */
const idleDepth = 8;

/**
 * Publishes the log to JetStream, in order, each message expecting its predecessor, so that LOG's sequence is the log's position. LOG is a
 * copy that may vanish: when it is gone or is not the log's copy any more, it is made anew and filled from the log. Two relays at once do
 * no harm: the second one's messages are duplicates.
 */
export class Relay {
  private stopping = false;
  private running: Promise<void> | undefined;
  private wakeUp: () => void = () => undefined;
  private woken = false;
  private wakeable = true;
  private failures = 0;

  constructor(
    private readonly log: EventLog,
    private readonly bus: Bus,
    private readonly options: RelayOptions,
  ) {}

  start(): void {
    this.running ??= this.run();
  }

  /** New positions exist. */
  wake(): void {
    this.woken = true;
    if (this.wakeable) this.wakeUp();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    this.wakeUp();
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.stopping) {
      try {
        const { nextPos, consumersFrom } = await this.reconcile();
        await this.publishFrom(nextPos, consumersFrom);
      } catch (error) {
        this.options.onError(error);
      }
      // Counted here and forgotten with every success on the way: what cannot be mended at once must not be tried as fast as possible.
      this.failures += 1;
      if (this.failures === 1) continue;
      // News must not cut this short: they cannot be published before the trouble is over.
      this.woken = false;
      await this.sleep(Math.min(25 * 2 ** this.failures, 5_000), false);
    }
  }

  /** Compares LOG with the log and makes it anew if need be. Returns where to go on, and where new consumers are to begin. */
  private async reconcile(): Promise<{ nextPos: number; consumersFrom: number }> {
    const { epoch, pos } = await this.log.head();
    const { jsm, capabilities } = this.bus;
    const found = await verifyLog(jsm, epoch, pos);
    const consumersFrom = await this.firstOpenPosition();
    if (found.outcome === 'foreign') {
      this.options.onRebuild(
        `LOG is foreign at ${found.seq}: expected ${found.expected}, found ${found.found ?? 'nothing'}`,
      );
      const { nextPos } = await recreateLog(jsm, capabilities, { logEpoch: epoch });
      return { nextPos, consumersFrom };
    }
    if (found.outcome === 'missing' && pos > 0) this.options.onRebuild('LOG does not exist');
    await ensureStreams(jsm, capabilities, { logEpoch: epoch });
    return { nextPos: found.outcome === 'missing' ? 1 : found.lastSeq + 1, consumersFrom };
  }

  /** Consumers of a rebuilt LOG begin with the oldest task that is still open: what is closed needs nobody any more. */
  private async firstOpenPosition(): Promise<number> {
    const { rows } = await this.log.pool.query<{ pos: string | null }>(
      `SELECT min(l.pos) AS pos FROM es.log l JOIN es.event e ON e.ingest_id = l.ingest_id
        WHERE e.version = 1 AND e.stream_id LIKE 'task-%'
          AND NOT EXISTS (SELECT 1 FROM es.event c WHERE c.stream_id = e.stream_id AND c.type = 'task.closed')`,
    );
    const open = rows[0]?.pos;
    return open === null || open === undefined ? Math.max(1, (await this.log.head()).pos) : Number(open);
  }

  /** Publishes until LOG turns out to be other than expected, or the relay is stopped. */
  private async publishFrom(first: number, consumersFrom: number): Promise<void> {
    let next = first;
    let consumersReady = false;
    let verifiedAt = performance.now();
    const { epoch } = await this.log.head();
    while (!this.stopping) {
      this.woken = false;
      // Only once LOG has come this far: a start beyond its end would be lowered silently, and everything old would be delivered again.
      if (!consumersReady && next >= consumersFrom) {
        await ensureDurables(this.bus.jsm, { logEpoch: epoch, logStartSeq: consumersFrom });
        consumersReady = true;
      }
      const events = await this.log.readLog({ afterPos: next - 1, limit: this.options.batchSize ?? 500 });
      if (events.length === 0) {
        await this.sleep(20, true);
        if (performance.now() - verifiedAt < (this.options.verifyEveryMs ?? 2_000)) continue;
        verifiedAt = performance.now();
        const head = await this.log.head();
        if (head.epoch !== epoch) return;
        // The depths were looked at before the first message; since then nothing gets in but at the end.
        const state = await verifyLog(this.bus.jsm, epoch, head.pos, idleDepth);
        if (state.outcome !== 'intact' && state.outcome !== 'empty') return;
        // Another relay may be ahead; behind means that LOG was restored from an older backup.
        if (state.lastSeq + 1 !== next) return;
        this.failures = 0;
        continue;
      }
      const outcomes = await publishLog(
        this.bus,
        events.map((event) => logMessage(epoch, event)),
      );
      const stored = outcomes.filter((entry) => entry.outcome === 'published' || entry.outcome === 'duplicate');
      if (stored.length > 0) failpoint('relay.published');
      next += stored.length;
      if (stored.length > 0) {
        this.failures = 0;
        this.options.onPublished(stored.length, next - 1);
      }
      const stuck = outcomes.find((entry) => entry.outcome !== 'published' && entry.outcome !== 'duplicate');
      if (stuck?.outcome === 'unknown') throw stuck.error;
      if (stuck !== undefined) return;
    }
  }

  private async sleep(ms: number, wakeable: boolean): Promise<void> {
    if (this.stopping || (wakeable && this.woken)) return;
    this.wakeable = wakeable;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wakeUp = () => undefined;
    this.wakeable = true;
  }
}
