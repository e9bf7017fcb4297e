import { z } from 'zod';
import { checkIdSchema, checkResultSchema, outcomeSchema } from '../check.js';
import { faultCodeNames } from '../faults.js';
import { instantSchema } from '../instant.js';
import { issueSchema, prioritySchema, publishSchema } from '../intake.js';
import {
  artifactRefSchema,
  modelNameSchema,
  nodeIdSchema,
  objectIdSchema,
  seatSchema,
  stepIdSchema,
  taskIdSchema,
  type ServiceName,
} from '../names.js';
import { policySchema } from '../policy.js';
import { hunkRefSchema, reviewSchema } from '../review.js';
import { judgementSchema } from '../verdict.js';

/**
 * Every event there is, in the order of the walk: who alone may append it, its current version, and its data. An event's type is
 * `<category>.<event>`; on the bus it is `dev.plumbline.<category>.<event>.v<version>` on subject `log.<category>.<event>.<id>`. Schemas are
 * for ever: a change that is not additive is a new version with an upcaster (see codec.ts) and a new line in the golden corpus.
 */

const step = stepIdSchema;
const attempt = z.int().min(1).max(1000);
const code = z.enum(faultCodeNames);
const detail = z.string().max(2000);
const shortText = z.string().max(500);
const dispatch = z.int().min(1).max(100_000);

/** The model that sits in a seat for one step, as admitted. */
export const seatedModelSchema = z.strictObject({
  name: modelNameSchema,
  family: z.string().min(1).max(60),
  tier: z.int().min(1).max(5),
  node: nodeIdSchema,
  endpoint: z.url().max(2000),
  grantId: z.string().max(200),
});
export type SeatedModel = z.infer<typeof seatedModelSchema>;

/** A model a node offers. `bytes` is what it takes of its pool while it is in use; `slots` how many steps may use it at once. */
export const offeredModelSchema = z.strictObject({
  name: modelNameSchema,
  family: z.string().min(1).max(60),
  tier: z.int().min(1).max(5),
  runtime: z.string().max(40),
  endpoint: z.url().max(2000),
  pool: z.string().max(60),
  bytes: z.int().min(0),
  slots: z.int().min(1).max(1000),
  seats: z.array(seatSchema).min(1).max(20),
});
export type OfferedModel = z.infer<typeof offeredModelSchema>;

export const poolSchema = z.strictObject({
  id: z.string().max(60),
  kind: z.enum(['unified', 'gpu', 'host']),
  budgetBytes: z.int().min(0),
});
export type Pool = z.infer<typeof poolSchema>;

const failure = { step, code, detail };
const event = <S extends z.ZodType>(owner: ServiceName, version: number, data: S, options: { fenced?: true } = {}) =>
  ({ owner, version, data, fenced: options.fenced ?? false }) as const;

