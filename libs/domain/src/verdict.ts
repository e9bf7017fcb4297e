import { z } from 'zod';
import { cut } from './cut.js';
import { checkIds, railIds, reasonIdSchema, type CheckId, type CheckResult, type Outcome } from './check.js';
import { effectOf, type Policy } from './policy.js';
import { evidenceRail } from './rails/evidence.js';
import { stoppingFindings } from './rails/grounding.js';
import type { HunkRef, Review } from './review.js';

export const verdictSchema = z.enum(['GO', 'NO-GO', 'INCOMPLETE']);
export type Verdict = z.infer<typeof verdictSchema>;

const summaryCharsMax = 600;
const reasonsMax = 300;

/** Why a verdict is not GO. `unknown` marks what could not be told or is missing; it withholds GO as `demote` does. */
export const reasonSchema = z.strictObject({
  check: reasonIdSchema,
  effect: z.enum(['block', 'demote', 'unknown']),
  summary: z.string().min(1).max(summaryCharsMax),
  evidence: z.array(z.string().max(200)).max(50),
});
export type Reason = z.infer<typeof reasonSchema>;

export const judgementSchema = z.strictObject({
  verdict: verdictSchema,
  /** Every failed, unknown or missing required item, blocks first. Empty only for GO. */
  reasons: z.array(reasonSchema).max(reasonsMax),
  /** What is worth showing and changes nothing. */
  advice: z.array(z.string().max(summaryCharsMax)).max(reasonsMax),
});
export type Judgement = z.infer<typeof judgementSchema>;

/** Everything a verdict may rest on. All of it is recorded; nothing of it is a model's claim about itself. */
export interface Facts {
  /** The change judged. Null when the attempt brought none: there is nothing to judge, so never GO. */
  subject: { base: string; head: string; tree: string } | null;
  taskId: string;
  attempt: number;
  issue: { title: string; body: string };
  /**
   * What the gate said when it was done: about which tree, which checks it concluded and how. The list makes a lost result visible. Null
   * when the gate did not conclude.
   */
  gate: { tree: string; concluded: readonly { check: CheckId; outcome: Outcome }[]; hunks: readonly HunkRef[] } | null;
  checks: readonly CheckResult[];
  /** The reviews, each with the tree it is about. */
  reviews: readonly { tree: string; review: Review }[];
  /** Seats that ended without a review, with the reason. */
  unreviewed: readonly { seat: string; why: string }[];
}

/**
 * Folds evidence to a verdict. Pure, total, order-free; duplicates change nothing.
 *
 * Any blocking failure → NO-GO. Otherwise anything missing, unknown or demoting → INCOMPLETE. GO only when every required check, and every
 * check the gate says it concluded, is present for exactly this tree and passes or is shown not to apply, and the panel approves with
 * verified evidence. Nothing here can raise a verdict. Nothing recorded → INCOMPLETE. After Jepsen's `merge-valid`, but not true on empty.
 */
export function adjudicate(policy: Policy, facts: Facts): Judgement {
  const found: Reason[] = [];
  const advice: string[] = [];
  const gate = facts.gate !== null && facts.gate.tree === facts.subject?.tree ? facts.gate : null;
  if (facts.subject === null)
    found.push({ check: 'attempt', effect: 'unknown', summary: 'the attempt proposed no change', evidence: [] });
  judgeGate(policy, { ...facts, gate }, found, advice);
  judgePanel(policy, { ...facts, gate }, found, advice);
  const reasons = boundReasons(sortReasons(found));
  const verdict: Verdict = reasons.some((reason) => reason.effect === 'block')
    ? 'NO-GO'
    : reasons.length > 0
      ? 'INCOMPLETE'
      : 'GO';
  return {
    verdict,
    reasons,
    advice: [...new Set(advice.map((text) => cut(text, summaryCharsMax)))].sort().slice(0, reasonsMax),
  };
}

