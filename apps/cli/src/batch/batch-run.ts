import { setTimeout as sleep } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/transport-node';
import { entryDifferences, type EntryDifference, type EventData } from '@plumbline/domain';
import { exitCodes, throwIfAborted } from '../failure.js';
import type { EventDocument, TaskListDocument } from '../ledger/documents.js';
import { advance, exitCodeOf, noProgress, type Progress } from '../ledger/follow.js';
import type { LedgerApi } from '../ledger/ledger-api.js';
import { cloudEvent, publishIntake } from '../system/bus-client.js';
import { plain } from '../terminal/text.js';
import type { Batch, PlannedEntry } from './read-batch.js';
import type { Outage } from './outage.js';

const looksAtOnce = 8;
const followMs = 20_000;
/** How long a submission may take to appear in the log before it is sent once more, under the same identity. */
const appearsWithinMs = 10_000;
const appearsPollMs = 200;

/** One task of the batch, as far as the log was read. */
export interface Track {
  readonly key: string;
  readonly taskId: string;
  /** Undefined for what was submitted under this batch's name and is not in its file any more. */
  readonly entry: PlannedEntry | undefined;
  title: string;
  submitted: boolean;
  /** Position up to which its history was read. */
  after: number;
  progress: Progress;
  /** The scheduler's own words, when it did not take it. */
  refused: string | undefined;
}

/** What happens to a track, for whoever watches. */
export type TrackNews = 'submitted' | 'verdict' | 'done';

export interface BatchMeans {
  /** Asked for every time: a system that was started again may be elsewhere. */
  readonly ledger: () => LedgerApi;
  /** Connects, works, disconnects. */
  readonly onBus: <T>(work: (nc: NatsConnection) => Promise<T>) => Promise<T>;
  readonly outage: Outage;
  readonly signal: AbortSignal;
  readonly onNews: (track: Track, news: TrackNews) => void;
}

/** Entries that were edited after they were submitted, each with what differs. */
export interface EditedEntry {
  readonly key: string;
  readonly taskId: string;
  readonly differences: readonly EntryDifference[];
}

/**
 * A batch on its way. Everything it knows comes out of the log and can be read again at any time, so that it may end anywhere: a second
 * run of the same batch, now or after a power cut, finds what this one did.
 */
export class BatchRun {
  readonly tracks: Track[];
  private readonly stopping = new AbortController();
  private readonly signal: AbortSignal;
  private sending: Promise<void> = Promise.resolve();

  constructor(
    private readonly batch: Batch,
    private readonly means: BatchMeans,
  ) {
    this.signal = AbortSignal.any([means.signal, this.stopping.signal]);
    this.tracks = batch.entries.map((entry) => newTrack(entry.key, entry.taskId, entry));
  }

  /** Reads what the log has of every entry. Returns those that were edited since; nothing is sent. Waits for a ledger that is away. */
  async look(): Promise<EditedEntry[]> {
    try {
      return await this.lookAtAll();
    } catch (error) {
      // What else was asked at the same time must not go on waiting.
      this.stopping.abort();
      throw error;
    }
  }

  private async lookAtAll(): Promise<EditedEntry[]> {
    const edited: EditedEntry[] = [];
    await eachAtOnce(this.tracks, looksAtOnce, async (track) => {
      const submitted = await this.readAll(track);
      const { entry, key, taskId } = track;
      if (submitted === undefined || entry === undefined) return;
      const differences = entryDifferences(entry.submission, submitted);
      if (differences.length > 0) edited.push({ key, taskId, differences });
    });
    const known = new Set(this.tracks.map(({ taskId }) => taskId));
    for (const { id, title, source, submissionId } of await this.allOfBatch()) {
      if (source !== this.batch.source || known.has(id)) continue;
      const track = newTrack(submissionId ?? id, id, undefined, title);
      this.tracks.push(track);
      await this.readAll(track);
    }
    return edited;
  }

  /** Hands in what is not, at most `parallel` under way at once, in the order of the file, until every task rests. */
  async run(parallel: number): Promise<void> {
    const active = new Map<Track, Promise<void>>();
    const begin = (track: Track): void =>
      void active.set(
        track,
        this.walk(track).finally(() => active.delete(track)),
      );
    try {
      for (const track of this.tracks) if (track.submitted && !track.progress.resting) begin(track);
      const queue = this.tracks.filter((track) => !track.submitted && track.refused === undefined);
      for (;;) {
        while (active.size < parallel && queue.length > 0) begin(queue.shift() as Track);
        if (active.size === 0) {
          // Somebody may have ruled on a task since it began to wait for a person, or let it try again.
          for (const track of await this.movedAgain()) begin(track);
          if (active.size === 0) return;
        }
        await Promise.race(active.values());
      }
    } finally {
      this.stopping.abort();
      await Promise.allSettled(active.values());
    }
  }

  /** The worst exit code of its tasks: refused before incomplete before ok. */
  get exitCode(): number {
    const codes = this.tracks.map((track) =>
      track.refused === undefined ? exitCodeOf(track.progress) : exitCodes.refused,
    );
    if (codes.includes(exitCodes.refused)) return exitCodes.refused;
    return codes.includes(exitCodes.incomplete) ? exitCodes.incomplete : exitCodes.ok;
  }

