import { z } from 'zod';

/** What the ledger's HTTP API answers, as far as the command line reads it. Fields may be added there at any time and are kept. */

const verdict = z.string();

export const reasonDocument = z.looseObject({
  check: z.string(),
  summary: z.string(),
  effect: z.string().optional(),
  evidence: z.array(z.string()).optional(),
});

export const taskDocument = z.looseObject({
  schema: z.literal('plumbline.task/1'),
  task: z.looseObject({
    id: z.string(),
    state: z.string(),
    repository: z.looseObject({ url: z.string() }).or(z.string()),
    base: z.string().optional(),
    issue: z.looseObject({ title: z.string() }),
  }),
  attempts: z.array(
    z.looseObject({
      n: z.int(),
      model: z.string().nullish(),
      node: z.string().nullish(),
      change: z.looseObject({ head: z.string().optional(), files: z.array(z.string()).optional() }).nullish(),
      ended: z.looseObject({ code: z.string(), detail: z.string().optional() }).nullish(),
      checks: z.array(z.looseObject({ check: z.string(), outcome: z.string(), summary: z.string().optional() })),
      reviews: z.array(
        z.looseObject({ seat: z.string(), model: z.string().optional(), decision: z.string().optional() }),
      ),
    }),
  ),
  verdict: z.looseObject({ verdict, reasons: z.array(reasonDocument) }).nullish(),
  escalations: z.array(
    z.looseObject({ open: z.boolean().optional(), to: z.string().optional(), reasons: z.array(z.string()).optional() }),
  ),
  timeline: z.array(
    z.looseObject({ position: z.int(), at: z.string(), type: z.string(), summary: z.string().default('') }),
  ),
});
export type TaskDocument = z.infer<typeof taskDocument>;

export const taskListDocument = z.looseObject({
  schema: z.literal('plumbline.tasks/1'),
  tasks: z.array(
    z.looseObject({
      id: z.string(),
      state: z.string(),
      verdict: z.string().nullish(),
      title: z.string(),
      waitingFor: z.string().nullish(),
      outcome: z.string().optional(),
      repository: z.string().optional(),
      source: z.string().optional(),
      submissionId: z.string().optional(),
      attempts: z.int().optional(),
      submittedAt: z.string().optional(),
      updatedAt: z.string().optional(),
      closedAt: z.string().optional(),
    }),
  ),
  next: z.string().optional(),
});
export type TaskListDocument = z.infer<typeof taskListDocument>;

/** One recorded event. `type` is `<category>.<event>`, `data` as recorded. */
export const eventDocument = z.looseObject({
  position: z.int().min(1),
  at: z.string(),
  type: z.string(),
  streamId: z.string().optional(),
  version: z.int().optional(),
  /** The task it is about; absent for events of nodes and the fleet. */
  task: z.string().optional(),
  data: z.unknown(),
});
export type EventDocument = z.infer<typeof eventDocument>;

export const eventPage = z.looseObject({ events: z.array(eventDocument), head: z.int().min(0) });
export type EventPage = z.infer<typeof eventPage>;

export const auditDocument = z.looseObject({
  schema: z.literal('plumbline.audit/1'),
  ok: z.boolean(),
  events: z.int().min(0),
  headPosition: z.int().min(0),
  epochs: z
    .array(z.looseObject({ number: z.int(), afterPosition: z.int(), startedAt: z.string(), why: z.string() }))
    .optional(),
  firstBad: z.looseObject({ position: z.int(), what: z.string() }).nullish(),
});
export type AuditDocument = z.infer<typeof auditDocument>;

export const escalationsDocument = z.looseObject({
  schema: z.literal('plumbline.escalations/1'),
  escalations: z.array(
    z.looseObject({
      task: z.string(),
      title: z.string().default(''),
      to: z.string().optional(),
      attempt: z.int().optional(),
      openedAt: z.string().optional(),
      reasons: z.array(z.string()).default([]),
      tried: z
        .array(z.looseObject({ attempt: z.int(), model: z.string().optional(), verdict: z.string().optional() }))
        .default([]),
    }),
  ),
});
export type EscalationsDocument = z.infer<typeof escalationsDocument>;

const becauseDocument = z.looseObject({ code: z.string(), message: z.string() });

/** Why a task is where it is: the reasons alone, or the whole document. */
export const whyDocument = z.union([
  z.array(becauseDocument),
  z.looseObject({ reasons: z.array(becauseDocument) }).transform(({ reasons }) => reasons),
]);
export type WhyDocument = z.infer<typeof whyDocument>;
