import {
  batchSource,
  reportOf,
  taskStateSchema,
  type ReportDocument,
  type ReportEvent,
  type ReportSystem,
} from '@plumbline/domain';
import { z } from 'zod';
import { CliError, throwIfAborted } from '../failure.js';
import type { EventDocument } from '../ledger/documents.js';
import { LedgerUnreachable, type LedgerApi } from '../ledger/ledger-api.js';
import type { Session } from '../session.js';
import { noticeTargets } from './notice-targets.js';
import { busLogin, requestDead, requestNotices, withBus } from '../system/bus-client.js';
import { openLedger } from '../system/connect.js';

/** What a report is to be about. Instants are ISO 8601 UTC. */
export interface ReportQuery {
  readonly since?: string;
  readonly until?: string;
  readonly batch?: { readonly name: string; readonly keys?: readonly string[] };
}

const readsAtOnce = 8;

/** Reads what a report needs and folds it. What is beside the tasks and cannot be had is left out of it; a ledger that is away is an error. */
export async function gatherReport(session: Session, { since, until, batch }: ReportQuery): Promise<ReportDocument> {
  const ledger = openLedger(session);
  const madeAt = new Date().toISOString();
  const { progress } = session;
  const ids = await progress.step('Finding the tasks', () => tasksOf(ledger, { since, batch: batch?.name }));
  const tasks = await progress.step('Reading their histories', () => historiesOf(ledger, ids));
  const system = await progress.step('Verifying the log', () => systemOf(session, ledger));
  return reportOf({ madeAt, since, until, tasks, batch, system });
}

/** Tasks that may have to do with the window: those that changed since, and those that are open. */
async function tasksOf(
  ledger: LedgerApi,
  { since, batch }: { since: string | undefined; batch: string | undefined },
): Promise<string[]> {
  const found = new Set<string>();
  if (batch !== undefined) {
    const wanted = batchSource(batch);
    for await (const { id, source } of ledger.allTasks({ sourcePrefix: wanted })) if (source === wanted) found.add(id);
    return [...found];
  }
  for await (const { id } of ledger.allTasks(since === undefined ? {} : { updatedSince: since })) found.add(id);
  if (since === undefined) return [...found];
  for (const state of taskStateSchema.options.filter((option) => option !== 'closed'))
    for await (const { id } of ledger.allTasks({ state })) found.add(id);
  return [...found];
}

async function historiesOf(
  ledger: LedgerApi,
  ids: readonly string[],
): Promise<{ taskId: string; events: ReportEvent[] }[]> {
  const queue = [...ids];
  const histories: { taskId: string; events: ReportEvent[] }[] = [];
  const drain = async (): Promise<void> => {
    for (let id = queue.shift(); id !== undefined; id = queue.shift())
      histories.push({ taskId: id, events: await historyOf(ledger, id) });
  };
  await Promise.all(Array.from({ length: Math.min(readsAtOnce, ids.length) }, drain));
  return histories;
}

async function historyOf(ledger: LedgerApi, id: string): Promise<ReportEvent[]> {
  const events: ReportEvent[] = [];
  for (let after = 0; ;) {
    const page = await ledger.taskEvents(id, { after, waitMs: 0 });
    const fresh = (page?.events ?? []).filter(({ position }) => position > after);
    if (fresh.length === 0) return events;
    events.push(...fresh.map(reportEvent));
    after = fresh.at(-1)?.position ?? after;
  }
}

function reportEvent(event: EventDocument): ReportEvent {
  const { type, position, version, at, data } = event;
  const schemaVersion = typeof event['schemaVersion'] === 'number' ? event['schemaVersion'] : undefined;
  return { type, schemaVersion, version: version ?? position, at, data };
}

const deadCount = z.looseObject({ entries: z.array(z.unknown()), total: z.int().min(0).optional() });

async function systemOf(session: Session, ledger: LedgerApi): Promise<ReportSystem> {
  const audit = await orNull(session, () => ledger.audit());
  const bus = await orNull(session, () =>
    withBus(busLogin(session, 'operator'), async (nc) => ({
      dead: deadCount.safeParse(await requestDead(nc, { op: 'list' }).catch(() => undefined)),
      notices: noticeTargets.safeParse(await requestNotices(nc).catch(() => undefined)),
    })),
  );
  const { firstBad } = audit ?? {};
  return {
    log:
      audit === null
        ? null
        : {
            ok: audit.ok,
            events: audit.events,
            ...(firstBad === undefined || firstBad === null
              ? {}
              : { firstBad: { position: firstBad.position, what: firstBad.what } }),
          },
    deadLetters: bus?.dead.success === true ? (bus.dead.data.total ?? bus.dead.data.entries.length) : null,
    notices: bus?.notices.success === true ? bus.notices.data.targets : null,
  };
}

/** What cannot be had is told as not looked at. */
async function orNull<T>(session: Session, read: () => Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    throwIfAborted(session.signal);
    if (error instanceof LedgerUnreachable || !(error instanceof CliError)) throw error;
    return null;
  }
}