  private async walk(track: Track): Promise<void> {
    for (;;) {
      if (!track.submitted) await this.inTurn(() => this.submit(track));
      if (track.refused !== undefined) return this.means.onNews(track, 'done');
      const page = await this.page(track, track.progress.resting ? 0 : followMs);
      if (page === 'gone') continue;
      // At rest only when nothing came after.
      if (page === 0 && track.progress.resting) return this.means.onNews(track, 'done');
    }
  }

  /** One submission after the other, in the order in which they were begun: the log has a batch in the order of its file. */
  private inTurn(submit: () => Promise<void>): Promise<void> {
    this.sending = this.sending.then(submit);
    return this.sending;
  }

  /** Sends an entry until the log shows it, or the scheduler refuses it. Its identity makes every repetition harmless. */
  private async submit(track: Track): Promise<void> {
    const { entry } = track;
    if (entry === undefined) throw new Error('what is not in the file is never submitted');
    const { key, submission } = entry;
    while (!track.submitted && track.refused === undefined) {
      if ((await this.page(track, 0)) !== 'gone') return;
      const event = cloudEvent('submit', submission, key, this.batch.source);
      await this.means.outage.through(
        () =>
          this.means.onBus(async (nc) => {
            nc.subscribe('plumb.intake.refused', {
              callback: (_error, message) => this.noteRefusal(track, message.string()),
            });
            await publishIntake(nc, 'submit', event);
            await this.appears(track);
          }),
        this.signal,
      );
    }
  }

  /** Waits a while for a submission to be in the log; that it is not is no error. */
  private async appears(track: Track): Promise<void> {
    const until = performance.now() + appearsWithinMs;
    while (performance.now() < until && track.refused === undefined) {
      if ((await this.read(track, this.means.ledger(), 0)) !== 'gone') return;
      await sleep(appearsPollMs, undefined, { signal: this.signal }).catch(() => undefined);
      throwIfAborted(this.signal);
    }
  }

  private noteRefusal(track: Track, text: string): void {
    try {
      const { data } = JSON.parse(text) as { data?: { source?: unknown; id?: unknown; message?: unknown } };
      if (data?.source === this.batch.source && data.id === track.key)
        track.refused = plain(typeof data.message === 'string' ? data.message : 'refused without a reason');
    } catch {
      // Not a refusal as the scheduler writes them.
    }
  }

  /** Reads on in a task's history, patiently. */
  private page(track: Track, waitMs: number): Promise<number | 'gone'> {
    return this.means.outage.through(() => this.read(track, this.means.ledger(), waitMs), this.signal);
  }

  /** Reads on in a task's history. Returns how many events came, or `gone` when the log does not have the task. */
  private async read(track: Track, ledger: LedgerApi, waitMs: number): Promise<number | 'gone'> {
    const page = await ledger.taskEvents(track.taskId, { after: track.after, waitMs });
    if (page === undefined || page.head < track.after) {
      // Never submitted, or the log was replaced by a backup in which it was not, or not as far as this.
      Object.assign(track, { submitted: false, after: 0, progress: noProgress });
      return page === undefined ? 'gone' : this.read(track, ledger, 0);
    }
    const fresh = page.events.filter(({ position }) => position > track.after);
    const wasSubmitted = track.submitted;
    track.submitted = true;
    for (const event of fresh) this.take(track, event);
    if (!wasSubmitted) this.means.onNews(track, 'submitted');
    if (fresh.some(({ type }) => type === 'verdict.reached')) this.means.onNews(track, 'verdict');
    return fresh.length;
  }

  private take(track: Track, event: EventDocument): void {
    track.after = event.position;
    track.progress = advance(track.progress, event);
  }

  /** A task's whole history as it stands; returns what was submitted, undefined when nothing was. */
  private async readAll(track: Track): Promise<EventData<'task.submitted'> | undefined> {
    let submitted: EventData<'task.submitted'> | undefined;
    for (;;) {
      const page = await this.means.outage.through(
        () => this.means.ledger().taskEvents(track.taskId, { after: track.after, waitMs: 0 }),
        this.signal,
      );
      const fresh = (page?.events ?? []).filter(({ position }) => position > track.after);
      for (const event of fresh) {
        if (event.type === 'task.submitted') submitted = event.data as EventData<'task.submitted'>;
        this.take(track, event);
      }
      if (page !== undefined) track.submitted = true;
      if (fresh.length === 0) return submitted;
    }
  }

  private allOfBatch(): Promise<TaskListDocument['tasks']> {
    return this.means.outage.through(async () => {
      const tasks: TaskListDocument['tasks'] = [];
      for await (const task of this.means.ledger().allTasks({ sourcePrefix: this.batch.source })) tasks.push(task);
      return tasks;
    }, this.signal);
  }

  /** Tasks that waited for a person when they were last looked at, and do not any more. */
  private async movedAgain(): Promise<Track[]> {
    const waiting = this.tracks.filter(({ progress }) => progress.resting && progress.outcome === undefined);
    await eachAtOnce(waiting, looksAtOnce, async (track) => void (await this.page(track, 0)));
    return waiting.filter(({ progress }) => !progress.resting);
  }
}

function newTrack(key: string, taskId: string, entry: PlannedEntry | undefined, title = ''): Track {
  const shown = entry?.submission.issue.title ?? title;
  return { key, taskId, entry, title: shown, submitted: false, after: 0, progress: noProgress, refused: undefined };
}

/** Does `work` for every item, `width` at a time. */
async function eachAtOnce<T>(items: readonly T[], width: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const drain = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, drain));
}
