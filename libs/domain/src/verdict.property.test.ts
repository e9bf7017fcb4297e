import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aHunk, anApproval, aPolicy, aResult, honestQuote, oid, someFacts } from '../test/builders.js';
import { checkIds, type CheckId, type CheckResult, type Outcome } from './check.js';
import { effectOf, shippedPolicies, type Policy } from './policy.js';
import type { Review } from './review.js';
import { adjudicate, judgementSchema, type Facts } from './verdict.js';

const tree = oid('c');
const other = oid('9');
const strict = aPolicy();
const finding = {
  severity: 'blocker',
  category: 'bug',
  path: 'src/price.ts',
  line: 11,
  claim: 'adds up wrongly',
} as const;

/** Reviews whose meaning is known without the rails: whether they vouch, and what they do to the verdict. */
const kinds: Record<string, { review: Partial<Review>; vouches: boolean; lowers: 'no' | 'withholds' | 'blocks' }> = {
  approves: { review: {}, vouches: true, lowers: 'no' },
  'approves with a note': { review: { findings: [{ ...finding, severity: 'note' }] }, vouches: true, lowers: 'no' },
  'approves without proof': {
    review: { quotes: ['a quote that is nowhere in the issue'] },
    vouches: false,
    lowers: 'withholds',
  },
  'approves a blocker': { review: { findings: [finding] }, vouches: false, lowers: 'blocks' },
  'rejects with ground': {
    review: { decision: 'request-changes', findings: [finding] },
    vouches: false,
    lowers: 'blocks',
  },
  'rejects without ground': { review: { decision: 'request-changes' }, vouches: false, lowers: 'withholds' },
  'cannot decide': { review: { decision: 'cannot-decide' }, vouches: false, lowers: 'withholds' },
  'is half unreadable': { review: { malformed: ['x'] }, vouches: false, lowers: 'withholds' },
};

interface Case {
  policy: Policy;
  facts: Facts;
  kindOf: Map<Review, (typeof kinds)[string]>;
}

/** The words of the design, taken literally and written down without regard to how the code does it. */
function reference({ policy, facts, kindOf }: Case): 'GO' | 'NO-GO' | 'INCOMPLETE' {
  const { subject } = facts;
  if (subject === null) return 'INCOMPLETE';
  const about = facts.checks.filter((entry) => entry.tree === subject.tree);
  const means = (entry: CheckResult): Outcome =>
    entry.outcome === 'not-applicable' && (entry.predicate ?? '').trim() === '' ? 'unknown' : entry.outcome;
  const reviews = facts.reviews.filter((entry) => entry.tree === subject.tree).map((entry) => kindOf.get(entry.review));
  const gate = facts.gate?.tree === subject.tree ? facts.gate : null;
  const blocked =
    about.some((entry) => entry.outcome === 'fail' && effectOf(policy, entry.check) === 'block') ||
    // A finding stands on a line that the gate saw change; without a gate there is no ground to stand on.
    (gate !== null && reviews.some((kind) => kind?.lowers === 'blocks'));
  if (blocked) return 'NO-GO';

  if (gate === null) return 'INCOMPLETE';
  const fine = (id: CheckId): boolean => {
    const own = about.filter((entry) => entry.check === id).map(means);
    return own.length > 0 && own.every((outcome) => outcome === 'pass' || outcome === 'not-applicable');
  };
  if (!policy.required.every(fine)) return 'INCOMPLETE';
  if (
    about.some(
      (entry) =>
        means(entry) !== 'pass' && means(entry) !== 'not-applicable' && effectOf(policy, entry.check) !== 'advise',
    )
  )
    return 'INCOMPLETE';
  const badness: Record<Outcome, number> = { fail: 3, unknown: 2, pass: 1, 'not-applicable': 0 };
  const asBadAsConcluded = gate.concluded.every(({ check, outcome }) =>
    about.some((entry) => entry.check === check && badness[means(entry)] >= badness[outcome]),
  );
  if (!asBadAsConcluded) return 'INCOMPLETE';

  if (reviews.some((kind) => kind?.lowers === 'withholds')) return 'INCOMPLETE';
  const bySeat = policy.panel.seats.map(({ seat, canVouch }) => ({
    canVouch,
    own: facts.reviews.filter((entry) => entry.review.seat === seat && entry.tree === subject.tree),
  }));
  if (bySeat.some(({ own }) => own.length === 0)) return 'INCOMPLETE';
  const vouching = bySeat.filter(
    ({ canVouch, own }) => canVouch && own.every((entry) => kindOf.get(entry.review)?.vouches === true),
  );
  const families = new Set(vouching.map(({ own }) => own.map((entry) => entry.review.family).sort()[0]));
  return vouching.length >= policy.panel.approvalsMin && families.size >= policy.panel.familiesMin
    ? 'GO'
    : 'INCOMPLETE';
}

