import { z } from 'zod';
import { taskIdSchema } from './names.js';
import { policySchema, shippedPolicies, type Policy } from './policy.js';

/** What people hand in. One schema for the command line, NATS and HTTP: what one door refuses, every door refuses. */

const text = (max: number): z.ZodString =>
  z
    .string()
    .max(max)
    // NUL cannot be stored as text, lone surrogates cannot be encoded: both would fail far from the door.
    .refine((value) => !value.includes('\u0000'), 'must not contain NUL characters')
    .refine((value) => value.isWellFormed(), 'must be well-formed Unicode');

export const issueSchema = z.strictObject({
  title: text(500).refine((value) => value.trim() !== '', 'must not be empty'),
  body: text(65_536),
  url: z
    .url({ protocol: /^https?$/ })
    .max(2000)
    .optional(),
});
export type Issue = z.infer<typeof issueSchema>;

export const prioritySchema = z.enum(['batch', 'normal', 'high']);
export const publishSchema = z.enum(['none', 'branch', 'pull-request']);

export const submissionSchema = z.strictObject({
  repository: z.strictObject({ url: text(2000).min(1), base: text(250).min(1) }),
  issue: issueSchema,
  policy: z.union([z.enum(['strict', 'standard', 'advisory']), policySchema]).default('strict'),
  priority: prioritySchema.default('normal'),
  publish: publishSchema.default('branch'),
  idempotencyKey: text(200).min(1).optional(),
});
export type Submission = z.infer<typeof submissionSchema>;

const person = text(200).min(1);
const why = text(2000).refine((value) => value.trim() !== '', 'must say why');

export const cancellationSchema = z.strictObject({
  taskId: taskIdSchema,
  by: person.default('unnamed'),
  why: why.default('no reason given'),
});
export const rulingSchema = z.strictObject({
  taskId: taskIdSchema,
  decision: z.enum(['go', 'no-go']),
  by: person,
  why,
});
export const retrySchema = z.strictObject({
  taskId: taskIdSchema,
  by: person.default('unnamed'),
  why: why.default('tried again'),
});

/** The kinds of intake, each with the schema of its data and the CloudEvents type that may carry it. */
export const intakeKinds = {
  submit: { schema: submissionSchema, type: 'dev.plumbline.task.submit.v1' },
  cancel: { schema: cancellationSchema, type: 'dev.plumbline.task.cancel.v1' },
  rule: { schema: rulingSchema, type: 'dev.plumbline.task.rule.v1' },
  retry: { schema: retrySchema, type: 'dev.plumbline.task.retry.v1' },
} as const;
export type IntakeKind = keyof typeof intakeKinds;

/** One thing that is wrong with what was handed in: where, what was there (cut to 200 characters), what was expected. */
export const problemSchema = z.strictObject({
  field: z.string().max(500),
  value: z.string().max(220),
  expected: z.string().max(1000),
});
export type Problem = z.infer<typeof problemSchema>;

export const refusalCodes = [
  'INVALID',
  'UNKNOWN_TASK',
  'ILLEGAL_STATE',
  'IDEMPOTENCY_KEY_REUSED',
  'UNAVAILABLE',
] as const;
export const refusalSchema = z.strictObject({
  code: z.enum(refusalCodes),
  message: z.string().max(2000),
  problems: z.array(problemSchema).max(50),
});
export type Refusal = z.infer<typeof refusalSchema>;

/**
 * Parses data of one kind of intake. Problems come in the order of the schema, at most 20. Never throws, whatever the value is (the
 * caller has already bounded its size and depth).
 */
export function parseIntake<K extends IntakeKind>(
  kind: K,
  value: unknown,
): { ok: true; value: z.infer<(typeof intakeKinds)[K]['schema']> } | { ok: false; refusal: Refusal } {
  const parsed = intakeKinds[kind].schema.safeParse(value);
  if (parsed.success) return { ok: true, value: parsed.data as z.infer<(typeof intakeKinds)[K]['schema']> };
  const problems = problemsOf(parsed.error, value);
  const first = problems[0];
  const message =
    first === undefined ? `not a valid ${kind}` : `${first.field}: got ${first.value}, expected ${first.expected}`;
  return { ok: false, refusal: { code: 'INVALID', message: `${kind} refused: ${message}`.slice(0, 2000), problems } };
}

/** Zod's issues as problems: field by path, the value found there, and what was expected in words. */
export function problemsOf(error: z.ZodError, root: unknown): Problem[] {
  return error.issues.slice(0, 20).map((issue) => ({
    field: (issue.path.map(String).join('.') || '(whole document)').slice(0, 500),
    value: show(valueAt(root, issue.path)),
    expected: (issue.code === 'unrecognized_keys'
      ? `no field ${issue.keys.slice(0, 5).join(', ')}`
      : issue.message
    ).slice(0, 1000),
  }));
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

function show(value: unknown): string {
  const text =
    value === undefined
      ? 'nothing'
      : typeof value === 'string'
        ? JSON.stringify(value)
        : (JSON.stringify(value) ?? typeof value);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** The policy a submission asks for, by name or whole. */
export function resolvePolicy(policy: Submission['policy']): Policy {
  return typeof policy === 'string' ? shippedPolicies[policy] : policy;
}