function judgeGate(policy: Policy, facts: Facts, reasons: Reason[], advice: string[]): void {
  const tree = facts.subject?.tree;
  const { gate } = facts;
  if (gate === null && facts.subject !== null) {
    reasons.push({ check: 'gate', effect: 'unknown', summary: 'the gate did not conclude on this tree', evidence: [] });
  }
  const required = new Set<CheckId>([...policy.required, ...(gate?.concluded ?? []).map((entry) => entry.check)]);
  for (const check of checkIds) {
    const results = facts.checks.filter(
      (result) => result.check === check && result.tree === tree && tree !== undefined,
    );
    const merged = meet(results);
    const concluded = (gate?.concluded ?? []).filter((entry) => entry.check === check);
    const lost = concluded.some((entry) => merged === null || rank[merged.outcome] > rank[entry.outcome]);
    if (lost || merged === null) {
      if (required.has(check) && facts.subject !== null) {
        reasons.push({
          check,
          effect: 'unknown',
          summary: lost
            ? `a result of ${check} that the gate concluded is missing`
            : `no result of ${check} for this tree`,
          evidence: [],
        });
      }
      if (merged === null) continue;
    }
    const { summary } = merged.result;
    const evidence = evidenceOf(merged.result);
    if (merged.outcome === 'fail') {
      const effect = effectOf(policy, check);
      // A policy that requires a check cannot make its failure advice, even one that was never validated.
      if (effect === 'advise' && policy.required.includes(check))
        reasons.push({ check, effect: 'demote', summary, evidence });
      else if (effect === 'advise') advice.push(`${check}: ${summary}`);
      else reasons.push({ check, effect, summary, evidence });
    } else if (merged.outcome === 'unknown') {
      // A check that could not tell withholds what its failure would have withheld; only what is advice when red is advice when blind.
      if (policy.required.includes(check) || effectOf(policy, check) !== 'advise')
        reasons.push({ check, effect: 'unknown', summary, evidence });
      else advice.push(`${check} could not tell: ${summary}`);
    }
  }
}

const rank: Record<Outcome, number> = { fail: 0, unknown: 1, pass: 2, 'not-applicable': 3 };

/** The worst of several results of one check. `not-applicable` without the predicate that showed it is unknown. Null for no result. */
function meet(results: readonly CheckResult[]): { outcome: Outcome; result: CheckResult } | null {
  let worst: { outcome: Outcome; result: CheckResult } | null = null;
  for (const result of [...results].sort((a, b) => compare(JSON.stringify(a), JSON.stringify(b)))) {
    const proven = result.outcome !== 'not-applicable' || (result.predicate ?? '').trim() !== '';
    const outcome = proven ? result.outcome : 'unknown';
    if (worst === null || rank[outcome] < rank[worst.outcome]) worst = { outcome, result };
  }
  return worst;
}

/**
 * The panel: the seats policy asks for, and whoever else has reviewed this tree. A review nobody asked for can lower a verdict like any
 * other and vouches for nothing.
 */
function judgePanel(policy: Policy, facts: Facts, reasons: Reason[], advice: string[]): void {
  if (facts.subject === null) return;
  const { tree } = facts.subject;
  const context = { taskId: facts.taskId, attempt: facts.attempt, issue: facts.issue, hunks: facts.gate?.hunks ?? [] };
  const approvals = new Map<string, string>();
  const asked = new Map(policy.panel.seats.map(({ seat, canVouch }) => [seat, canVouch]));
  for (const seat of new Set([...asked.keys(), ...facts.reviews.map((entry) => entry.review.seat)])) {
    const reviews = facts.reviews
      .filter((entry) => entry.review.seat === seat && entry.tree === tree)
      .map((entry) => entry.review);
    if (reviews.length === 0 && asked.has(seat)) {
      const why = facts.unreviewed.filter((entry) => entry.seat === seat).map((entry) => entry.why);
      const summary = [`no review from the ${seat}`, ...[...new Set(why)].sort()].join(': ');
      reasons.push({ check: 'panel', effect: 'unknown', summary: cut(summary, summaryCharsMax), evidence: [] });
    }
    const verdicts = reviews.map((review) => judgeReview(context, review, reasons, advice));
    // A seat has one voice: it approves only if each of its reviews does, and as one family.
    const family = reviews.map((review) => familyOf(review)).sort()[0] ?? '';
    if (asked.get(seat) === true && family !== '' && verdicts.every((approves) => approves))
      approvals.set(seat, family);
  }
  const families = new Set(approvals.values()).size;
  if (approvals.size < policy.panel.approvalsMin || families < policy.panel.familiesMin) {
    const { approvalsMin, familiesMin } = policy.panel;
    reasons.push({
      check: 'panel',
      effect: 'unknown',
      summary: `approvals with verified evidence: ${approvals.size}, from ${families} model families; policy asks for ${approvalsMin}, from ${familiesMin}`,
      evidence: [],
    });
  }
}

