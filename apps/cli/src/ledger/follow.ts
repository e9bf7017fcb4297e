import { setTimeout as sleep } from 'node:timers/promises';
import type { EventData } from '@plumbline/domain';
import { exitCodes, throwIfAborted } from '../failure.js';
import type { EventDocument } from './documents.js';
import { unknownTask } from './find-task.js';
import { patiently, type LedgerApi } from './ledger-api.js';

const WAIT_MS = 20_000;
const PAGE = 500;
/** A task just accepted may not be in the read model yet. */
const APPEARS_WITHIN_MS = 10_000;
const POLL_MS = 100;

/** Where a task has come to, folded from its events. `resting`: nothing more happens by itself. */
export interface Progress {
  readonly resting: boolean;
  readonly verdict: string | undefined;
  readonly reasons: readonly { readonly check: string; readonly summary: string }[];
  /** `go`, `no-go`, … once it is closed. */
  readonly outcome: string | undefined;
  readonly branch: string | undefined;
  /** The reasons of the escalation that waits for a human. */
  readonly escalation: readonly string[] | undefined;
}

export const noProgress: Progress = {
  resting: false,
  verdict: undefined,
  reasons: [],
  outcome: undefined,
  branch: undefined,
  escalation: undefined,
};

/** The progress after one more event. */
export function advance(progress: Progress, event: EventDocument): Progress {
  switch (event.type) {
    case 'verdict.reached': {
      const { judgement } = event.data as EventData<'verdict.reached'>;
      return { ...progress, resting: false, verdict: judgement.verdict, reasons: judgement.reasons };
    }
    case 'escalation.opened': {
      const { to, reasons } = event.data as EventData<'escalation.opened'>;
      return to === 'human' ? { ...progress, resting: true, escalation: reasons } : progress;
    }
    case 'escalation.resolved':
      return { ...progress, resting: false, escalation: undefined };
    case 'change.published':
      return { ...progress, branch: (event.data as EventData<'change.published'>).branch };
    case 'task.closed':
      return { ...progress, resting: true, outcome: (event.data as EventData<'task.closed'>).outcome };
    default:
      return progress;
  }
}

/** The exit code that a task's end means: a human's ruling counts before the verdict. */
export function exitCodeOf({ verdict, outcome }: Progress): number {
  if (outcome === 'go' || outcome === 'go-waived') return exitCodes.ok;
  if (outcome === 'no-go' || outcome === 'cancelled') return exitCodes.refused;
  if (verdict === 'NO-GO') return exitCodes.refused;
  return exitCodes.incomplete;
}

/** Hands every event of a task to `onEvent`, from the first on, until the task rests. Throws CliError for an unknown task. */
export async function followTask(
  ledger: LedgerApi,
  id: string,
  onEvent: (event: EventDocument) => void,
  options: { justSubmitted?: boolean; signal: AbortSignal },
): Promise<Progress> {
  let progress = noProgress;
  let after = 0;
  const appearsUntil = performance.now() + (options.justSubmitted === true ? APPEARS_WITHIN_MS : 0);
  for (;;) {
    throwIfAborted(options.signal);
    const query = { after, waitMs: progress.resting ? 0 : WAIT_MS };
    // The first read says at once when there is no ledger; later ones wait for it to come back.
    const read = () => ledger.taskEvents(id, query);
    const page = await (after === 0 ? read() : patiently(read, options.signal));
    if (page === undefined) {
      if (performance.now() > appearsUntil) throw unknownTask(id);
      await sleep(POLL_MS, undefined, { signal: options.signal });
      continue;
    }
    for (const event of page.events.filter(({ position }) => position > after)) {
      after = event.position;
      progress = advance(progress, event);
      onEvent(event);
    }
    // At rest only when nothing came after: an escalation of long ago may have been ruled on since.
    if (page.events.length === 0 && progress.resting) return progress;
  }
}

/** Events of the whole log from a position on, in pages, without end when `follow` is set. */
export async function* readLog(
  ledger: LedgerApi,
  options: { after: number; follow: boolean; signal: AbortSignal },
): AsyncGenerator<EventDocument, void> {
  let { after } = options;
  for (;;) {
    throwIfAborted(options.signal);
    const read = () => ledger.log({ after, limit: PAGE, waitMs: options.follow ? WAIT_MS : 0 });
    const page = await (options.follow && after > options.after ? patiently(read, options.signal) : read());
    const fresh = page.events.filter(({ position }) => position > after);
    for (const event of fresh) yield event;
    after = fresh.at(-1)?.position ?? after;
    if (fresh.length === 0 && !options.follow) return;
  }
}

/** The task that a published submission became, found in the log after `after` by the id of its CloudEvent. */
export async function taskOfSubmission(
  ledger: LedgerApi,
  submissionId: string,
  options: { after: number; signal: AbortSignal },
): Promise<string> {
  for await (const event of readLog(ledger, { ...options, follow: true })) {
    if (event.type !== 'task.submitted') continue;
    if ((event.data as EventData<'task.submitted'>).submissionId === submissionId) return event.task ?? '';
  }
  throw new Error('a followed log ends only by interruption');
}
