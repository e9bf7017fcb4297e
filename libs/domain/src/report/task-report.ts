import { batchNameOf } from '../batch/batch.js';
import type { RecordedEvent } from '../events/catalogue.js';
import { decodeEvent } from '../events/codec.js';
import type { FaultCode } from '../faults.js';
import { evolve } from '../task/evolve.js';
import { explainWait } from '../task/project.js';
import { initialTask, liveSteps, openEscalation, type StepState, type TaskState } from '../task/state.js';
import type { ReportModel, ReportTask, ReportTimes, ReportWaiting } from './document.js';
import { ModelCosts } from './model-costs.js';

/** A recorded event of one task as a reader has it; `version` counts within the task's history. */
export interface ReportEvent {
  readonly type: string;
  readonly schemaVersion?: number | undefined;
  readonly version: number;
  readonly at: string;
  readonly data: unknown;
}

/** Instants in milliseconds; what lies outside is not counted. */
export interface ReportWindow {
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** What one task adds to a report. */
export interface TaskReport {
  readonly task: ReportTask;
  readonly waiting: ReportWaiting | undefined;
  readonly faults: readonly { readonly code: FaultCode; readonly abandoned: boolean }[];
  readonly leasesLost: number;
  readonly lateResultsRefused: number;
  /** The first and the last instant in the window in which it was open; undefined when there is none. */
  readonly open: { readonly fromMs: number; readonly toMs: number } | undefined;
}

type Part = Exclude<keyof ReportTimes, 'wallMs'>;

const partOfStep = {
  coding: 'codingMs',
  gating: 'gateMs',
  review: 'reviewMs',
  snapshot: 'otherMs',
  publishing: 'otherMs',
} as const satisfies Record<StepState['kind'], Part>;
/** Which part an instant counts for when steps of several kinds are held in it. */
const precedence: readonly Part[] = ['codingMs', 'gateMs', 'reviewMs', 'otherMs'];

/** Nothing of any kind. */
export const noTimes = (): ReportTimes => ({
  wallMs: 0,
  codingMs: 0,
  gateMs: 0,
  reviewMs: 0,
  otherMs: 0,
  humanMs: 0,
  waitingMs: 0,
});

/**
 * What a task's history says about a window of time. Pure; the order and repetition of `given` make no difference. Events after the window
 * are not known to it. Undefined for a task that had not been submitted by then, or that had nothing to do with the window.
 */
export function taskReport(
  taskId: string,
  given: readonly ReportEvent[],
  window: ReportWindow,
): TaskReport | undefined {
  const fold = new TaskFold(window);
  const byVersion = new Map(given.map((event) => [event.version, event]));
  const events = [...byVersion.values()].sort((a, b) => a.version - b.version);
  for (const event of events) if (Date.parse(event.at) <= window.untilMs) fold.take(event);
  return fold.end(taskId);
}

class TaskFold {
  private state: TaskState = initialTask;
  private atMs = Number.NEGATIVE_INFINITY;
  private readonly times = noTimes();
  private readonly costs = new ModelCosts();
  private readonly attempts = new Set<number>();
  private readonly faults: { code: FaultCode; abandoned: boolean }[] = [];
  private open: { fromMs: number; toMs: number } | undefined;
  private escalatedAt: string | undefined;
  private closedAt: string | undefined;
  private cancelled: { by: string; why: string } | undefined;
  private leasesLost = 0;
  private lateResultsRefused = 0;
  private unread = 0;
  private touched = false;

  constructor(private readonly window: ReportWindow) {}

  take(given: ReportEvent): void {
    // A clock that was set back must not make time negative.
    const atMs = Math.max(Date.parse(given.at), this.atMs);
    this.elapse(atMs);
    const inWindow = atMs >= this.window.sinceMs;
    if (inWindow) this.touched = true;
    const decoded = decodeEvent({ type: given.type, schemaVersion: given.schemaVersion ?? 1, data: given.data });
    if (decoded.outcome !== 'event') {
      this.unread += 1;
      return;
    }
    const event = { ...decoded.event, at: given.at };
    if (inWindow) this.count(event);
    this.state = evolve(this.state, event);
    if (event.type === 'escalation.opened' && event.data.to === 'human') this.escalatedAt = given.at;
    if (event.type === 'task.closed') this.closedAt ??= given.at;
    if (event.type === 'task.cancelled') this.cancelled = event.data;
  }

  /** Gives the time up to `toMs` to what the task was in. */
  private elapse(toMs: number): void {
    const fromMs = Math.max(this.atMs, this.window.sinceMs);
    const untilMs = Math.min(toMs, this.window.untilMs);
    this.atMs = toMs;
    if (this.state.phase === 'none' || this.state.phase === 'closed' || untilMs < fromMs) return;
    const lasted = untilMs - fromMs;
    this.open = { fromMs: this.open?.fromMs ?? fromMs, toMs: untilMs };
    const held = liveSteps(this.state).filter((step) => step.status === 'requested' && step.leased && !step.unattended);
    const parts = new Set<Part>(held.map((step) => partOfStep[step.kind]));
    const part =
      precedence.find((each) => parts.has(each)) ?? (this.state.phase === 'awaiting-ruling' ? 'humanMs' : 'waitingMs');
    this.times[part] += lasted;
    this.times.wallMs += lasted;
    for (const step of held) this.costs.hold(step, lasted);
  }

