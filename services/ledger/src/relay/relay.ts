import {
  ensureDurables,
  ensureStreams,
  publishLog,
  recreateLog,
  verifyLog,
  type Bus,
  type CopiedEvent,
} from '@plumbline/bus';
import type { EventLog, RecordedEvent } from '@plumbline/event-log';
import { failpoint } from '@plumbline/failpoint';
import { logMessage } from './log-message.js';

export interface RelayOptions {
  batchSize?: number;
  /** How often LOG is compared with the log while there is nothing to publish. */
  verifyEveryMs?: number;
  onPublished: (count: number, pos: number) => void;
  /** LOG was not a copy of the log: gone, restored from elsewhere, or written to by somebody else. It is being rebuilt. */
  onRebuild: (why: string) => void;
  /** Events that were published are not in the log any more. It was put into a new epoch. */
  onEpoch: (why: string) => void;
  onError: (error: unknown) => void;
}

/** What `publishFrom` goes on from. `after`: the event before `nextPos`, if there is one. */
interface Start {
  nextPos: number;
  consumersFrom: number;
  after: CopiedEvent | undefined;
}

/** Messages at the end of LOG that are looked at while nothing is published. */
const idleDepth = 8;

/**
 * Publishes the log to JetStream, in order, each message expecting its predecessor, so that LOG's sequence is the log's position. LOG is a
 * copy that may vanish: when it is gone or is not the log's copy any more, it is made anew and filled from the log. Two relays at once do
 * no harm: the second one's messages are duplicates, and only one at a time compares and makes anew.
 *
 * A relay is also the log's witness. What it published, in LOG or in this process, and no longer finds in the log was lost, although
 * Postgres is the same as before (a snapshot of its files was put back): it puts the log into a new epoch.
 */
export class Relay {
  private stopping = false;
  private running: Promise<void> | undefined;
  private wakeUp: () => void = () => undefined;
  private woken = false;
  private wakeable = true;
  private failures = 0;
  /** The last event this process itself published or found published, and the epoch it was in. */
  private witnessed: { epoch: string; event: CopiedEvent } | undefined;
  private readonly firstComparison = Promise.withResolvers<void>();

  constructor(
    private readonly log: EventLog,
    private readonly bus: Bus,
    private readonly options: RelayOptions,
  ) {}

  start(): void {
    this.running ??= this.run();
  }

  /**
   * Resolves once LOG was compared with the log for the first time, or the relay was stopped. Before, nothing must be granted: the
   * log may have lost grants that LOG still tells of.
   */
  get compared(): Promise<void> {
    return this.firstComparison.promise;
  }

