import { reviewBrief, type HunkRef, type Review, type ReviewFinding } from '../review.js';
import { foldText, quoteProblem, type ReviewContext } from './evidence.js';

const nearbyLines = 3;

/**
 * Whether a finding stands on something the harness can see: a changed line (within 3 lines, on the side it names; the gap of a pure
 * insertion or deletion counts as its neighbours), or, for what is missing, a clause of the issue that its own review calls unserved, and
 * quotes. A finding without ground is an opinion.
 */
export function isGrounded(context: ReviewContext, review: Review, finding: ReviewFinding): boolean {
  return standsOnHunk(context.hunks, finding) || standsOnClause(context, review, finding);
}

function standsOnHunk(hunks: readonly HunkRef[], finding: ReviewFinding): boolean {
  const { line } = finding;
  if (finding.path === undefined || line === undefined) return false;
  // Models copy paths out of diffs with the diff's own prefixes.
  const paths = [finding.path, finding.path.replace(/^(\.|a|b)\//, '')];
  const sides: ('old' | 'new')[] = finding.side === undefined ? ['old', 'new'] : [finding.side];
  return hunks.some((hunk) => paths.includes(hunk.path) && sides.some((side) => isNear(hunk, side, line)));
}

function isNear(hunk: HunkRef, side: 'old' | 'new', line: number): boolean {
  const start = side === 'old' ? hunk.oldStart : hunk.newStart;
  const lines = side === 'old' ? hunk.oldLines : hunk.newLines;
  // No lines after line 0: the file does not exist on this side. No lines after line n: a gap between n and n + 1.
  if (lines === 0) return start > 0 && line > start - nearbyLines && line <= start + nearbyLines;
  return line >= start - nearbyLines && line <= start + lines - 1 + nearbyLines;
}

function standsOnClause(context: ReviewContext, review: Review, finding: ReviewFinding): boolean {
  if (
    finding.quote === undefined ||
    quoteProblem(`${context.issue.title}\n${context.issue.body}`, finding.quote) !== undefined
  )
    return false;
  const quote = foldText(finding.quote);
  const brief = reviewBrief(context.issue, { taskId: context.taskId, attempt: context.attempt, seat: review.seat });
  return brief.clauses.some((clause) => {
    const text = foldText(clause.text.replace(/…$/, ''));
    const answers = review.clauses.filter((answer) => answer.id === clause.id);
    return (
      clause.id !== brief.decoyId &&
      answers.length > 0 &&
      answers.every((answer) => answer.status === 'unserved' && answer.hunks.length === 0) &&
      text !== '' &&
      (text.includes(quote) || quote.includes(text))
    );
  });
}

/** The findings that would stop a change if they are true: blockers and majors, split by ground. */
export function stoppingFindings(
  context: ReviewContext,
  review: Review,
): { grounded: ReviewFinding[]; ungrounded: ReviewFinding[] } {
  const stopping = review.findings.filter((finding) => finding.severity === 'blocker' || finding.severity === 'major');
  const grounded = stopping.filter((finding) => isGrounded(context, review, finding));
  return { grounded, ungrounded: stopping.filter((finding) => !grounded.includes(finding)) };
}
