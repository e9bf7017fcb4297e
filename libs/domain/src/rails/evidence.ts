import { cut } from '../cut.js';
import { splitClauses } from '../issue-clauses.js';
import { reviewBrief, type HunkRef, type Review } from '../review.js';

export interface RailResult {
  outcome: 'pass' | 'fail' | 'unknown';
  summary: string;
}

export interface ReviewContext {
  taskId: string;
  attempt: number;
  issue: { title: string; body: string };
  hunks: readonly HunkRef[];
}

const quoteCharsMin = 20;
const quoteTokensMin = 4;
const quoteOccurrencesMax = 2;

/**
 * An approval that cannot prove that it read the issue cannot approve. It passes when every clause is answered once, no clause is left
 * unserved, at least one is served, every hunk it names exists, the decoy is rejected, and at least one quote is verbatim from the issue
 * (from its body, where that says anything) while none is made up. Reviews that do not approve need no proof here and pass.
 */
export function evidenceRail(context: ReviewContext, review: Review): RailResult {
  if (review.decision !== 'approve') return { outcome: 'pass', summary: 'not an approval' };
  const problems = [...quoteProblems(context, review), ...clauseProblems(context, review)];
  if (problems.length === 0) return { outcome: 'pass', summary: 'the approval proves that it read the issue' };
  return {
    outcome: 'fail',
    summary: cut(`${review.seat} (${review.model}) approved without proof: ${problems.slice(0, 4).join('; ')}`, 500),
  };
}

function quoteProblems(context: ReviewContext, review: Review): string[] {
  const { title, body } = context.issue;
  if (review.quotes.length === 0) return ['it quotes nothing from the issue'];
  const problems = review.quotes.flatMap((quote) => {
    const problem = quoteProblem(`${title}\n${body}`, quote);
    return problem === undefined ? [] : [`the quote ${JSON.stringify(quote.slice(0, 60))} ${problem}`];
  });
  if (problems.length > 0) return problems;
  // A title is on every list of issues: whoever quotes nothing else may not have opened this one.
  const isFromBody = review.quotes.some((quote) => foldText(body).includes(foldText(quote)));
  return isFromBody || !hasQuotable(body) ? [] : ['it quotes nothing but the title'];
}

/** Whether a body holds a statement that is long enough to be quoted, and not too common. */
const hasQuotable = (body: string): boolean =>
  splitClauses({ title: '', body })
    .slice(1)
    .some(({ text }) => quoteProblem(body, text) === undefined);

function clauseProblems(context: ReviewContext, review: Review): string[] {
  const brief = reviewBrief(context.issue, { taskId: context.taskId, attempt: context.attempt, seat: review.seat });
  const hunkIds = new Set(context.hunks.map((hunk) => hunk.id));
  const issued = new Set(brief.clauses.map((clause) => clause.id));
  const problems: string[] = [];
  for (const answer of review.clauses) {
    if (!issued.has(answer.id)) problems.push(`clause ${answer.id} does not exist`);
    for (const hunk of answer.hunks) if (!hunkIds.has(hunk)) problems.push(`hunk ${hunk} does not exist`);
  }
  for (const clause of brief.clauses) {
    const answers = review.clauses.filter((answer) => answer.id === clause.id);
    const answer = answers[0];
    if (answer === undefined) problems.push(`clause ${clause.id} is not answered`);
    else if (answers.some((other) => other.status !== answer.status))
      problems.push(`clause ${clause.id} is answered in two ways`);
    else if (clause.id === brief.decoyId) {
      if (answer.status !== 'not-in-issue')
        problems.push(`clause ${clause.id}, which is not in the issue, is called ${answer.status}`);
      else if (answers.some((other) => other.hunks.length > 0))
        problems.push(`clause ${clause.id} is called not in the issue and yet served`);
    } else if (answer.status === 'not-in-issue')
      problems.push(`clause ${clause.id}, which is in the issue, is called not in the issue`);
    else if (answer.status === 'unserved') problems.push(`clause ${clause.id} is called unserved, and yet it approves`);
    else if (answer.status === 'served' && answers.every((other) => other.hunks.length === 0))
      problems.push(`clause ${clause.id} is called served by no hunk`);
  }
  if (!review.clauses.some((answer) => answer.status === 'served' && answer.id !== brief.decoyId))
    problems.push('no clause is served');
  if (mapsAllToAll(review, hunkIds)) problems.push('it maps every clause to every hunk, which tells nothing');
  return problems;
}

/** Naming every id there is needs no reading. Small changes may honestly be served whole by each clause; many hunks for many clauses are not. */
function mapsAllToAll(review: Review, hunkIds: ReadonlySet<string>): boolean {
  const served = review.clauses.filter((answer) => answer.status === 'served');
  if (hunkIds.size < 4 || new Set(served.map((answer) => answer.id)).size < 3) return false;
  return served.every((answer) => new Set(answer.hunks).size >= hunkIds.size);
}

/**
 * Why a quote is not evidence, or undefined when it is verbatim: found as it stands after folding of Unicode forms, quotation marks, dashes,
 * Markdown marks and white space; at least 20 characters and 4 words; and not so common that it could be luck (at most 2 places).
 * Fuzzy matches never verify: models paraphrase what they did not read.
 */
export function quoteProblem(source: string, quote: string): string | undefined {
  const needle = foldText(quote);
  const words = needle.split(' ').filter((token) => /[\p{L}\p{N}]/u.test(token));
  if (needle.length < quoteCharsMin || words.length < quoteTokensMin) return 'is too short to prove anything';
  const places = foldText(source).split(needle).length - 1;
  if (places === 0) return 'is not in the issue';
  if (places > quoteOccurrencesMax) return `occurs ${places} times, too common to prove anything`;
  return undefined;
}

/** A text without what copying may change: Unicode forms, invisible characters, quotation marks, dashes, Markdown marks, white space, case. */
export function foldText(text: string): string {
  return text
    .normalize('NFKC')
    .replace(/[\u00ad\u200b-\u200f\u2060\ufeff]/g, '')
    .replace(/[\u2018\u2019\u201a\u201b\u2039\u203a]/g, "'")
    .replace(/[\u201c\u201d\u201e\u201f\u00ab\u00bb]/g, '"')
    .replace(/[\u2010-\u2015\u2212]/g, '-')
    .replace(/\[([^[\]]*)\]\([^()\s]*\)/g, '$1')
    .replace(/[*_`#>~]/g, '')
    .replace(/\s+/g, ' ')
    .trim()
    .toLowerCase();
}
