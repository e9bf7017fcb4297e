import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aHunk, anApproval, anIssue, honestQuote, taskId } from '../../test/builders.js';
import { reviewBrief, type Review } from '../review.js';
import { evidenceRail, foldText, type ReviewContext } from './evidence.js';

/** Honest approvals, made dishonest in one place or several: what still passes must be true in every respect that can be looked up. */

const seats = ['concluder', 'drift-specialist'] as const;
const hunks = [aHunk(), aHunk({ id: 'H2', newStart: 40 }), aHunk({ id: 'H3', newStart: 80 })];
const contextOf = (attempt: number): ReviewContext => ({ taskId, attempt, issue: anIssue, hunks });
const briefOf = (attempt: number, seat: string) => reviewBrief(anIssue, { taskId, attempt, seat });

function honest(attempt: number, seat: Review['seat']): Review {
  const { clauses, decoyId } = briefOf(attempt, seat);
  return anApproval({
    seat,
    quotes: [honestQuote],
    clauses: clauses.map(({ id }, index) =>
      id === decoyId
        ? { id, status: 'not-in-issue', hunks: [] }
        : index === 0
          ? { id, status: 'served', hunks: ['H1'] }
          : { id, status: 'context', hunks: [] },
    ),
  });
}

type Lie = (review: Review, at: number, attempt: number) => Review;
const atClause = (
  review: Review,
  at: number,
  change: (answer: Review['clauses'][number]) => Review['clauses'],
): Review['clauses'] =>
  review.clauses.flatMap((answer, index) => (index === at % review.clauses.length ? change(answer) : [answer]));
const decoyText = (review: Review, attempt: number): string => {
  const { clauses, decoyId } = briefOf(attempt, review.seat);
  return clauses.find(({ id }) => id === decoyId)?.text ?? '';
};
const lies: Record<string, Lie> = {
  'leaves a clause out': (review, at) => ({ ...review, clauses: atClause(review, at, () => []) }),
  'answers a clause twice': (review, at) => ({
    ...review,
    clauses: atClause(review, at, (answer) => [answer, { ...answer, status: 'not-in-issue' }]),
  }),
  'rejects another clause': (review, at) => ({
    ...review,
    clauses: atClause(review, at, (answer) => [{ ...answer, status: 'not-in-issue', hunks: [] }]),
  }),
  'serves a clause by all there is': (review, at) => ({
    ...review,
    clauses: atClause(review, at, (answer) => [{ ...answer, status: 'served', hunks: ['H1', 'H2', 'H3'] }]),
  }),
  'serves a clause by what is not there': (review, at) => ({
    ...review,
    clauses: atClause(review, at, (answer) => [{ ...answer, status: 'served', hunks: ['H9'] }]),
  }),
  'calls a clause context': (review, at) => ({
    ...review,
    clauses: atClause(review, at, (answer) => [{ ...answer, status: 'context', hunks: [] }]),
  }),
  'spells an id in another way': (review, at) => ({
    ...review,
    clauses: atClause(review, at, (answer) => [{ ...answer, id: answer.id.replace('C', '\u0421') }]),
  }),
  'quotes the decoy': (review, _at, attempt) => ({ ...review, quotes: [...review.quotes, decoyText(review, attempt)] }),
  'quotes only the title': (review) => ({ ...review, quotes: [anIssue.title] }),
  'quotes nothing': (review) => ({ ...review, quotes: [] }),
  'changes a word of a quote': (review, at) => ({
    ...review,
    quotes: review.quotes.map((quote) =>
      quote
        .split(' ')
        .map((word, index) => (index === at % 5 ? 'never' : word))
        .join(' '),
    ),
  }),
  'takes the answers of another seat': (review, _at, attempt) => ({
    ...review,
    clauses: honest(attempt, seats[1]).clauses,
  }),
  'takes the answers of another attempt': (review, at, attempt) => ({
    ...review,
    clauses: honest(attempt + 1 + at, review.seat).clauses,
  }),
};

/** What an approval says that can be looked up, written down a second time. */
function isTrue(review: Review, attempt: number): boolean {
  const { clauses, decoyId } = briefOf(attempt, review.seat);
  const known = new Set<string>(hunks.map(({ id }) => id));
  const given = review.clauses.map(({ id }) => id);
  const source = foldText(anIssue.body);
  return (
    clauses.every(({ id }) => given.includes(id)) &&
    given.every((id) => clauses.some((clause) => clause.id === id)) &&
    review.clauses.every(({ id, status }) => (id === decoyId) === (status === 'not-in-issue')) &&
    review.clauses.every(({ status, hunks: named }) => status !== 'served' || named.every((id) => known.has(id))) &&
    review.clauses.some(({ status, hunks: named }) => status === 'served' && named.length > 0) &&
    review.quotes.some((quote) => source.includes(foldText(quote))) &&
    !review.quotes.includes(decoyText(review, attempt))
  );
}

describe('an approval that was honest once', () => {
  it('passes as it was', () => {
    for (let attempt = 1; attempt <= 50; attempt += 1)
      for (const seat of seats)
        expect(evidenceRail(contextOf(attempt), honest(attempt, seat))).toMatchObject({ outcome: 'pass' });
  });

  it('passes after any number of lies only if none of them made it untrue', () => {
    const seen = { pass: 0, fail: 0, unknown: 0 };
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.array(fc.tuple(fc.constantFrom(...Object.keys(lies)), fc.nat(20)), { minLength: 1, maxLength: 3 }),
        (attempt, told) => {
          const review = told.reduce(
            (before, [name, at]) => lies[name]?.(before, at, attempt) ?? before,
            honest(attempt, 'concluder'),
          );
          const { outcome } = evidenceRail(contextOf(attempt), review);
          seen[outcome] += 1;
          if (outcome === 'pass') expect(isTrue(review, attempt)).toBe(true);
        },
      ),
      { seed: 11, numRuns: 3_000 },
    );
    expect(Math.min(seen.pass, seen.fail)).toBeGreaterThan(50);
  });

  it.each([
    'quotes the decoy',
    'quotes only the title',
    'quotes nothing',
    'changes a word of a quote',
    'answers a clause twice',
  ])('never passes when it %s', (name) => {
    for (let attempt = 1; attempt <= 20; attempt += 1) {
      const { decoyId, clauses } = briefOf(attempt, 'concluder');
      const at = clauses.findIndex(({ id }) => id !== decoyId);
      const review = lies[name]?.(honest(attempt, 'concluder'), at, attempt);
      if (review === undefined) throw new Error(name);
      expect(evidenceRail(contextOf(attempt), review).outcome).toBe('fail');
    }
  });

  it('guessing the decoy succeeds as often as one in the clauses that could be it, and no oftener', () => {
    let passed = 0;
    let expected = 0;
    for (let attempt = 1; attempt <= 1_000; attempt += 1) {
      const { clauses, decoyId } = briefOf(attempt, 'concluder');
      expected += 1 / (clauses.length - 1);
      const guess = clauses[1 + (attempt % (clauses.length - 1))]?.id;
      if (guess === decoyId) passed += 1;
    }
    expect(passed / 1_000).toBeLessThan((expected / 1_000) * 1.25);
  });
});
