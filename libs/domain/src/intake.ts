import { z } from 'zod';
import { taskIdSchema } from './names.js';
import { cut } from './cut.js';
import { policySchema, shippedPolicies, type Policy } from './policy.js';
import { parseRepositoryUrl, parseRevision } from './repository-address.js';

/** What people hand in. One schema for the command line, NATS and HTTP: what one door refuses, every door refuses. */

const text = (max: number): z.ZodString =>
  z
    .string()
    .max(max)
    // NUL cannot be stored as text, lone surrogates cannot be encoded: both would fail far from the door.
    .refine((value) => !value.includes('\u0000'), 'must not contain NUL characters')
    .refine((value) => value.isWellFormed(), 'must be well-formed Unicode');

const named = (value: string): string => value.replace(/\p{C}/gu, '\ufffd');

/** A check of what git will be given. Local directories pass here: whether they are allowed is code-host's configuration. */
const checkAddress =
  (parse: (value: string) => { ok: true } | { ok: false; problem: { expected: string } }) =>
  (value: string, ctx: z.RefinementCtx): void => {
    const parsed = parse(value);
    if (!parsed.ok) ctx.addIssue({ code: 'custom', message: parsed.problem.expected });
  };
const repositoryUrl = text(2000).superRefine(checkAddress((value) => parseRepositoryUrl(value, { allowLocal: true })));
const revision = text(250).superRefine(checkAddress(parseRevision));

export const issueSchema = z.strictObject({
  title: text(500).refine((value) => value.trim() !== '', 'must not be empty'),
  body: text(65_536),
  url: text(2000)
    .refine(
      (value) => /^https?:\/\/[^\s\u0000-\u0020\u007f]+$/i.test(value) && URL.canParse(value),
      'an http or https address',
    )
    .optional(),
});
export type Issue = z.infer<typeof issueSchema>;

export const prioritySchema = z.enum(['batch', 'normal', 'high']);
export const publishSchema = z.enum(['none', 'branch', 'pull-request']);

export const submissionSchema = z.strictObject({
  repository: z.strictObject({ url: repositoryUrl, base: revision }),
  issue: issueSchema,
  policy: z
    .union([z.enum(['strict', 'standard', 'advisory']), policySchema], {
      error: 'strict, standard, advisory or a whole policy document',
    })
    .default('strict'),
  priority: prioritySchema.default('normal'),
  publish: publishSchema.default('branch'),
  idempotencyKey: text(200).min(1).optional(),
});
export type Submission = z.infer<typeof submissionSchema>;

/** White space and characters that nobody sees say nothing. */
const saysSomething = (value: string): boolean => /[\p{L}\p{N}]/u.test(value);
const person = text(200).refine(saysSomething, 'a name');
const why = text(2000).refine(saysSomething, 'must say why');

export const cancellationSchema = z.strictObject({
  taskId: taskIdSchema,
  by: person.default('unnamed'),
  why: why.default('no reason given'),
});
export const rulingSchema = z.strictObject({
  taskId: taskIdSchema,
  decision: z.enum(['go', 'no-go']),
  by: person.refine((name) => name.trim().toLowerCase() !== 'unnamed', 'the name of the person who rules'),
  why,
  /** The attempt the person looked at. When given, a ruling on a task that has gone on since is refused. */
  attempt: z.int().min(0).max(1000).optional(),
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

/** Zod's issues as problems: field by path, the value found there, and what was expected in words; at most `max`. Never throws, whatever `root` is. */
export function problemsOf(error: z.ZodError, root: unknown, max = 20): Problem[] {
  return error.issues
    .flatMap((issue) => nestedIssues(issue, root))
    .slice(0, max)
    .map((issue) => ({
      field: cut(issue.path.map((key) => named(String(key))).join('.') || '(whole document)', 500),
      value: show(valueAt(root, issue.path)),
      expected: cut(expectationOf(issue), 1000),
    }));
}

type IssueAt = Pick<z.core.$ZodIssue, 'message' | 'path' | 'code'> & { keys?: string[] };

/** For a value that may be one of several things, the problems of the one it looks like: what was handed in as an object is judged as one. */
function nestedIssues(issue: z.core.$ZodIssue, root: unknown): IssueAt[] {
  const value = valueAt(root, issue.path);
  if (issue.code !== 'invalid_union' || typeof value !== 'object' || value === null || Array.isArray(value))
    return [issue];
  const deep = issue.errors.find((branch) =>
    branch.some((inner) => inner.path.length > 0 || inner.code === 'unrecognized_keys'),
  );
  return (deep ?? [issue]).map((inner) =>
    inner === issue ? issue : { ...inner, path: [...issue.path, ...inner.path] },
  );
}

function expectationOf(issue: IssueAt): string {
  if (issue.code !== 'unrecognized_keys') return issue.message;
  return `no field ${(issue.keys ?? [])
    .slice(0, 5)
    .map((key) => cut(named(key), 100))
    .join(', ')}`;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** A value in at most 201 characters, at a cost that does not grow with it: what is refused may be huge, deep or not even JSON. */
function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') {
    // A refusal is logged and shown; credentials written into an address must not be.
    const shown = cut(value, 200)
      .toWellFormed()
      .replace(/\/\/[^/@\s]*@/g, '//***@');
    return cut(JSON.stringify(shown), 200);
  }
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value !== 'object' || value === null) return cut(String(value), 200);
  const keys: string[] = [];
  for (const key in value) if (keys.push(cut(named(key), 40)) === 5) break;
  return cut(keys.length === 0 ? 'an empty object' : `an object with ${keys.join(', ')}`, 200);
}

/** The policy a submission asks for, by name or whole. */
export function resolvePolicy(policy: Submission['policy']): Policy {
  return typeof policy === 'string' ? shippedPolicies[policy] : policy;
}
