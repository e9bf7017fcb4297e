import { z } from 'zod';
import { checkIdSchema, outcomeSchema } from './check.js';
import { instantSchema } from './instant.js';
import { issueSchema, prioritySchema, problemSchema } from './intake.js';
import { taskIdSchema } from './names.js';
import { effectSchema } from './policy.js';
import { reasonSchema } from './verdict.js';

/**
 * The documents that machines read: what every `--json` prints and the HTTP API answers. Fields are added, never renamed or removed, so
 * readers must ignore fields they do not know; the schemas do. Sizes are bytes, times milliseconds, instants ISO 8601 UTC.
 */

const count = z.int().min(0);
const ms = z.number().min(0);
/** A verdict as published: with the label of a change that only a human's ruling carries. */
export const publishedVerdictSchema = z.enum(['GO', 'GO-WAIVED', 'NO-GO', 'INCOMPLETE']);

export const biteGradeSchema = z.enum(['bites', 'guards', 'inert', 'invalid', 'flaky', 'unknown']);

const documentFindingSchema = z.object({
  path: z.string().optional(),
  line: z.int().min(1).optional(),
  message: z.string(),
});

/** `plumb check`. Reasons are empty only for GO; `effect` of a check is what its failure does under the policy. */
export const checkDocumentSchema = z
  .object({
    schema: z.literal('plumbline.check/1'),
    verdict: publishedVerdictSchema,
    subject: z.object({
      base: z.string(),
      head: z.string(),
      tree: z.string(),
      changeClass: z.array(z.string()),
      languages: z.array(z.string()),
    }),
    reasons: z.array(reasonSchema),
    checks: z.array(
      z.object({
        check: checkIdSchema,
        outcome: outcomeSchema,
        effect: effectSchema,
        durationMs: ms,
        summary: z.string().optional(),
        predicate: z.string().optional(),
        findings: z.array(documentFindingSchema),
      }),
    ),
    bite: z
      .object({
        candidates: z.array(
          z.object({ id: z.string(), file: z.string(), line: z.int().min(0), grade: biteGradeSchema, why: z.string() }),
        ),
        hunks: z.array(
          z.object({
            path: z.string(),
            startLine: count,
            endLine: count,
            killedBy: z.union([z.array(z.string()), z.enum(['survived', 'uncovered'])]),
          }),
        ),
      })
      .optional(),
    advice: z.array(z.string()),
    environment: z.object({ sandbox: z.string(), isolation: z.string(), toolchains: z.record(z.string(), z.string()) }),
    durationMs: ms,
  })
  .refine(
    (document) => (document.verdict === 'GO') === (document.reasons.length === 0) || document.verdict === 'GO-WAIVED',
    {
      path: ['reasons'],
      message: 'empty for GO and only for GO',
    },
  );
export type CheckDocument = z.infer<typeof checkDocumentSchema>;

export const demoDocumentSchema = z.object({
  schema: z.literal('plumbline.demo/1'),
  tasks: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      verdict: publishedVerdictSchema.nullable(),
      reasons: z.array(z.object({ check: z.string(), summary: z.string() })),
    }),
  ),
  log: z.object({ events: count, positions: z.enum(['dense', 'broken']), chain: z.enum(['ok', 'broken']) }),
});
export type DemoDocument = z.infer<typeof demoDocumentSchema>;

export const taskStateSchema = z.enum([
  'submitted',
  'waiting-for-capacity',
  'coding',
  'gating',
  'reviewing',
  'judged',
  'publishing',
  'retrying',
  'escalated',
  'awaiting-ruling',
  'closed',
]);

const timelineEntrySchema = z.object({ position: count, at: z.string(), type: z.string(), summary: z.string() });

