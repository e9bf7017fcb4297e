import { z } from 'zod';
import { splitClauses, type Clause } from './issue-clauses.js';
import { modelNameSchema, seatSchema } from './names.js';
import { seededRandom } from './seeded.js';

/** One changed region of a change, as numbered for reviewers and rails. Lines are 1-based; a span of 0 lines is empty (pure insertion or deletion). */
export const hunkRefSchema = z.strictObject({
  id: z.string().regex(/^H[1-9]\d{0,4}$/),
  path: z.string().min(1).max(4096),
  oldStart: z.int().min(0),
  oldLines: z.int().min(0),
  newStart: z.int().min(0),
  newLines: z.int().min(0),
});
export type HunkRef = z.infer<typeof hunkRefSchema>;

export const decisionSchema = z.enum(['approve', 'request-changes', 'cannot-decide']);
export const severitySchema = z.enum(['blocker', 'major', 'minor', 'note']);

export const reviewFindingSchema = z.object({
  severity: severitySchema,
  category: z.string().max(60),
  path: z.string().max(4096).optional(),
  side: z.enum(['old', 'new']).optional(),
  line: z.int().min(1).optional(),
  quote: z.string().max(2000).optional(),
  claim: z.string().min(1).max(2000),
});
export type ReviewFinding = z.infer<typeof reviewFindingSchema>;

/**
 * What a reviewer says of one clause: `served` by the named hunks, `context` (asks for nothing), `unserved` (asked for and not done), or
 * `not-in-issue` (the clause is not a statement of the issue at all: the one right answer for the decoy).
 */
export const clauseAnswerSchema = z.object({
  id: z.string().max(10),
  status: z.enum(['served', 'context', 'unserved', 'not-in-issue']),
  hunks: z.array(z.string().max(10)).max(500),
});
export type ClauseAnswer = z.infer<typeof clauseAnswerSchema>;

/** One review as recorded. Nothing in it is believed: the rails verify it against the issue and the hunks. */
export const reviewSchema = z.object({
  seat: seatSchema,
  model: modelNameSchema,
  family: z.string().max(60),
  decision: decisionSchema,
  clauses: z.array(clauseAnswerSchema).max(100),
  findings: z.array(reviewFindingSchema).max(100),
  quotes: z.array(z.string().max(2000)).max(20),
  /** Items of the model's answer that did not parse, each with the reason; they never take the others with them. */
  malformed: z.array(z.string().max(500)).max(50).default([]),
});
export type Review = z.infer<typeof reviewSchema>;

/** What a reviewer is shown of the issue: its clauses with one decoy among them. */
export interface ReviewBrief {
  clauses: Clause[];
  decoyId: string;
}

const decoys = [
  'Add a `--dry-run` option that prints every action without performing it.',
  'Make sure the output can be produced as CSV with a configurable separator.',
  'Rename the configuration directory and keep reading the old location for one release.',
  'Retry failed uploads three times with exponential back-off.',
  'Write a rotating log file that keeps the last seven days.',
  'Add a dark colour theme that follows the setting of the operating system.',
  'Cache responses on disk for ten minutes and offer a way to clear them.',
  'Send an e-mail to the owner of the project when the nightly job fails.',
  'Translate the messages of the command line into French and German.',
  'Accept credentials from a key file given on the command line.',
] as const;

/**
 * The clauses of an issue as one seat of one attempt sees them: numbered, with one seeded statement among them that the issue does not
 * make. A reviewer that maps the decoy to hunks did not read the issue. Deterministic in its arguments, so that the rail can recompute
 * which clause was the decoy. The decoy is never first, and never one that shares two or more word stems with the issue, unless every one
 * does; then it is one of those that share the fewest.
 */
export function reviewBrief(
  issue: { title: string; body: string },
  seed: { taskId: string; attempt: number; seat: string },
): ReviewBrief {
  const random = seededRandom(`${seed.taskId}/${seed.attempt}/${seed.seat}`);
  const words = stems(`${issue.title} ${issue.body}`);
  const shared = decoys.map((decoy) => [...stems(decoy)].filter((stem) => words.has(stem)).length);
  const tolerated = Math.max(1, Math.min(...shared));
  const pool = decoys.filter((_, index) => (shared[index] ?? 0) <= tolerated);
  const decoy = pool[Math.floor(random() * pool.length)] ?? decoys[0];
  const texts = splitClauses(issue).map((clause) => clause.text);
  const at = 1 + Math.floor(random() * texts.length);
  texts.splice(at, 0, decoy);
  return { clauses: texts.map((text, index) => ({ id: `C${index + 1}`, text })), decoyId: `C${at + 1}` };
}

const stopWords = new Set(
  'add and are can for from from given into its make not one set should sure that the then this time use when with without'.split(
    ' ',
  ),
);

/** The words of a text that carry meaning, each cut to its first five letters, so that «retry», «retries» and «retrying» are not three. */
function stems(text: string): Set<string> {
  const words = text.toLowerCase().match(/[a-z]{3,}/g) ?? [];
  return new Set(words.filter((word) => !stopWords.has(word)).map((word) => word.slice(0, word.length > 5 ? 4 : 5)));
}
