import { z } from 'zod';
import type { EventData } from '../events/catalogue.js';
import { issueSchema, prioritySchema, publishSchema, type Issue, type Problem, type Submission } from '../intake.js';
import { policySchema, type Policy } from '../policy.js';

/**
 * A batch: many issues under one name and one policy. It has no state of its own. Its name and an entry's key are the identity of that
 * entry's task, so the log alone says what was handed in and how far it came.
 */

/** Most entries of one batch: their histories are read at every start. */
export const batchTasksMax = 1_000;
/** Most tasks of a batch that may be under way at once. */
export const batchParallelMax = 64;
/** Enough that coder, gate and reviewer each have one, and few enough that a bad policy is noticed before all is spent. */
export const batchParallelDefault = 4;

export const batchNameSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'a batch name is 1-63 of a-z 0-9 . _ - and begins with a letter or digit');
export const batchKeySchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, 'a key is 1-100 of A-Z a-z 0-9 . _ - and begins with a letter or digit');

const repository = z.string().min(1, 'a directory or an address').max(2_000);
const base = z.string().min(1, 'a branch, tag or commit').max(250);
const issueFile = z.string().min(1, 'the path of a file').max(1_000);

/** One issue of a batch; what it does not say is as the batch says. */
export const batchEntrySchema = z.strictObject({
  /** Names the entry for ever. Default: the issue file's name without folder and extension. */
  key: batchKeySchema.optional(),
  /** A text file below the batch file's folder (its first line is the title), or the issue itself. */
  issue: z.union([issueFile, issueSchema], { error: 'the path of a file, or an issue with title and body' }),
  repository: repository.optional(),
  base: base.optional(),
  priority: prioritySchema.optional(),
  publish: publishSchema.optional(),
});

/** The file of `plumb submit --batch`. */
export const batchDocumentSchema = z.strictObject({
  schema: z.literal('plumbline.batch/1'),
  name: batchNameSchema,
  /** A directory (relative to the file's folder) or an address. */
  repository: repository.optional(),
  /** As written, for every task: a branch is resolved when its task starts. */
  base: base.optional(),
  policy: z
    .union([z.enum(['strict', 'standard', 'advisory']), policySchema], {
      error: 'strict, standard, advisory or a whole policy document',
    })
    .default('strict'),
  priority: prioritySchema.default('batch'),
  publish: publishSchema.default('branch'),
  parallel: z.int().min(1).max(batchParallelMax).optional(),
  tasks: z.array(batchEntrySchema).min(1).max(batchTasksMax),
});
export type BatchDocument = z.infer<typeof batchDocumentSchema>;

/** An entry with everything that the batch says for all filled in. */
export interface BatchEntry {
  readonly index: number;
  readonly key: string;
  readonly repository: string;
  readonly base: string;
  readonly issue: string | Issue;
  readonly policy: 'strict' | 'standard' | 'advisory' | Policy;
  readonly priority: Submission['priority'];
  readonly publish: Submission['publish'];
}

const sourcePrefix = 'urn:plumbline:batch:';

/** The CloudEvents source of a batch's submissions; an entry's key is the id. */
export const batchSource = (name: string): string => `${sourcePrefix}${name}`;

/** The batch that a submission's source names; undefined for any other source. */
export function batchNameOf(source: string): string | undefined {
  const name = source.startsWith(sourcePrefix) ? source.slice(sourcePrefix.length) : '';
  return batchNameSchema.safeParse(name).success ? name : undefined;
}

/**
 * A document made of the parts of a value that are as they should be, for finding what else is wrong with it; `positions` are those of its
 * tasks in the value. Undefined when nothing more could be said without guessing.
 */
export function soundPart(value: unknown): { document: BatchDocument; positions: number[] } | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const { repository, base, tasks } = value as Record<string, unknown>;
  if (!Array.isArray(tasks) || tasks.length > batchTasksMax) return undefined;
  const sound = tasks
    .map((task: unknown, position) => ({ task, position }))
    .filter(({ task }) => batchEntrySchema.safeParse(task).success);
  const given = {
    schema: 'plumbline.batch/1',
    name: 'unnamed',
    repository,
    base,
    tasks: sound.map(({ task }) => task),
  };
  const parsed = batchDocumentSchema.safeParse(given);
  return parsed.success ? { document: parsed.data, positions: sound.map(({ position }) => position) } : undefined;
}

