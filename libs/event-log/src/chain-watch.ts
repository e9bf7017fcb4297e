import type { Pool, PoolClient } from 'pg';
import { brokenLink, readChainPage, type AuditFinding } from './audit.js';
import { genesisHash } from './chain.js';
import { toOperationalError, type OperationalError } from './errors.js';
import { inTransaction } from './session.js';
import { Wakeup } from './wakeup.js';

const maxBackoffMs = 30_000;

export interface ChainWatchOptions {
  /** Events verified in one go. Default 250. */
  pageSize?: number;
  /** Time from one look to the next. Default 500: with `pageSize`, at most 500 old events a second. */
  everyMs?: number;
  /** A pass over the whole log begins at the earliest this long after the one before it began. Default a minute. */
  passEveryMs?: number;
  /** Told when the chain is found broken, and again when an earlier place is found; the background's find comes besides that at the end. */
  onBroken?: (finding: AuditFinding) => void;
  /** Told after every look what is known. */
  onLook?: (state: ChainState) => void;
  /** Told of every failure to look; the watch goes on after a growing pause of at most half a minute. */
  onError?: (error: OperationalError) => void;
}

/** What the watch knows of the chain. */
export interface ChainState {
  /** Nothing broken is known. Becomes true again only when the broken place was verified. */
  ok: boolean;
  /** Events that came since the watch began were verified up to here. */
  verifiedPosition: number;
  /** How far the pass over the whole log has come; between passes, the end of the last one. */
  passPosition: number;
  /** When the last whole pass ended that found nothing; absent before the first one. */
  passedAt?: Date;
}

interface Cursor {
  pos: number;
  hash: string;
}

/** What one look at the log found. `ended`: everything up to the head was verified, and the head is the end of the chain. */
type Look = { outcome: 'verified'; to: Cursor; ended: boolean } | { outcome: 'broken'; finding: AuditFinding };

/** New events are verified in so many pages a look at most, so that a burst of appends does not become a burst of reading. */
const newPagesPerLook = 8;

/**
 * Verifies the chain for as long as it runs, at a bounded cost: new events as they come, and the whole log from its first event again and
 * again in the background. Verified are the hash over every column, dense positions, and that the head is the chain's end; `auditLog`
 * besides looks at streams and queue. Any number of processes may watch the same log.
 */
export class ChainWatch {
  private readonly wakeup = new Wakeup();
  private stopping: AbortController | undefined;
  private running: Promise<void> | undefined;
  private epoch = '';
  private tail: Cursor | undefined;
  private pass: Cursor = { pos: 0, hash: genesisHash };
  private passBegunAt = Number.NEGATIVE_INFINITY;
  private passing = false;
  private passedAt: Date | undefined;
  private tailFinding: AuditFinding | undefined;
  private passFinding: AuditFinding | undefined;

  constructor(
    private readonly pool: Pool,
    private readonly options: ChainWatchOptions = {},
  ) {}

  /** Starts the loop; does nothing when it runs already. */
  start(): void {
    if (this.running !== undefined) return;
    this.stopping = new AbortController();
    this.running = this.run(this.stopping.signal);
  }

  /** Ends the loop and resolves when the look in hand is over. */
  async stop(): Promise<void> {
    this.stopping?.abort();
    await this.running;
    this.running = undefined;
  }

  get state(): ChainState {
    return {
      ok: this.tailFinding === undefined && this.passFinding === undefined,
      verifiedPosition: this.tail?.pos ?? 0,
      passPosition: this.pass.pos,
      ...(this.passedAt === undefined ? {} : { passedAt: this.passedAt }),
    };
  }

  /** One look: at what is new, and at the next page of the pass. Throws OperationalError when the database failed. */
  async look(): Promise<ChainState> {
    try {
      await this.lookForEpoch();
      await this.lookAtNew();
      await this.lookAtPast();
    } catch (error) {
      throw toOperationalError(error, 'verifying the chain');
    }
    this.options.onLook?.(this.state);
    return this.state;
  }