const twoOfTwo = aPolicy({
  name: 'two-of-two',
  required: ['build', 'tests', 'bite'],
  panel: {
    seats: [
      { seat: 'concluder', canVouch: true },
      { seat: 'second', canVouch: true },
      { seat: 'drift-specialist', canVouch: false },
    ],
    approvalsMin: 2,
    familiesMin: 2,
  },
});
const someChecks = ['build', 'tests', 'scope', 'bite', 'claims', 'caller-impact', 'format'] as const;
const mostly = <T>(usual: T, ...rest: T[]): fc.Arbitrary<T> =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constant(usual) },
    ...rest.map((value) => ({ weight: 1, arbitrary: fc.constant(value) })),
  );
const aTree = mostly(tree, other);
const anOutcome = mostly<Outcome>('pass', 'fail', 'unknown', 'not-applicable');
const aCheck = (check: CheckId): fc.Arbitrary<CheckResult> =>
  fc
    .record({ outcome: anOutcome, tree: aTree, predicate: mostly<string | undefined>('shown', undefined, ' ') })
    .map(({ outcome, tree: about, predicate }) =>
      aResult({ check, outcome, tree: about, ...(predicate === undefined ? {} : { predicate }) }),
    );

const aCase: fc.Arbitrary<Case> = fc
  .record({
    policy: fc.constantFrom(...Object.values(shippedPolicies), strict, twoOfTwo),
    checks: fc
      .tuple(...someChecks.map((id) => fc.tuple(mostly(true, false), aCheck(id), fc.option(aCheck(id), { freq: 10 }))))
      .map((all) =>
        all.flatMap(([present, first, second]) => [...(present ? [first] : []), ...(second === null ? [] : [second])]),
      ),
    truthful: mostly(true, false),
    extra: fc.array(fc.record({ check: fc.constantFrom(...checkIds), outcome: anOutcome }), { maxLength: 1 }),
    gate: mostly<string | null>(tree, other, null),
    subject: mostly(true, false),
    reviews: fc.array(
      fc.record({
        seat: fc.constantFrom('concluder', 'second', 'drift-specialist'),
        kind: fc.oneof(
          { weight: 10, arbitrary: fc.constant('approves') },
          { weight: 1, arbitrary: fc.constantFrom(...Object.keys(kinds)) },
        ),
        family: fc.constantFrom('glm', 'gemma'),
        about: aTree,
      }),
      { maxLength: 5 },
    ),
    full: fc.boolean(),
  })
  .map((parts) => {
    const kindOf: Case['kindOf'] = new Map();
    const base = parts.full
      ? parts.policy.panel.seats.map(({ seat }, i) => ({
          seat,
          kind: 'approves',
          family: i === 0 ? 'glm' : 'gemma',
          about: tree,
        }))
      : [];
    const reviews = [...base, ...(parts.full ? parts.reviews.slice(0, 1) : parts.reviews)].map(
      ({ seat, kind, family, about }) => {
        const meaning = kinds[kind] ?? { review: {}, vouches: true, lowers: 'no' };
        const review = anApproval({ ...meaning.review, seat, family });
        kindOf.set(review, meaning);
        return { tree: about, review };
      },
    );
    const concluded = parts.checks
      .filter((entry) => entry.tree === tree)
      .map(({ check, outcome }) => ({ check, outcome }));
    const facts = someFacts({
      ...(parts.subject ? {} : { subject: null }),
      checks: parts.checks,
      reviews,
      gate:
        parts.gate === null
          ? null
          : {
              tree: parts.gate,
              concluded: parts.truthful ? concluded : [...concluded, ...parts.extra],
              hunks: [aHunk()],
            },
    });
    return { policy: parts.policy, facts, kindOf };
  });

const order = { GO: 2, INCOMPLETE: 1, 'NO-GO': 0 } as const;
const options = { seed: 4711, numRuns: 1500 };
const shuffled = <T>(items: readonly T[], seed: number): T[] =>
  items
    .map((item, i) => [Math.imul(seed + i * 7919, 0x9e3779b1) >>> 0, item] as const)
    .sort((a, b) => a[0] - b[0])
    .map(([, item]) => item);

