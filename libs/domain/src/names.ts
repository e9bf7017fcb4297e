import { z } from 'zod';

/**
 * The names of things. Every name that becomes a token of a NATS subject, a key in Postgres or a branch is restricted to characters
 * that are safe in all three; nothing has to be escaped anywhere.
 */

/** The services of the house. A service's name is also its NATS identity and the actor recorded with its events. */
export const serviceNames = ['ledger', 'scheduler', 'coder', 'gate', 'reviewer', 'node-agent', 'code-host'] as const;
export const serviceNameSchema = z.enum(serviceNames);
export type ServiceName = z.infer<typeof serviceNameSchema>;

/** `t-` and 26 lower-case base-32 characters, derived from what was submitted, so that the same submission is the same task. */
export const taskIdSchema = z.string().regex(/^t-[0-9a-z]{26}$/, 'a task id is t- and 26 characters of 0-9 a-z');
export type TaskId = z.infer<typeof taskIdSchema>;

export const nodeIdSchema = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'a node id is 1-63 of a-z 0-9 -');
export const modelNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._:/+-]{0,127}$/, 'a model name is 1-128 of A-Z a-z 0-9 . _ : / + -');
export const seatSchema = z.string().regex(/^[a-z][a-z0-9-]{0,39}$/, 'a seat is 1-40 of a-z 0-9 -');

/** A Git object id, SHA-1 or SHA-256. */
export const objectIdSchema = z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/, 'a full Git object id');

/** SHA-256 of an artifact's bytes before compression, lower-case hex. */
export const digestSchema = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 digest in hex');

/** A reference to bytes kept by the ledger. */
export const artifactRefSchema = z.strictObject({
  digest: digestSchema,
  sizeBytes: z.int().min(0),
  mediaType: z.string().max(100),
});
export type ArtifactRef = z.infer<typeof artifactRefSchema>;

/** The kinds of step a task is made of, in the order of the walk, with the one service that may claim each. */
export const stepKinds = ['snapshot', 'coding', 'gating', 'review', 'publishing'] as const;
export type StepKind = (typeof stepKinds)[number];
export const stepWorkers = {
  snapshot: 'code-host',
  coding: 'coder',
  gating: 'gate',
  review: 'reviewer',
  publishing: 'code-host',
} as const satisfies Record<StepKind, ServiceName>;

/**
 * `<kind>.<attempt>.<try>` or, for reviews, `<kind>.<attempt>.<try>.<seat>`. Attempt 0 is before the first attempt (the snapshot).
 * A new try is a new step, so that nothing of an earlier try can be taken for its result.
 */
export const stepIdSchema = z
  .string()
  .regex(
    /^(snapshot|coding|gating|review|publishing)\.\d{1,4}\.\d{1,4}(\.[a-z][a-z0-9-]{0,39})?$/,
    'a step is kind.attempt.try[.seat]',
  );
export type StepId = z.infer<typeof stepIdSchema>;

export interface StepName {
  kind: StepKind;
  attempt: number;
  try: number;
  seat?: string;
}

export function stepId(name: StepName): StepId {
  return `${name.kind}.${name.attempt}.${name.try}${name.seat === undefined ? '' : `.${name.seat}`}`;
}

/** The parts of a step id. Throws on anything that {@link stepIdSchema} refuses: a step id is never user input. */
export function parseStepId(id: StepId): StepName {
  if (!stepIdSchema.safeParse(id).success) throw new Error(`not a step id: ${JSON.stringify(id)}`);
  const [kind, attempt, tryN, seat] = id.split('.') as [StepKind, string, string, string | undefined];
  return { kind, attempt: Number(attempt), try: Number(tryN), ...(seat === undefined ? {} : { seat }) };
}

/** The stream that holds one task's history. */
export const taskStream = (id: TaskId): string => `task-${id}`;
/** The stream that holds all grants: one stream, so that its expected version makes admission cumulative. */
export const fleetStream = 'fleet';
export const nodeStream = (id: string): string => `node-${id}`;

/** The entity a stream is about: the last token of its subjects. Streams are `<category>-<id>`, or a bare category. */
export function streamEntity(streamId: string): { category: string; id: string } {
  const dash = streamId.indexOf('-');
  return dash < 0
    ? { category: streamId, id: streamId }
    : { category: streamId.slice(0, dash), id: streamId.slice(dash + 1) };
}