  private async run(signal: AbortSignal): Promise<void> {
    const everyMs = this.options.everyMs ?? 500;
    let pauseMs = everyMs;
    while (!signal.aborted) {
      try {
        await this.look();
        pauseMs = everyMs;
      } catch (error) {
        this.options.onError?.(toOperationalError(error, 'verifying the chain'));
        pauseMs = Math.min(pauseMs * 2, maxBackoffMs);
      }
      await this.wakeup.sleep(this.wakeup.mark(), pauseMs, signal);
    }
  }

  /** Another epoch is another log: what was verified in the old one says nothing about it. */
  private async lookForEpoch(): Promise<void> {
    const { rows } = await this.pool.query<{ epoch: string; pos: string; hash: string }>(
      `SELECT epoch, pos, encode(chain_hash, 'hex') AS hash FROM es.log_head`,
    );
    const head = rows[0];
    // The looks below find that it is missing.
    if (head === undefined || head.epoch === this.epoch) return;
    this.epoch = head.epoch;
    this.tail = { pos: Number(head.pos), hash: head.hash };
    this.tailFinding = undefined;
    this.passFinding = undefined;
    this.passing = false;
    this.passBegunAt = Number.NEGATIVE_INFINITY;
    this.passedAt = undefined;
  }

  private async lookAtNew(): Promise<void> {
    for (let page = 0; page < newPagesPerLook; page++) {
      const look = await this.verify(this.tail ?? { pos: 0, hash: genesisHash });
      // A broken place is looked at again and again: once it is mended, this goes on behind it.
      if (look.outcome === 'broken') return void (this.tailFinding = this.tell(look.finding, this.tailFinding));
      this.tailFinding = undefined;
      this.tail = look.to;
      if (look.ended) return;
    }
  }

  private async lookAtPast(): Promise<void> {
    if (!this.passing) {
      if (performance.now() - this.passBegunAt < (this.options.passEveryMs ?? 60_000)) return;
      this.passing = true;
      this.passBegunAt = performance.now();
      this.pass = { pos: 0, hash: genesisHash };
    }
    const look = await this.verify(this.pass);
    if (look.outcome === 'broken') {
      this.passing = false;
      return void (this.passFinding = this.tell(look.finding, this.passFinding));
    }
    this.pass = look.to;
    if (!look.ended) return;
    this.passing = false;
    this.passFinding = undefined;
    this.passedAt = new Date();
  }

  /** Verifies a page after `from`, on one snapshot of log and head. */
  private verify(from: Cursor): Promise<Look> {
    const { pageSize = 250 } = this.options;
    return inTransaction(
      this.pool,
      (client) => verifyPage(client, from, pageSize),
      'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY',
    );
  }

  /** The finding that now stands; whoever listens hears of it once, however often it is found again. */
  private tell(finding: AuditFinding, before: AuditFinding | undefined): AuditFinding {
    if (before !== undefined && before.position <= finding.position) return before;
    this.options.onBroken?.(finding);
    return finding;
  }
}

async function verifyPage(client: PoolClient, from: Cursor, pageSize: number): Promise<Look> {
  const { rows } = await client.query<{ pos: string; hash: string }>(
    `SELECT pos, encode(chain_hash, 'hex') AS hash FROM es.log_head`,
  );
  const head = rows[0];
  if (head === undefined)
    return { outcome: 'broken', finding: { position: 1, what: 'the head of the log is missing' } };
  const headPosition = Number(head.pos);
  const broken = (position: number, what: string): Look => ({ outcome: 'broken', finding: { position, what } });
  let { pos, hash } = from;
  const page = await readChainPage(client, pos, pageSize);
  for (const row of page) {
    const what = brokenLink(row, pos + 1, hash);
    if (what !== undefined) return broken(pos + 1, what);
    if (pos >= headPosition) return broken(pos + 1, `the log goes on after its head at ${headPosition}`);
    pos += 1;
    hash = row.stored_hash;
  }
  if (page.length === pageSize) return { outcome: 'verified', to: { pos, hash }, ended: false };
  if (pos < headPosition) return broken(pos + 1, `the log ends before its head at ${headPosition}`);
  if (pos > headPosition) return broken(headPosition + 1, `the log went back from ${pos} to ${headPosition}`);
  if (hash !== head.hash) return broken(Math.max(pos, 1), 'the chain does not end in the head');
  return { outcome: 'verified', to: { pos, hash }, ended: true };
}