/**
 * The entries in the order of the file, and everything that is wrong with them as a whole: keys that are missing or taken, nowhere to
 * work. `positions` are those of the tasks in the file, where some were left out.
 */
export function batchEntries(
  document: BatchDocument,
  positions?: readonly number[],
): { entries: BatchEntry[]; problems: Problem[] } {
  const problems: Problem[] = [];
  const entries: BatchEntry[] = [];
  const first = new Map<string, number>();
  const { policy, priority, publish } = document;
  for (const [at, given] of document.tasks.entries()) {
    const index = positions?.[at] ?? at;
    const wrong = (field: string, value: string, expected: string): void =>
      void problems.push({ field: `tasks.${index}.${field}`, value, expected });
    const key = given.key ?? keyOf(given.issue);
    const where = given.repository ?? document.repository;
    const from = given.base ?? document.base;
    if (key === undefined) wrong('key', 'nothing', 'a key: none can be made of this issue');
    else if (first.has(key)) wrong('key', JSON.stringify(key), `a key of its own; tasks.${first.get(key)} has it`);
    else first.set(key, index);
    if (where === undefined) wrong('repository', 'nothing', 'a repository, here or for the whole batch');
    if (from === undefined) wrong('base', 'nothing', 'a branch, tag or commit, here or for the whole batch');
    if (key === undefined || where === undefined || from === undefined) continue;
    entries.push({
      index,
      key,
      repository: where,
      base: from,
      issue: given.issue,
      policy,
      priority: given.priority ?? priority,
      publish: given.publish ?? publish,
    });
  }
  return { entries, problems };
}

/** The key an issue file's name makes; undefined when it makes none. */
function keyOf(issue: string | Issue): string | undefined {
  if (typeof issue !== 'string') return undefined;
  const name = (issue.split('/').at(-1) ?? '').replace(/\.[A-Za-z0-9]{1,8}$/, '');
  return batchKeySchema.safeParse(name).success ? name : undefined;
}

/** One field of an entry that is not what was submitted under its key. */
export interface EntryDifference {
  readonly field: string;
  readonly submitted: string;
  readonly now: string;
}

/** In what an entry, as it stands in the file now, differs from what was submitted under its key; empty when it asks for the same. */
export function entryDifferences(submission: Submission, recorded: EventData<'task.submitted'>): EntryDifference[] {
  const shown = (value: unknown): string => JSON.stringify(value) ?? 'nothing';
  const pairs: [string, unknown, unknown][] = [
    ['repository', recorded.repository.url, submission.repository.url],
    ['base', recorded.repository.base, submission.repository.base],
    ['issue.title', recorded.issue.title, submission.issue.title],
    ['issue.body', recorded.issue.body, submission.issue.body],
    ['issue.url', recorded.issue.url, submission.issue.url],
    // A shipped policy is asked for by name: what it says may have changed with a version of Plumbline in between.
    typeof submission.policy === 'string'
      ? ['policy', recorded.policy.name, submission.policy]
      : ['policy', canonical(recorded.policy), canonical(submission.policy)],
    ['priority', recorded.priority, submission.priority],
    ['publish', recorded.publish, submission.publish],
  ];
  return pairs.flatMap(([field, before, now]) =>
    shown(before) === shown(now) ? [] : [{ field, ...firstDifference(shown(before), shown(now)) }],
  );
}

const around = 60;

/** Two different texts, each cut to what surrounds the first place where they differ. */
function firstDifference(before: string, now: string): { submitted: string; now: string } {
  let at = 0;
  while (at < before.length && before[at] === now[at]) at += 1;
  const from = Math.max(0, at - around / 2);
  const part = (text: string): string =>
    `${from > 0 ? '…' : ''}${text.slice(from, from + around)}${text.length > from + around ? '…' : ''}`.toWellFormed();
  return { submitted: part(before), now: part(now) };
}

function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, canonical(inner)]),
  );
}
