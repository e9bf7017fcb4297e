import { z } from 'zod';
import { publishedVerdictSchema, taskStateSchema } from '../contracts.js';
import { instantSchema } from '../instant.js';
import { taskIdSchema } from '../names.js';
import { reasonSchema } from '../verdict.js';

/**
 * `plumb report`: what ran in a window of time, what came of it, what waits for a person, and what it took. Whatever was not recorded or not
 * looked at is null, never 0.
 */

const count = z.int().min(0);
const ms = z.number().min(0);
const fromRecord = (what: string): z.ZodNullable<z.ZodInt> => count.nullable().describe(`${what}; null: not recorded`);

/**
 * Where the time of a task went. The parts do not overlap and add up to `wallMs`: at each instant a task is worked on (coding, gate, review,
 * other), or waits for a person, or waits for a model, a worker or a retry.
 */
export const reportTimesSchema = z.object({
  wallMs: ms,
  codingMs: ms,
  gateMs: ms,
  reviewMs: ms,
  otherMs: ms,
  humanMs: ms,
  waitingMs: ms,
});
export type ReportTimes = z.infer<typeof reportTimesSchema>;

/** What one model took in one seat. `heldMs` is how long steps of it were held by a worker, tools included. */
export const reportModelSchema = z.object({
  model: z.string(),
  seat: z.string(),
  steps: count,
  heldMs: ms,
  promptTokens: fromRecord('tokens read'),
  completionTokens: fromRecord('tokens written'),
  /** Answers (turns, reviews) whose tokens are in the sums, and those that were recorded without. */
  answersCounted: count,
  answersNotCounted: count,
});
export type ReportModel = z.infer<typeof reportModelSchema>;

export const reportTaskSchema = z.object({
  id: taskIdSchema,
  /** In its batch, when it came from one. */
  key: z.string().optional(),
  title: z.string(),
  repository: z.string(),
  base: z.string(),
  /** The commit that base was when the task started; null before that. */
  baseCommit: z.string().nullable(),
  state: taskStateSchema,
  verdict: publishedVerdictSchema.nullable(),
  outcome: z.enum(['go', 'go-waived', 'no-go', 'cancelled']).nullable(),
  /** Why, in one sentence. */
  because: z.string(),
  reasons: z.array(reasonSchema),
  branch: z.string().nullable(),
  submittedAt: instantSchema.nullable(),
  closedAt: instantSchema.nullable(),
  /** Begun in the window. */
  attempts: count,
  times: reportTimesSchema,
  models: z.array(reportModelSchema),
  /** Events that this version cannot read: what they say is missing here. */
  unreadEvents: count,
});
export type ReportTask = z.infer<typeof reportTaskSchema>;

export const reportWaitingSchema = z.object({
  task: taskIdSchema,
  key: z.string().optional(),
  title: z.string(),
  since: instantSchema,
  attempt: count,
  reasons: z.array(z.string()),
  /** What to type; `…` is yours. */
  commands: z.array(z.string()),
});
export type ReportWaiting = z.infer<typeof reportWaitingSchema>;

/** What the machines did wrong and the system mended, by fault code. */
export const reportFaultSchema = z.object({
  code: z.string(),
  fault: z.string(),
  meaning: z.string(),
  retried: count,
  abandoned: count,
  tasks: count,
});
export type ReportFault = z.infer<typeof reportFaultSchema>;

/** What was looked at beside the tasks; null where it was not, or could not be. */
export const reportSystemSchema = z.object({
  log: z
    .object({ ok: z.boolean(), events: count, firstBad: z.object({ position: count, what: z.string() }).optional() })
    .nullable(),
  deadLetters: count.nullable(),
  notices: z
    .array(z.object({ target: z.string(), due: count, parkedAt: instantSchema.nullable(), why: z.string().nullable() }))
    .nullable(),
});
export type ReportSystem = z.infer<typeof reportSystemSchema>;

export const reportDocumentSchema = z.object({
  schema: z.literal('plumbline.report/1'),
  madeAt: instantSchema,
  /** Costs and times count within it. `since` is null for the beginning of the log. */
  window: z.object({ since: instantSchema.nullable(), until: instantSchema }),
  batch: z
    .object({
      name: z.string(),
      /** Entries of the file; null when only the name was given. */
      entries: count.nullable(),
      /** Its tasks that were submitted until the end of the window, whenever that was. */
      submitted: count,
      notSubmitted: z.array(z.string()),
      /** Submitted under this name, and not in the file. */
      removed: z.array(z.string()),
    })
    .nullable(),
  totals: z.object({
    tasks: count,
    closed: count,
    waitingForHuman: count,
    underWay: count,
    verdicts: z.object({ go: count, goWaived: count, noGo: count, incomplete: count, none: count }),
    attempts: count,
    times: reportTimesSchema,
    /** From the first to the last instant in which one of the tasks was open. */
    spanMs: ms,
    leasesLost: count,
    lateResultsRefused: count,
    unreadEvents: count,
  }),
  waiting: z.array(reportWaitingSchema),
  tasks: z.array(reportTaskSchema),
  models: z.array(reportModelSchema),
  faults: z.array(reportFaultSchema),
  system: reportSystemSchema,
});
export type ReportDocument = z.infer<typeof reportDocumentSchema>;
