import { reviewBrief, type HunkRef, type Review, type ReviewFinding } from '../review.js';
import { quoteProblem, type ReviewContext } from './evidence.js';

const nearbyLines = 3;

/**
 * Whether a finding stands on something the harness can see: a changed line (within 3 lines, on the side it names), or, for what is
 * missing, a clause of the issue that its own review calls unserved and quotes. A finding without ground is an opinion.
 */
export function isGrounded(context: ReviewContext, review: Review, finding: ReviewFinding): boolean {
  return standsOnHunk(context.hunks, finding) || standsOnClause(context, review, finding);
}

function standsOnHunk(hunks: readonly HunkRef[], finding: ReviewFinding): boolean {
  const { path, line } = finding;
  if (path === undefined || line === undefined) return false;
  const sides: ('old' | 'new')[] = finding.side === undefined ? ['old', 'new'] : [finding.side];
  return hunks.some((hunk) => {
    if (hunk.path !== path) return false;
    return sides.some((side) => {
      const start = side === 'old' ? hunk.oldStart : hunk.newStart;
      const lines = side === 'old' ? hunk.oldLines : hunk.newLines;
      return lines > 0 && line >= start - nearbyLines && line <= start + lines - 1 + nearbyLines;
    });
  });
}

function standsOnClause(context: ReviewContext, review: Review, finding: ReviewFinding): boolean {
  if (
    finding.quote === undefined ||
    quoteProblem(`${context.issue.title}\n${context.issue.body}`, finding.quote) !== undefined
  )
    return false;
  const brief = reviewBrief(context.issue, { taskId: context.taskId, attempt: context.attempt, seat: review.seat });
  const real = new Set(brief.clauses.filter((clause) => clause.id !== brief.decoyId).map((clause) => clause.id));
  return review.clauses.some((answer) => answer.status === 'unserved' && real.has(answer.id));
}

/** The findings that would stop a change if they are true: blockers and majors, split by ground. */
export function stoppingFindings(
  context: ReviewContext,
  review: Review,
): { grounded: ReviewFinding[]; ungrounded: ReviewFinding[] } {
  const stopping = review.findings.filter((finding) => finding.severity === 'blocker' || finding.severity === 'major');
  return {
    grounded: stopping.filter((finding) => isGrounded(context, review, finding)),
    ungrounded: stopping.filter((finding) => !isGrounded(context, review, finding)),
  };
}