const attemptDocumentSchema = z.object({
  n: z.int().min(1),
  tier: z.int().min(1),
  model: z.string().nullable(),
  node: z.string().nullable(),
  change: z
    .object({
      base: z.string(),
      head: z.string(),
      tree: z.string(),
      bundle: z.string(),
      summary: z.string(),
      files: z.array(z.string()),
    })
    .optional(),
  /** Why the attempt ended early, when it did. */
  ended: z.object({ code: z.string(), detail: z.string() }).optional(),
  verdict: z.string().optional(),
  checks: z.array(
    z.object({
      check: checkIdSchema,
      outcome: outcomeSchema,
      effect: effectSchema,
      summary: z.string(),
      predicate: z.string().optional(),
      durationMs: ms,
      findings: z.array(documentFindingSchema),
      evidence: z.array(z.string()),
    }),
  ),
  reviews: z.array(
    z.object({
      seat: z.string(),
      model: z.string(),
      family: z.string(),
      decision: z.string(),
      findings: z.array(z.object({ severity: z.string(), category: z.string(), claim: z.string() })),
    }),
  ),
});

const taskEscalationSchema = z.object({
  id: z.string(),
  to: z.enum(['tier', 'human']),
  attempt: count,
  reasons: z.array(z.string()),
  open: z.boolean(),
});

/** `plumb show`. */
export const taskDocumentSchema = z.object({
  schema: z.literal('plumbline.task/1'),
  task: z.object({
    id: taskIdSchema,
    state: taskStateSchema,
    repository: z.string(),
    base: z.string(),
    issue: issueSchema,
    policy: z.string(),
    submittedAt: z.string().optional(),
    outcome: z.string().optional(),
    published: z.object({ branch: z.string(), head: z.string() }).optional(),
  }),
  attempts: z.array(attemptDocumentSchema),
  verdict: z
    .object({ verdict: publishedVerdictSchema, reasons: z.array(reasonSchema), advice: z.array(z.string()) })
    .optional(),
  escalations: z.array(taskEscalationSchema),
  timeline: z.array(timelineEntrySchema),
});
export type TaskDocument = z.infer<typeof taskDocumentSchema>;

/** `plumb list`: the newest task first. */
export const tasksDocumentSchema = z.object({
  schema: z.literal('plumbline.tasks/1'),
  tasks: z.array(
    z.object({
      id: taskIdSchema,
      state: taskStateSchema,
      verdict: publishedVerdictSchema.optional(),
      /** How it was closed: `go`, `go-waived`, `no-go` or `cancelled`. */
      outcome: z.string().optional(),
      title: z.string(),
      waitingFor: z.string().optional(),
      repository: z.string(),
      base: z.string(),
      policy: z.string(),
      priority: prioritySchema,
      attempts: count,
      /** Who handed it in, and under which id: those of the CloudEvent that submitted it. */
      source: z.string(),
      submissionId: z.string(),
      submittedAt: instantSchema,
      /** When the log last said something about it. */
      updatedAt: instantSchema,
      closedAt: instantSchema.optional(),
    }),
  ),
  /** A cursor for the tasks after these; absent when there are none. */
  next: z.string().optional(),
});
export type TasksDocument = z.infer<typeof tasksDocumentSchema>;

/** One reason why something waits or was refused, with the numbers behind it. */
export const whyReasonSchema = z.object({
  code: z.string(),
  message: z.string(),
  numbers: z.record(z.string(), z.number()),
});
export type WhyReason = z.infer<typeof whyReasonSchema>;

/** `plumb why`. `subject` is a task's id or a model's name. */
export const whyDocumentSchema = z.object({
  schema: z.literal('plumbline.why/1'),
  subject: z.string(),
  state: z.string(),
  reasons: z.array(whyReasonSchema),
});
export type WhyDocument = z.infer<typeof whyDocumentSchema>;

/** `plumb audit`. `firstBad` is present exactly when the log is not ok. */
export const auditDocumentSchema = z
  .object({
    schema: z.literal('plumbline.audit/1'),
    ok: z.boolean(),
    events: count,
    headPosition: count,
    /** The epochs after the first: each began because what the one before had beyond `afterPosition` was lost. */
    epochs: z
      .array(
        z.object({
          epoch: z.string(),
          number: count,
          afterPosition: count,
          why: z.string(),
          startedAt: z.string(),
        }),
      )
      .optional(),
    firstBad: z.object({ position: count, what: z.string().min(1) }).optional(),
  })
  .refine((document) => document.ok === (document.firstBad === undefined), {
    path: ['firstBad'],
    message: 'present exactly when ok is false',
  });
