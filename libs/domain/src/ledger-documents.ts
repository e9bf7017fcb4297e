import { z } from 'zod';
import { eventDocumentSchema, publishedVerdictSchema, taskStateSchema } from './contracts.js';
import { instantSchema } from './instant.js';
import { problemSchema } from './intake.js';
import {
  digestSchema,
  modelNameSchema,
  nodeIdSchema,
  objectIdSchema,
  seatSchema,
  stepIdSchema,
  taskIdSchema,
} from './names.js';
import { reasonSchema, verdictSchema } from './verdict.js';

/** The documents that the HTTP API of the ledger answers besides those of `contracts.ts`. The same rules hold: fields are only added. */

const count = z.int().min(0);
const bytes = z.int().min(0);

/** The end of the log: what a copy of it has to end with to be whole. */
export const headDocumentSchema = z.object({
  schema: z.literal('plumbline.head/1'),
  /** Changes when the log is restored from a backup: positions of another epoch mean nothing. */
  epoch: z.string(),
  position: count,
  chainHash: z.string(),
});
export type HeadDocument = z.infer<typeof headDocumentSchema>;

/** Events of the log, or of one task, in the order of their positions. */
export const logDocumentSchema = z.object({
  schema: z.literal('plumbline.log/1'),
  events: z.array(eventDocumentSchema),
  /** Position of the end of the whole log when it was read. */
  head: count,
});
export type LogDocument = z.infer<typeof logDocumentSchema>;

/** Verdicts as they were reached, the newest first. */
export const verdictsDocumentSchema = z.object({
  schema: z.literal('plumbline.verdicts/1'),
  verdicts: z.array(
    z.object({
      task: taskIdSchema,
      title: z.string(),
      attempt: z.int().min(1),
      verdict: verdictSchema,
      policy: z.string(),
      /** The tree that was judged; absent when the attempt brought no change. */
      tree: objectIdSchema.optional(),
      reasons: z.array(reasonSchema),
      position: z.int().min(1),
      at: instantSchema,
    }),
  ),
  next: z.string().optional(),
});
export type VerdictsDocument = z.infer<typeof verdictsDocumentSchema>;

/** The verdicts on one task, each with its reasons and with what its recorded evidence is folded to once more, now. */
export const verdictDocumentSchema = z.object({
  schema: z.literal('plumbline.verdict/1'),
  task: taskIdSchema,
  state: taskStateSchema,
  policy: z.string(),
  /** The verdict that stands: that of the last judged attempt, under the label it was published with. */
  verdict: publishedVerdictSchema.optional(),
  outcome: z.string().optional(),
  attempts: z.array(
    z.object({
      attempt: z.int().min(1),
      model: z.string().optional(),
      subject: z.object({ base: objectIdSchema, head: objectIdSchema, tree: objectIdSchema }).nullable(),
      verdict: verdictSchema,
      reasons: z.array(reasonSchema),
      advice: z.array(z.string()),
      /** `agrees` is false when this version of the rules, on the same evidence, comes to another verdict or other reasons. */
      recomputed: z.object({ verdict: verdictSchema, reasons: z.array(reasonSchema), agrees: z.boolean() }),
    }),
  ),
  ruling: z.object({ decision: z.enum(['go', 'no-go']), by: z.string(), why: z.string(), attempt: count }).optional(),
});
export type VerdictDocument = z.infer<typeof verdictDocumentSchema>;

/** The fleet as far as the log knows it. What nobody recorded (leases of nodes, measured memory, traffic) is absent. */
export const fleetDocumentSchema = z.object({
  schema: z.literal('plumbline.fleet/1'),
  nodes: z.array(
    z.object({
      id: nodeIdSchema,
      /** `granted`: what the models in use may take of the pool, each counted once. */
      pools: z.array(
        z.object({ id: z.string(), kind: z.enum(['unified', 'gpu', 'host']), budget: bytes, granted: bytes }),
      ),
      models: z.array(
        z.object({
          name: modelNameSchema,
          family: z.string(),
          tier: z.int().min(1),
          seats: z.array(seatSchema),
          pool: z.string(),
          /** What it takes of its pool while it is in use. */
          bytes,
          slots: z.int().min(1),
          slotsUsed: count,
          /** `offered`: its node offers it and nothing says that it does not answer. */
          state: z.enum(['offered', 'unreachable']),
          why: z.string().optional(),
          /** Bytes reserved for it; absent while nothing uses it. */
          grant: bytes.optional(),
          endpoint: z.string(),
        }),
      ),
    }),
  ),
  grants: z.array(
    z.object({
      id: z.string(),
      node: nodeIdSchema,
      pool: z.string(),
      model: modelNameSchema,
      bytes,
      task: taskIdSchema,
      step: stepIdSchema,
      seat: seatSchema,
    }),
  ),
  /** Steps that wait for a model, the longest waiting first, the first thousand of them. */
  queue: z.array(
    z.object({
      task: taskIdSchema,
      step: stepIdSchema,
      attempt: z.int().min(1),
      seat: seatSchema,
      tier: z.int().min(1),
      since: instantSchema,
    }),
  ),
});
export type FleetDocument = z.infer<typeof fleetDocumentSchema>;

/** What was stored of an upload. `duplicate`: the same bytes were stored before. */
export const artifactDocumentSchema = z.object({
  schema: z.literal('plumbline.artifact/1'),
  digest: digestSchema,
  sizeBytes: bytes,
  mediaType: z.string(),
  duplicate: z.boolean(),
});
export type ArtifactDocument = z.infer<typeof artifactDocumentSchema>;

/** A refusal or failure over HTTP: RFC 9457, with what was wrong where, what was expected, and what to do. */
export const problemDocumentSchema = z.object({
  schema: z.literal('plumbline.problem/1'),
  type: z.string(),
  title: z.string(),
  status: z.int().min(400).max(599),
  /** What happened, in one sentence. */
  detail: z.string().min(1),
  /** The last part of `type`, for programs. */
  code: z.string().min(1),
  problems: z.array(problemSchema),
  /** What to do about it, in one sentence. */
  mend: z.string().min(1),
});
export type ProblemDocument = z.infer<typeof problemDocumentSchema>;
