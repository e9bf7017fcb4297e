import { z } from 'zod';
import { serviceNames, stepIdSchema, taskIdSchema, type ServiceName } from './names.js';

/**
 * The ledger's door: the only requests there are between services. Subjects carry the caller's name, so that the bus's permissions
 * decide who may speak as whom; the ledger believes the subject, never the body.
 */
export const doorSubject = (door: 'append' | 'lease' | 'read', service: ServiceName): string =>
  `plumb.ledger.${door}.${service}`;
export const doorServices = serviceNames.filter((name) => name !== 'ledger');

export const leaseTtlMs = 60_000;
export const leaseHeartbeatMs = 15_000;
/** A worker that heard nothing for this long gives up by itself, before its lease can have passed to another. */
export const leaseSelfAbortMs = 45_000;

const streamId = z.string().regex(/^(task-t-[0-9a-z]{26}|node-[a-z0-9][a-z0-9-]{0,62}|fleet)$/);

export const appendRequestSchema = z.strictObject({
  commandId: z.uuid(),
  streams: z
    .array(
      z.strictObject({
        streamId,
        /** 0 = the stream must be new; absent = any version. Only deciders expect versions. */
        expectedVersion: z.int().min(0).optional(),
        events: z
          .array(
            z.strictObject({ type: z.string().max(80), data: z.unknown(), occurredAt: z.iso.datetime().optional() }),
          )
          .min(1)
          .max(500),
      }),
    )
    .min(1)
    .max(20),
  /** Worker facts name the lease they are made under; `release` ends the step with them. */
  fence: z
    .strictObject({ taskId: taskIdSchema, step: stepIdSchema, epoch: z.int().min(1), release: z.boolean().optional() })
    .optional(),
  steps: z
    .strictObject({
      open: z
        .array(z.strictObject({ taskId: taskIdSchema, step: stepIdSchema }))
        .max(50)
        .optional(),
      close: z
        .array(z.strictObject({ taskId: taskIdSchema, step: z.union([stepIdSchema, z.literal('*')]) }))
        .max(50)
        .optional(),
    })
    .optional(),
  timers: z
    .strictObject({
      set: z
        .array(
          z.strictObject({
            timerId: z.string().max(200),
            taskId: taskIdSchema,
            kind: z.enum(['deadline', 'retry']),
            dueInMs: z.int().min(0),
            step: stepIdSchema,
          }),
        )
        .max(50)
        .optional(),
      cancel: z.array(z.string().max(200)).max(200).optional(),
      /** Cancels every timer of a task. */
      cancelTask: taskIdSchema.optional(),
    })
    .optional(),
  traceparent: z.string().max(100).optional(),
  causationId: z.string().max(100).optional(),
});
export type AppendRequest = z.infer<typeof appendRequestSchema>;

export type AppendReply =
  | {
      outcome: 'appended';
      duplicate: boolean;
      streams: { streamId: string; firstVersion: number; lastVersion: number }[];
    }
  | { outcome: 'wrong-expected-version'; streamId: string; expected: number; actual: number }
  | { outcome: 'fenced'; taskId: string; step: string; epoch: number; current: { state: string; epoch: number } | null }
  | { outcome: 'command-reused'; commandId: string };

const leaseTarget = { taskId: taskIdSchema, step: stepIdSchema, holder: z.string().min(1).max(200) };
export const leaseRequestSchema = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('claim'), ...leaseTarget, traceparent: z.string().max(100).optional() }),
  z.strictObject({ op: z.literal('heartbeat'), ...leaseTarget, epoch: z.int().min(1) }),
  z.strictObject({ op: z.literal('release'), ...leaseTarget, epoch: z.int().min(1) }),
]);
export type LeaseRequest = z.infer<typeof leaseRequestSchema>;

export type ClaimReply =
  | { outcome: 'granted'; epoch: number; expiresInMs: number }
  | { outcome: 'held'; holder: string; expiresInMs: number }
  | { outcome: 'done' | 'closed' | 'unknown-step' };
export type HeartbeatReply = { outcome: 'ok'; expiresInMs: number } | { outcome: 'cancelled' | 'fenced' };
export type ReleaseReply = { outcome: 'released' | 'fenced' };

export const readRequestSchema = z.discriminatedUnion('op', [
  /** A page of one stream; pages are cut by size, `next` is the version to go on from. */
  z.strictObject({ op: z.literal('stream'), streamId, fromVersion: z.int().min(1).default(1) }),
  /** Ids of tasks that are not closed, oldest first, read from the log itself so that no projection can be behind. */
  z.strictObject({ op: z.literal('open-tasks'), after: taskIdSchema.optional() }),
  /** Steps that wait for a worker and have no live lease for longer than `olderThanMs`. */
  z.strictObject({ op: z.literal('idle-steps'), olderThanMs: z.int().min(0) }),
  /** Ids of the streams of one category, e.g. every node. */
  z.strictObject({ op: z.literal('streams'), category: z.enum(['node', 'fleet']) }),
]);
export type ReadRequest = z.infer<typeof readRequestSchema>;

export interface WireEvent {
  eventId: string;
  streamId: string;
  version: number;
  type: string;
  schemaVersion: number;
  data: unknown;
  at: string;
  traceparent?: string;
}
export interface StreamPage {
  streamVersion: number;
  events: WireEvent[];
  next?: number;
}