describe('properties over generated facts', () => {
  it('agrees with the words of the design', () => {
    const seen = { GO: 0, 'NO-GO': 0, INCOMPLETE: 0 };
    fc.assert(
      fc.property(aCase, (one) => {
        const judged = adjudicate(one.policy, one.facts);
        seen[judged.verdict] += 1;
        expect(judged.verdict).toBe(reference(one));
        expect(judged.reasons.length === 0).toBe(judged.verdict === 'GO');
        expect(judgementSchema.safeParse(judged).success).toBe(true);
      }),
      options,
    );
    for (const n of Object.values(seen)) expect(n).toBeGreaterThan(100);
  });
  it('lists every required check that does not pass', () => {
    fc.assert(
      fc.property(aCase, ({ policy, facts }) => {
        const { reasons } = adjudicate(policy, facts);
        if (facts.subject === null) return;
        for (const id of policy.required) {
          const own = facts.checks.filter((entry) => entry.check === id && entry.tree === tree);
          const fine =
            own.length > 0 &&
            own.every(
              (entry) => entry.outcome === 'pass' || (entry.outcome === 'not-applicable' && entry.predicate?.trim()),
            );
          if (!fine) expect(reasons.map((reason) => reason.check)).toContain(id);
        }
      }),
      options,
    );
  });
  it('never turns GO when evidence is deleted', () => {
    fc.assert(
      fc.property(aCase, fc.nat(50), ({ policy, facts }, n) => {
        const whole = adjudicate(policy, facts).verdict;
        const fewerChecks = {
          ...facts,
          checks: facts.checks.filter((_, i) => i !== n % Math.max(1, facts.checks.length)),
        };
        const gone = n % Math.max(1, facts.checks.length);
        const lostCheck = facts.checks[gone];
        const need =
          lostCheck !== undefined &&
          lostCheck.tree === tree &&
          !fewerChecks.checks.some((entry) => entry.check === lostCheck.check && entry.tree === tree);
        if (need) expect(adjudicate(policy, fewerChecks).verdict).not.toBe('GO');
        if (whole === 'GO') {
          expect(adjudicate(policy, { ...facts, gate: null }).verdict).not.toBe('GO');
          expect(adjudicate(policy, { ...facts, subject: null }).verdict).not.toBe('GO');
          for (const { seat } of policy.panel.seats)
            expect(
              adjudicate(policy, { ...facts, reviews: facts.reviews.filter((entry) => entry.review.seat !== seat) })
                .verdict,
            ).not.toBe('GO');
        } else if (whole === 'NO-GO') {
          expect(order[adjudicate(policy, { ...facts, gate: null, reviews: [] }).verdict]).toBeLessThan(2);
        }
      }),
      options,
    );
  });
  it('is never raised by a finding', () => {
    const anyFinding = fc.record({
      severity: fc.constantFrom('blocker' as const, 'major' as const, 'minor' as const, 'note' as const),
      category: fc.constant('bug'),
      path: fc.constantFrom('src/price.ts', 'elsewhere.ts'),
      line: fc.integer({ min: 1, max: 30 }),
      claim: fc.string({ minLength: 1, maxLength: 20 }),
      quote: fc.constantFrom(honestQuote, 'nothing of the kind is written there'),
    });
    fc.assert(
      fc.property(aCase, anyFinding, fc.nat(10), ({ policy, facts }, added, n) => {
        const at = n % Math.max(1, facts.reviews.length);
        const reviews = facts.reviews.map((entry, i) =>
          i === at ? { ...entry, review: { ...entry.review, findings: [...entry.review.findings, added] } } : entry,
        );
        expect(order[adjudicate(policy, { ...facts, reviews }).verdict]).toBeLessThanOrEqual(
          order[adjudicate(policy, facts).verdict],
        );
        const failing = aResult({ check: 'secrets', outcome: 'fail', summary: 'a key' });
        expect(order[adjudicate(policy, { ...facts, checks: [...facts.checks, failing] }).verdict]).toBeLessThanOrEqual(
          order[adjudicate(policy, facts).verdict],
        );
      }),
      options,
    );
  });
  it('does not depend on order or repetition, nor on evidence of another tree', () => {
    fc.assert(
      fc.property(aCase, fc.nat(), ({ policy, facts }, seed) => {
        const judged = adjudicate(policy, facts);
        const { gate } = facts;
        const twice = <T>(items: readonly T[]): T[] => shuffled([...items, ...items], seed);
        const again = {
          ...facts,
          checks: twice(facts.checks),
          reviews: twice(facts.reviews),
          gate: gate && { ...gate, concluded: twice(gate.concluded), hunks: twice(gate.hunks) },
        };
        expect(adjudicate(policy, again)).toEqual(judged);
        if (facts.subject === null) return;
        const here = {
          ...facts,
          checks: facts.checks.filter((entry) => entry.tree === tree),
          reviews: facts.reviews.filter((entry) => entry.tree === tree),
          gate: gate?.tree === tree ? gate : null,
        };
        expect(adjudicate(policy, here)).toEqual(judged);
      }),
      options,
    );
  });
});

describe('every shipped policy', () => {
  it.each(Object.values(shippedPolicies))('$name: GO needs each required check', (policy) => {
    const checks = policy.required.map((check) => aResult({ check }));
    const gate = { tree, concluded: checks.map(({ check, outcome }) => ({ check, outcome })), hunks: [aHunk()] };
    expect(adjudicate(policy, someFacts({ checks, gate })).verdict).toBe('GO');
    for (const id of policy.required)
      for (const outcome of ['fail', 'unknown', 'not-applicable'] as const) {
        const worse = checks.map((entry) => (entry.check === id ? { ...entry, outcome } : entry));
        expect(adjudicate(policy, someFacts({ checks: worse, gate: { ...gate, concluded: [] } })).verdict).not.toBe(
          'GO',
        );
      }
  });
  it.each(checkIds)('fails closed on a failing %s under a policy that says nothing of it', (check) => {
    const policy = aPolicy({ effects: {} });
    expect(
      adjudicate(policy, someFacts({ checks: [...someFacts().checks, aResult({ check, outcome: 'fail' })] })).verdict,
    ).toBe('NO-GO');
  });
});