  private count(event: Pick<RecordedEvent, 'type' | 'data'> & { at: string }): void {
    const known = event as RecordedEvent;
    this.costs.count(this.state, known);
    if (known.type === 'task.coding-requested') this.attempts.add(known.data.attempt);
    if (known.type === 'task.step-retry-scheduled') this.faults.push({ code: known.data.code, abandoned: false });
    if (known.type === 'task.step-abandoned') this.faults.push({ code: known.data.code, abandoned: true });
    if (known.type === 'lease.expired') this.leasesLost += 1;
    if (known.type === 'lease.result-refused') this.lateResultsRefused += 1;
  }

  end(taskId: string): TaskReport | undefined {
    this.elapse(this.window.untilMs);
    const { submission, phase } = this.state;
    if (submission === undefined || phase === 'none' || (!this.touched && this.open === undefined)) return undefined;
    const models = this.costs.rows();
    const { faults, leasesLost, lateResultsRefused, open } = this;
    const key = batchNameOf(submission.source) === undefined ? {} : { key: submission.submissionId };
    const task: ReportTask = {
      id: taskId,
      ...key,
      title: submission.issue.title,
      repository: submission.repository.url,
      base: submission.repository.base,
      baseCommit: this.state.snapshot?.base ?? null,
      state: phase,
      ...this.judged(),
      branch: this.state.published?.branch ?? null,
      submittedAt: this.state.submittedAt ?? null,
      closedAt: this.closedAt ?? null,
      attempts: this.attempts.size,
      times: this.times,
      models,
      unreadEvents: this.unread,
    };
    return { task, waiting: this.waiting(task), faults, leasesLost, lateResultsRefused, open };
  }

  /** The verdict on the last attempt that has one, under the label it ended with, and why in a sentence. */
  private judged(): Pick<ReportTask, 'verdict' | 'outcome' | 'because' | 'reasons'> {
    const { attempts, outcome, ruling } = this.state;
    const judgement = attempts.findLast((attempt) => attempt.judgement !== undefined)?.judgement;
    const waived = outcome?.outcome === 'go-waived';
    const verdict = judgement === undefined ? null : waived ? 'GO-WAIVED' : judgement.verdict;
    const reasons = judgement?.reasons ?? [];
    const first = reasons[0];
    const more = reasons.length > 1 ? ` (and ${reasons.length - 1} more)` : '';
    const found = first === undefined ? '' : `${first.check}: ${first.summary}${more}`;
    const said = (): string => {
      if (outcome?.outcome === 'cancelled') {
        const { by, why } = this.cancelled ?? { by: 'somebody', why: 'no reason was recorded' };
        return `Cancelled by ${by}: ${why}`;
      }
      if (ruling !== undefined && (waived || outcome?.outcome === 'no-go'))
        return `Ruled ${ruling.decision.toUpperCase()} by ${ruling.by}: ${ruling.why}`;
      if (verdict === 'GO') return 'Every required check passed, and the panel approved with evidence that holds.';
      if (found !== '') return found;
      return explainWait(this.state)[0]?.message ?? 'nothing was recorded';
    };
    return { verdict, outcome: outcome?.outcome ?? null, because: said(), reasons };
  }

  private waiting({ id, key, title }: ReportTask): ReportWaiting | undefined {
    const open = openEscalation(this.state);
    if (open === undefined || this.state.phase === 'closed' || this.escalatedAt === undefined) return undefined;
    const { attempt, reasons } = open;
    return {
      task: id,
      ...(key === undefined ? {} : { key }),
      title,
      since: this.escalatedAt,
      attempt,
      reasons,
      commands: commandsFor(id, this.state),
    };
  }
}

/** What a person may type about a task that waits for them. GO is offered only where there is a change that could be published. */
export function commandsFor(taskId: string, state: TaskState): string[] {
  const rule = `plumb rule ${taskId}`;
  const change = state.attempts.at(-1)?.change;
  return [
    `plumb show ${taskId}`,
    ...(change === undefined ? [] : [`${rule} --go --why …`]),
    `${rule} --no-go --why …`,
    `plumb retry ${taskId} --why …`,
  ];
}

/** Rows of several tasks as one list: a row per model and seat. */
export function sumModels(rows: readonly ReportModel[]): ReportModel[] {
  const add = (a: number | null, b: number | null): number | null => (a === null ? b : b === null ? a : a + b);
  const sums = new Map<string, ReportModel>();
  for (const row of rows) {
    const id = `${row.seat} ${row.model}`;
    const known = sums.get(id);
    if (known === undefined) {
      sums.set(id, { ...row });
      continue;
    }
    sums.set(id, {
      ...known,
      steps: known.steps + row.steps,
      heldMs: known.heldMs + row.heldMs,
      promptTokens: add(known.promptTokens, row.promptTokens),
      completionTokens: add(known.completionTokens, row.completionTokens),
      answersCounted: known.answersCounted + row.answersCounted,
      answersNotCounted: known.answersNotCounted + row.answersNotCounted,
    });
  }
  return [...sums].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, row]) => row);
}
