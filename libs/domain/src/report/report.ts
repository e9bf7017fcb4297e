import { batchSource } from '../batch/batch.js';
import { decodeEvent } from '../events/codec.js';
import { faultCodes, type FaultCode } from '../faults.js';
import type { ReportDocument, ReportFault, ReportSystem, ReportTimes } from './document.js';
import { noTimes, sumModels, taskReport, type ReportEvent, type TaskReport } from './task-report.js';

/** What a report is made of. */
export interface ReportInput {
  readonly madeAt: string;
  /** From the beginning of the log when absent. */
  readonly since?: string | undefined;
  /** As far as is known when absent; never later than that. */
  readonly until?: string | undefined;
  /** Histories of tasks; those that had nothing to do with the window are left out of the report. */
  readonly tasks: readonly { readonly taskId: string; readonly events: readonly ReportEvent[] }[];
  /** The batch reported on, with the keys of its file in order where the file is known. */
  readonly batch?: { readonly name: string; readonly keys?: readonly string[] | undefined } | undefined;
  readonly system: ReportSystem;
}

/**
 * Folds histories to a report. Pure: the same events give the same document, in whatever order they and their tasks come and however often.
 * Times are differences of recorded instants; nothing is estimated.
 */
export function reportOf(input: ReportInput): ReportDocument {
  const { madeAt, since, batch, system } = input;
  const until = endOf(input);
  const window = {
    sinceMs: since === undefined ? Number.NEGATIVE_INFINITY : Date.parse(since),
    untilMs: Date.parse(until),
  };
  const byId = new Map(input.tasks.map(({ taskId, events }) => [taskId, events]));
  const reports = [...byId].flatMap(([taskId, events]) => taskReport(taskId, events, window) ?? []);
  const order = new Map((batch?.keys ?? []).map((key, at) => [key, at]));
  const rank = ({ task }: TaskReport): [number, string, string] => [
    task.key === undefined ? order.size : (order.get(task.key) ?? order.size),
    task.submittedAt ?? '',
    task.id,
  ];
  reports.sort((a, b) => compare(rank(a), rank(b)));
  return {
    schema: 'plumbline.report/1',
    madeAt,
    window: { since: since ?? null, until },
    batch: batch === undefined ? null : batchPart(batch, input.tasks, window.untilMs),
    totals: totalsOf(reports),
    waiting: reports
      .flatMap(({ waiting }) => waiting ?? [])
      .sort((a, b) => compare([a.since, a.task], [b.since, b.task])),
    tasks: reports.map(({ task }) => task),
    models: sumModels(reports.flatMap(({ task }) => task.models)),
    faults: faultsOf(reports),
    system,
  };
}

/** Until when anything is known: this report's instant, or the newest event's where a server's clock is ahead of the reader's. */
function endOf({ madeAt, until, tasks }: ReportInput): string {
  let known = madeAt;
  for (const { events } of tasks) for (const { at } of events) if (Date.parse(at) > Date.parse(known)) known = at;
  return until !== undefined && Date.parse(until) < Date.parse(known) ? until : known;
}

/** Of every history given: what was submitted before the window is submitted, whatever it did within it. */
function batchPart(
  { name, keys }: NonNullable<ReportInput['batch']>,
  tasks: ReportInput['tasks'],
  untilMs: number,
): ReportDocument['batch'] {
  const submitted = new Set(tasks.flatMap(({ events }) => keyIn(name, events, untilMs) ?? []));
  return {
    name,
    entries: keys?.length ?? null,
    submitted: submitted.size,
    notSubmitted: (keys ?? []).filter((key) => !submitted.has(key)),
    removed: keys === undefined ? [] : [...submitted].filter((key) => !keys.includes(key)).sort(),
  };
}

/** The key under which a task was submitted to this batch by then; undefined when it was not. */
function keyIn(batch: string, events: readonly ReportEvent[], untilMs: number): string | undefined {
  for (const { type, schemaVersion = 1, data, at } of events) {
    if (type !== 'task.submitted' || Date.parse(at) > untilMs) continue;
    const decoded = decodeEvent({ type, schemaVersion, data });
    if (decoded.outcome !== 'event' || decoded.event.type !== 'task.submitted') continue;
    const { source, submissionId } = decoded.event.data;
    if (source === batchSource(batch)) return submissionId;
  }
  return undefined;
}

function totalsOf(reports: readonly TaskReport[]): ReportDocument['totals'] {
  const sum = (of: (report: TaskReport) => number): number => reports.reduce((total, report) => total + of(report), 0);
  const judged = (verdict: string | null): number => sum(({ task }) => (task.verdict === verdict ? 1 : 0));
  const times = noTimes();
  for (const part of Object.keys(times) as (keyof ReportTimes)[]) times[part] = sum(({ task }) => task.times[part]);
  const closed = sum(({ task }) => (task.state === 'closed' ? 1 : 0));
  const waitingForHuman = sum(({ waiting }) => (waiting === undefined ? 0 : 1));
  const open = reports.flatMap((report) => report.open ?? []);
  return {
    tasks: reports.length,
    closed,
    waitingForHuman,
    underWay: reports.length - closed - waitingForHuman,
    verdicts: {
      go: judged('GO'),
      goWaived: judged('GO-WAIVED'),
      noGo: judged('NO-GO'),
      incomplete: judged('INCOMPLETE'),
      none: judged(null),
    },
    attempts: sum(({ task }) => task.attempts),
    times,
    spanMs:
      open.length === 0 ? 0 : Math.max(...open.map(({ toMs }) => toMs)) - Math.min(...open.map(({ fromMs }) => fromMs)),
    leasesLost: sum(({ leasesLost }) => leasesLost),
    lateResultsRefused: sum(({ lateResultsRefused }) => lateResultsRefused),
    unreadEvents: sum(({ task }) => task.unreadEvents),
  };
}

/** By code, most frequent first. */
function faultsOf(reports: readonly TaskReport[]): ReportFault[] {
  const byCode = new Map<FaultCode, { retried: number; abandoned: number; tasks: Set<string> }>();
  for (const { task, faults } of reports) {
    for (const { code, abandoned } of faults) {
      const known = byCode.get(code) ?? { retried: 0, abandoned: 0, tasks: new Set<string>() };
      known[abandoned ? 'abandoned' : 'retried'] += 1;
      known.tasks.add(task.id);
      byCode.set(code, known);
    }
  }
  return [...byCode]
    .map(([code, { retried, abandoned, tasks }]) => {
      const { fault, meaning } = faultCodes[code];
      return { code, fault, meaning, retried, abandoned, tasks: tasks.size };
    })
    .sort((a, b) => compare([-(a.retried + a.abandoned), a.code], [-(b.retried + b.abandoned), b.code]));
}

/** Compares keys part by part. */
function compare(a: readonly (string | number)[], b: readonly (string | number)[]): number {
  for (const [at, left] of a.entries()) {
    const right = b[at] ?? '';
    if (left !== right) return left < right ? -1 : 1;
  }
  return 0;
}