const familyOf = (review: Review): string => review.family.normalize('NFKC').trim().toLowerCase();

/** Whether one review is an approval that counts. Everything that lowers the verdict is pushed to `reasons`. */
function judgeReview(
  context: Parameters<typeof evidenceRail>[0],
  review: Review,
  reasons: Reason[],
  advice: string[],
): boolean {
  const who = `${review.seat} (${review.model})`;
  const push = (check: Reason['check'], effect: Reason['effect'], summary: string): void => {
    reasons.push({ check, effect, summary: cut(summary, summaryCharsMax), evidence: [] });
  };
  const evidence = evidenceRail(context, review);
  if (evidence.outcome !== 'pass') push('evidence', 'demote', evidence.summary);
  const { grounded, ungrounded } = stoppingFindings(context, review);
  for (const finding of grounded) {
    const rail = review.decision === 'approve' ? 'verdict-from-findings' : 'panel';
    const place =
      finding.path === undefined ? '' : ` (${finding.path}${finding.line === undefined ? '' : `:${finding.line}`})`;
    push(rail, 'block', `${who}: ${finding.severity} ${finding.category}: ${finding.claim}${place}`);
  }
  for (const finding of ungrounded) {
    push(
      'grounding',
      'demote',
      `${who}: ${finding.severity} ${finding.category} stands on no changed line and no unserved clause: ${finding.claim}`,
    );
  }
  for (const item of review.malformed)
    push('grounding', 'demote', `${who}: an item of the review could not be read: ${item}`);
  if (review.decision === 'request-changes' && grounded.length === 0)
    push('empty-claim', 'demote', `${who} asks for changes without a finding that has ground`);
  if (review.decision === 'cannot-decide') push('panel', 'unknown', `${who} could not decide`);
  for (const finding of review.findings) {
    if (finding.severity === 'minor' || finding.severity === 'note')
      advice.push(`${who}: ${finding.severity}: ${finding.claim}`);
  }
  return (
    review.decision === 'approve' &&
    evidence.outcome === 'pass' &&
    grounded.length === 0 &&
    ungrounded.length === 0 &&
    review.malformed.length === 0
  );
}

function evidenceOf(result: CheckResult): string[] {
  const places = result.findings.flatMap((f) =>
    f.path === undefined ? [] : [`${f.path}${f.line === undefined ? '' : `:${f.line}`}`.slice(0, 200)],
  );
  return [...new Set([...places, ...result.evidence.map((ref) => `sha256:${ref.digest}`)])].slice(0, 50);
}

/** Blocks first, then by check and text; each reason once, however often its cause was recorded. */
function sortReasons(reasons: readonly Reason[]): Reason[] {
  const effects = { block: 0, demote: 1, unknown: 2 } as const;
  const once = new Map(reasons.map((reason) => [JSON.stringify(reason), reason]));
  return [...once.values()].sort(
    (a, b) => effects[a.effect] - effects[b.effect] || compare(a.check, b.check) || compare(a.summary, b.summary),
  );
}

/**
 * Keeps a verdict recordable whatever reviewers write: what the harness found stays, of the reviews' reasons the first ones in order, and
 * one that says how many more there are. Keeps at least one reason of the worst effect, so that the verdict stays the same.
 */
function boundReasons(reasons: readonly Reason[]): Reason[] {
  if (reasons.length <= reasonsMax) return [...reasons];
  const room = reasonsMax - 1 - reasons.filter((reason) => isHarness(reason)).length;
  let taken = 0;
  const kept = reasons.filter((reason) => isHarness(reason) || taken++ < room);
  const dropped = reasons.filter((reason) => !kept.includes(reason));
  const effect = dropped.some((reason) => reason.effect === 'block') ? 'block' : 'unknown';
  const more: Reason = {
    check: 'panel',
    effect,
    summary: `and ${dropped.length} more reasons from reviews`,
    evidence: [],
  };
  return sortReasons([...kept, more]);
}

const isHarness = (reason: Reason): boolean => !(railIds as readonly string[]).includes(reason.check);

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