export type AuditDocument = z.infer<typeof auditDocumentSchema>;

/** `plumb doctor`. What is broken says how to mend it. */
export const doctorDocumentSchema = z.object({
  schema: z.literal('plumbline.doctor/1'),
  ok: z.boolean(),
  findings: z.array(
    z.object({ what: z.string().min(1), state: z.enum(['ok', 'warning', 'broken']), mend: z.string().optional() }),
  ),
});
export type DoctorDocument = z.infer<typeof doctorDocumentSchema>;

/** One benchmark. `ratio` is value over baseline, in the unit of neither; `met` is present with `target`. */
export const benchDocumentSchema = z.object({
  schema: z.literal('plumbline.bench/1'),
  bench: z.string(),
  machine: z.record(z.string(), z.union([z.string(), z.number()])),
  results: z.array(
    z.object({
      name: z.string(),
      value: z.number(),
      unit: z.string(),
      baseline: z.object({ name: z.string(), value: z.number() }).optional(),
      ratio: z.number().optional(),
      target: z.number().optional(),
      met: z.boolean().optional(),
    }),
  ),
});
export type BenchDocument = z.infer<typeof benchDocumentSchema>;

/** What is printed instead of any other document when a command is refused or fails. */
export const errorDocumentSchema = z.object({
  schema: z.literal('plumbline.error/1'),
  code: z.string().min(1),
  message: z.string().min(1),
  problems: z.array(problemSchema),
  /** What to do about it, in one sentence. */
  mend: z.string().min(1).optional(),
  /** The last lines that a process wrote before it failed. */
  detail: z.array(z.string()).optional(),
  /** Of the command that printed it. */
  exitCode: z.int().optional(),
});
export type ErrorDocument = z.infer<typeof errorDocumentSchema>;

/** One line of `plumb watch` and `plumb log`: an event as it stands in the log. */
export const eventDocumentSchema = z.object({
  schema: z.literal('plumbline.event/1'),
  position: z.int().min(1),
  at: instantSchema,
  type: z.string(),
  task: taskIdSchema.optional(),
  schemaVersion: z.int().min(1),
  data: z.unknown(),
  eventId: z.string(),
  streamId: z.string(),
  version: z.int().min(1),
  chainHash: z.string(),
  /** In words, where it is shown to people. */
  summary: z.string().optional(),
});
export type EventDocument = z.infer<typeof eventDocumentSchema>;

const escalationEntrySchema = z.object({
  task: taskIdSchema,
  title: z.string(),
  escalation: z.string(),
  to: z.enum(['tier', 'human']).optional(),
  attempt: count,
  openedAt: z.string().optional(),
  reasons: z.array(z.string()),
  tried: z.array(z.object({ attempt: z.int().min(1), model: z.string(), verdict: z.string() })),
  /** Absent while it is open. */
  resolved: z.object({ how: z.enum(['ruled', 'retried', 'cancelled']), by: z.string(), at: instantSchema }).optional(),
});

/** `plumb escalations`: what waits for a human, oldest first. */
export const escalationsDocumentSchema = z.object({
  schema: z.literal('plumbline.escalations/1'),
  escalations: z.array(escalationEntrySchema),
  /** A cursor for the escalations after these; absent when there are none. */
  next: z.string().optional(),
});

/** One escalation, open or resolved. */
export const escalationDocumentSchema = z.object({
  schema: z.literal('plumbline.escalation/1'),
  escalation: escalationEntrySchema,
});
export type EscalationDocument = z.infer<typeof escalationDocumentSchema>;
export type EscalationsDocument = z.infer<typeof escalationsDocumentSchema>;

/** `plumb dead list`: messages that could not be handled, each with the reason. What cannot be read has an id and a reason only. */
export const deadDocumentSchema = z.object({
  schema: z.literal('plumbline.dead/1'),
  dead: z.array(
    z.object({
      id: z.string(),
      consumer: z.string(),
      reason: z.string(),
      subject: z.string().optional(),
      deliveries: z.int().min(1).optional(),
      deadAt: instantSchema.optional(),
      task: z.string().optional(),
    }),
  ),
});
export type DeadDocument = z.infer<typeof deadDocumentSchema>;