  /** New positions exist. */
  wake(): void {
    this.woken = true;
    if (this.wakeable) this.wakeUp();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    this.firstComparison.resolve();
    this.wakeUp();
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.stopping) {
      try {
        const start = await this.log.exclusively('relay', () => this.reconcile());
        this.firstComparison.resolve();
        await this.publishFrom(start);
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

  /** Compares LOG with the log, in both directions, and makes it anew if need be. */
  private async reconcile(): Promise<Start> {
    for (;;) {
      const { epoch } = await this.log.head();
      const { jsm, capabilities } = this.bus;
      const found = await verifyLog(jsm, epoch, async () => (await this.log.head()).pos);
      const loss =
        (await this.lossWitnessed(epoch)) ??
        (found.outcome === 'ahead'
          ? `LOG holds positions up to ${found.lastSeq}, the log ends at ${found.headPos}`
          : undefined) ??
        (found.outcome === 'intact' ? differenceOf(found.last, await this.eventAt(found.lastSeq)) : undefined);
      if (loss !== undefined) {
        // Somebody else may have been faster; either way the next look is at another epoch.
        if (await this.log.startEpoch(epoch, `events were lost: ${loss}`)) this.options.onEpoch(loss);
        continue;
      }
      const consumersFrom = await this.firstOpenPosition();
      if (found.outcome === 'foreign') {
        this.options.onRebuild(
          `LOG is foreign at ${found.seq}: expected ${found.expected}, found ${found.found ?? 'nothing'}`,
        );
        const { nextPos } = await recreateLog(jsm, capabilities, { logEpoch: epoch });
        return { nextPos, consumersFrom, after: copyOf(await this.eventAt(nextPos - 1)) };
      }
      if (found.outcome === 'missing' && (await this.log.head()).pos > 0) this.options.onRebuild('LOG does not exist');
      await ensureStreams(jsm, capabilities, { logEpoch: epoch });
      const lastSeq = 'lastSeq' in found ? found.lastSeq : 0;
      return { nextPos: lastSeq + 1, consumersFrom, after: copyOf(await this.eventAt(lastSeq)) };
    }
  }

  private async eventAt(pos: number): Promise<RecordedEvent | undefined> {
    return pos < 1 ? undefined : (await this.log.readLog({ afterPos: pos - 1, limit: 1 }))[0];
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

  /** Publishes until LOG or the log turns out to be other than expected, or the relay is stopped. */
  private async publishFrom({ nextPos, consumersFrom, after }: Start): Promise<void> {
    let next = nextPos;
    let last = after;
    let consumersReady = false;
    let verifiedAt = performance.now();
    const { epoch } = await this.log.head();
    this.witness(epoch, after);
    while (!this.stopping) {
      this.woken = false;
      // Only once LOG has come this far: a start beyond its end would be lowered silently, and everything old would be delivered again.
      if (!consumersReady && next >= consumersFrom) {
        await ensureDurables(this.bus.jsm, { logEpoch: epoch, logStartSeq: consumersFrom });
        consumersReady = true;
      }
      const [events, head] = await Promise.all([this.readOn(last), this.log.head()]);
      if (events === undefined || head.epoch !== epoch || this.contradicts(epoch, head.pos, events)) return;
      if (events.length === 0) {
        await this.sleep(20, true);
        if (performance.now() - verifiedAt < (this.options.verifyEveryMs ?? 2_000)) continue;
        verifiedAt = performance.now();
        // The depths were looked at before the first message; since then nothing gets in but at the end.
        const state = await verifyLog(this.bus.jsm, epoch, async () => (await this.log.head()).pos, idleDepth);
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
      last = copyOf(events[stored.length - 1]) ?? last;
      this.witness(epoch, last);
      if (stored.length > 0) {
        this.failures = 0;
        this.options.onPublished(stored.length, next - 1);
      }
      const stuck = outcomes.find((entry) => entry.outcome !== 'published' && entry.outcome !== 'duplicate');
      if (stuck?.outcome === 'unknown') throw stuck.error;
      if (stuck !== undefined) return;
    }
  }

  /** How the log differs from what this process knows of it; undefined when it does not. */
  private async lossWitnessed(epoch: string): Promise<string | undefined> {
    if (this.witnessed?.epoch !== epoch) return undefined;
    const { event } = this.witnessed;
    return differenceOf(event, await this.eventAt(event.pos));
  }

  /** Whether the log, as it now is, lacks what this process knows of it; also while LOG is filled anew, from before that. */
  private contradicts(epoch: string, headPos: number, events: readonly RecordedEvent[]): boolean {
    if (this.witnessed?.epoch !== epoch) return false;
    const { event } = this.witnessed;
    const again = events.find(({ pos }) => pos === event.pos);
    return headPos < event.pos || (again !== undefined && differenceOf(event, again) !== undefined);
  }

  private witness(epoch: string, event: CopiedEvent | undefined): void {
    const known = this.witnessed?.epoch === epoch ? this.witnessed.event.pos : 0;
    // When LOG is filled anew, what was published before is known all the same.
    if (event !== undefined && event.pos > known) this.witnessed = { epoch, event };
  }

  /**
   * The events after `last`, which is read again with them: if it is not what it was, what this relay published was lost, and nothing is
   * returned.
   */
  private async readOn(last: CopiedEvent | undefined): Promise<RecordedEvent[] | undefined> {
    const limit = this.options.batchSize ?? 500;
    if (last === undefined) return this.log.readLog({ afterPos: 0, limit });
    const [again, ...events] = await this.log.readLog({ afterPos: last.pos - 1, limit: limit + 1 });
    return differenceOf(last, again) === undefined ? events : undefined;
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

const copyOf = (event: RecordedEvent | undefined): CopiedEvent | undefined =>
  event === undefined ? undefined : { pos: event.pos, eventId: event.eventId, recordedAt: event.recordedAt };

/** Whether the log still has what was published from it; an event is known by its id and the instant it was recorded. */
function differenceOf(published: CopiedEvent, found: RecordedEvent | undefined): string | undefined {
  const { pos, eventId, recordedAt } = published;
  if (found?.eventId === eventId && found?.recordedAt === recordedAt) return undefined;
  const now = found === undefined ? 'nothing' : `event ${found.eventId} of ${found.recordedAt}`;
  return `at position ${pos} event ${eventId} of ${recordedAt} was published, and there is ${now}`;
}