export const eventCatalogue = {
  'task.submitted': event(
    'scheduler',
    1,
    z.strictObject({
      taskId: taskIdSchema,
      source: z.string().max(500),
      submissionId: z.string().max(500),
      /** SHA-256 of the submission as parsed: tells a repeated submission from another one under the same key. */
      contentDigest: z.string().max(64),
      repository: z.strictObject({ url: z.string().max(2000), base: z.string().max(250) }),
      issue: issueSchema,
      policy: policySchema,
      priority: prioritySchema,
      publish: publishSchema,
    }),
  ),
  'task.snapshot-requested': event('scheduler', 1, z.strictObject({ step, dispatch })),
  'snapshot.taken': event(
    'code-host',
    1,
    z.strictObject({
      step,
      base: objectIdSchema,
      tree: objectIdSchema,
      objectFormat: z.enum(['sha1', 'sha256']),
      pack: artifactRefSchema,
    }),
    { fenced: true },
  ),
  'snapshot.failed': event('code-host', 1, z.strictObject(failure), { fenced: true }),

  'task.capacity-awaited': event(
    'scheduler',
    1,
    z.strictObject({ step, attempt, seat: seatSchema, tier: z.int().min(1).max(5) }),
  ),
  /** Why no model could be admitted for a waiting step, with the numbers. Recorded when the reasons change in kind, not at every look. */
  'task.admission-refused': event(
    'scheduler',
    1,
    z.strictObject({
      step,
      reasons: z
        .array(
          z.strictObject({
            code: z.enum(['NO_MODEL', 'MODEL_UNREACHABLE', 'NO_FREE_SLOT', 'MEMORY_BUDGET', 'POOL_UNKNOWN']),
            message: shortText,
            numbers: z.record(z.string().max(40), z.number()),
          }),
        )
        .min(1)
        .max(20),
    }),
  ),
  'task.coding-requested': event(
    'scheduler',
    1,
    z.strictObject({
      step,
      attempt,
      dispatch,
      model: seatedModelSchema,
      feedback: z.array(z.string().max(2000)).max(50),
    }),
  ),
  'turn.recorded': event(
    'coder',
    1,
    z.strictObject({
      step,
      attempt,
      turn: z.int().min(1).max(10_000),
      treeAfter: objectIdSchema,
      transcript: artifactRefSchema,
      workspace: artifactRefSchema.optional(),
      tools: z.array(z.string().max(60)).max(50),
      tokens: z.strictObject({ prompt: z.int().min(0), completion: z.int().min(0) }),
    }),
    { fenced: true },
  ),
  'change.proposed': event(
    'coder',
    1,
    z.strictObject({
      step,
      attempt,
      base: objectIdSchema,
      head: objectIdSchema,
      tree: objectIdSchema,
      bundle: artifactRefSchema,
      summary: z.string().max(4000),
      files: z.array(z.string().max(4096)).max(2000),
    }),
    { fenced: true },
  ),
  'attempt.ended': event('coder', 1, z.strictObject({ ...failure, attempt }), { fenced: true }),

  'task.gating-requested': event('scheduler', 1, z.strictObject({ step, attempt, dispatch })),
  'check.concluded': event('gate', 1, z.strictObject({ step, attempt, result: checkResultSchema }), { fenced: true }),
  'gate.concluded': event(
    'gate',
    1,
    z.strictObject({
      step,
      attempt,
      base: objectIdSchema,
      head: objectIdSchema,
      tree: objectIdSchema,
      concluded: z.array(z.strictObject({ check: checkIdSchema, outcome: outcomeSchema })).max(100),
      changeClass: z.array(z.string().max(40)).max(20),
      languages: z.array(z.string().max(40)).max(20),
      hunks: z.array(hunkRefSchema).max(5000),
      environment: z.record(z.string().max(60), z.string().max(500)),
    }),
    { fenced: true },
  ),
  'gate.failed': event('gate', 1, z.strictObject({ ...failure, attempt }), { fenced: true }),

  'task.review-requested': event(
    'scheduler',
    1,
    z.strictObject({ step, attempt, seat: seatSchema, dispatch, model: seatedModelSchema }),
  ),
  'review.concluded': event(
    'reviewer',
    1,
    z.strictObject({
      step,
      attempt,
      seat: seatSchema,
      tree: objectIdSchema,
      review: reviewSchema,
      transcript: artifactRefSchema,
      unseen: z.array(z.string().max(4096)).max(2000),
      /** Of all its questions together, as the model server counted them; absent when it did not count one of them. */
      tokens: z.strictObject({ prompt: z.int().min(0), completion: z.int().min(0) }).optional(),
    }),
    { fenced: true },
  ),
  'review.failed': event('reviewer', 1, z.strictObject({ ...failure, attempt, seat: seatSchema }), { fenced: true }),

  'verdict.reached': event(
    'scheduler',
    1,
    z.strictObject({
      attempt,
      judgement: judgementSchema,
      policy: z.string().max(60),
      subject: z.strictObject({ base: objectIdSchema, head: objectIdSchema, tree: objectIdSchema }).nullable(),
      cause: z.strictObject({ code, detail }).optional(),
    }),
  ),
  'task.publishing-requested': event(
    'scheduler',
    1,
    z.strictObject({ step, attempt, dispatch, branch: z.string().max(200), label: z.enum(['GO', 'GO-WAIVED']) }),
  ),
  'change.published': event(
    'code-host',
    1,
    z.strictObject({ step, attempt, branch: z.string().max(200), head: objectIdSchema, already: z.boolean() }),
    { fenced: true },
  ),
  'publish.failed': event('code-host', 1, z.strictObject({ ...failure, attempt }), { fenced: true }),

  'task.step-retry-scheduled': event(
    'scheduler',
    1,
    z.strictObject({ step, nextStep: step, code, delayMs: z.int().min(0) }),
  ),
  'task.step-abandoned': event('scheduler', 1, z.strictObject(failure)),
  'escalation.opened': event(
    'scheduler',
    1,
    z.strictObject({
      escalationId: z.string().max(100),
      to: z.enum(['tier', 'human']),
      tier: z.int().min(1).max(5).optional(),
      attempt: z.int().min(0).max(1000),
      reasons: z.array(shortText).min(1).max(50),
      tried: z.array(z.strictObject({ attempt, model: z.string().max(200), verdict: z.string().max(20) })).max(100),
    }),
  ),
  'escalation.resolved': event(
    'scheduler',
    1,
    z.strictObject({
      escalationId: z.string().max(100),
      how: z.enum(['ruled', 'retried', 'cancelled']),
      by: z.string().max(200),
    }),
  ),
  'task.ruled': event(
    'scheduler',
    1,
    z.strictObject({
      decision: z.enum(['go', 'no-go']),
      by: z.string().max(200),
      why: detail,
      attempt: z.int().min(0).max(1000),
    }),
  ),
  'task.retried': event('scheduler', 1, z.strictObject({ by: z.string().max(200), why: detail })),
  'task.cancelled': event('scheduler', 1, z.strictObject({ by: z.string().max(200), why: detail })),
  'task.closed': event(
    'scheduler',
    1,
    z.strictObject({
      outcome: z.enum(['go', 'go-waived', 'no-go', 'cancelled']),
      verdict: z.enum(['GO', 'GO-WAIVED', 'NO-GO', 'INCOMPLETE']).nullable(),
    }),
  ),

  'lease.granted': event(
    'ledger',
    1,
    z.strictObject({ step, holder: z.string().max(200), epoch: z.int().min(1), ttlMs: z.int().min(1) }),
  ),
  'lease.expired': event(
    'ledger',
    1,
    z.strictObject({ step, holder: z.string().max(200), epoch: z.int().min(1), ttlMs: z.int().min(1).optional() }),
  ),
  'lease.released': event(
    'ledger',
    1,
    z.strictObject({ step, holder: z.string().max(200), epoch: z.int().min(1), ttlMs: z.int().min(1).optional() }),
  ),
  'lease.result-refused': event(
    'ledger',
    1,
    z.strictObject({
      step,
      epoch: z.int().min(0),
      service: z.string().max(40),
      types: z.array(z.string().max(60)).max(50),
      why: shortText,
    }),
  ),
  'timer.fired': event(
    'ledger',
    1,
    z.strictObject({ timerId: z.string().max(200), kind: z.string().max(40), data: z.strictObject({ step }) }),
  ),

  /** The numbering began anew after `afterPosition`: what the old epoch had beyond it is lost. */
  'log.epoch-started': event(
    'ledger',
    1,
    z.strictObject({
      epoch: z.uuid(),
      number: z.int().min(2),
      previousEpoch: z.uuid(),
      afterPosition: z.int().min(0),
      chainHash: z.string().regex(/^[0-9a-f]{64}$/),
      why: z.string().max(1000),
    }),
  ),

  'node.registered': event(
    'node-agent',
    1,
    z.strictObject({
      node: nodeIdSchema,
      startedAt: instantSchema,
      pools: z.array(poolSchema).max(32),
      models: z.array(offeredModelSchema).max(200),
    }),
  ),
  'model.ready': event(
    'node-agent',
    1,
    z.strictObject({ node: nodeIdSchema, model: modelNameSchema, endpoint: z.url().max(2000) }),
  ),
  'model.unreachable': event(
    'node-agent',
    1,
    z.strictObject({ node: nodeIdSchema, model: modelNameSchema, why: shortText }),
  ),
  'grant.reserved': event(
    'scheduler',
    1,
    z.strictObject({
      grantId: z.string().max(200),
      taskId: taskIdSchema,
      step,
      seat: seatSchema,
      node: nodeIdSchema,
      pool: z.string().max(60),
      model: modelNameSchema,
      bytes: z.int().min(0),
    }),
  ),
  'grant.released': event('scheduler', 1, z.strictObject({ grantId: z.string().max(200), why: shortText })),
} as const;

export type EventType = keyof typeof eventCatalogue;
export const eventTypes = Object.keys(eventCatalogue) as EventType[];
export type EventData<T extends EventType> = z.infer<(typeof eventCatalogue)[T]['data']>;

/** An event that is to be recorded. */
export type PlumblineEvent = { [T in EventType]: { type: T; data: EventData<T> } }[EventType];

/** An event as recorded, decoded to its current version. `version` counts within its stream; `at` is the instant the log recorded it. */
export type RecordedEvent = PlumblineEvent & { eventId: string; streamId: string; version: number; at: string };

export const isEventType = (type: string): type is EventType => Object.hasOwn(eventCatalogue, type);

/** The CloudEvents type of an event, e.g. `dev.plumbline.task.submitted.v1`. */
export const cloudEventType = (type: string, schemaVersion: number): string =>
  `dev.plumbline.${type}.v${schemaVersion}`;

/** The subject an event is relayed on: `log.<category>.<event>.<id>`. */
export const logSubject = (type: string, entityId: string): string => `log.${type}.${entityId}`;
