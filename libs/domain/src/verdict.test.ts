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
const judge = (facts: Facts, policy: Policy = strict) => adjudicate(policy, facts);
const finding = {
  severity: 'blocker',
  category: 'bug',
  path: 'src/price.ts',
  line: 11,
  claim: 'adds up wrongly',
} as const;

describe('one fact at a time', () => {
  it('is GO with everything there, with no reason', () => {
    expect(judge(someFacts())).toEqual({ verdict: 'GO', reasons: [], advice: [] });
  });
  it('is INCOMPLETE with nothing there', () => {
    const nothing = { subject: null, gate: null, checks: [], reviews: [], unreviewed: [] };
    expect(judge(someFacts(nothing))).toEqual({
      verdict: 'INCOMPLETE',
      reasons: [{ check: 'attempt', effect: 'unknown', summary: 'the attempt proposed no change', evidence: [] }],
      advice: [],
    });
  });

  const check = (overrides: Partial<CheckResult>, concluded?: Outcome): Facts => {
    const facts = someFacts();
    const result = aResult(overrides);
    const outcome = concluded ?? result.outcome;
    return {
      ...facts,
      checks: [...facts.checks.filter((entry) => entry.check !== result.check), result],
      gate: facts.gate && {
        ...facts.gate,
        concluded: [
          ...facts.gate.concluded.filter((entry) => entry.check !== result.check),
          { check: result.check, outcome },
        ],
      },
    };
  };
  // check, outcome, predicate → verdict and what it says, under strict with build and tests required.
  it.each([
    ['tests', 'fail', undefined, 'NO-GO', 'tests:block'],
    ['tests', 'unknown', undefined, 'INCOMPLETE', 'tests:unknown'],
    ['tests', 'not-applicable', undefined, 'INCOMPLETE', 'tests:unknown'],
    ['tests', 'not-applicable', '  ', 'INCOMPLETE', 'tests:unknown'],
    ['tests', 'not-applicable', 'only documents changed', 'GO', ''],
    ['bite', 'fail', undefined, 'NO-GO', 'bite:block'],
    ['bite', 'unknown', undefined, 'INCOMPLETE', 'bite:unknown'],
    ['claims', 'fail', undefined, 'INCOMPLETE', 'claims:demote'],
    ['claims', 'unknown', undefined, 'INCOMPLETE', 'claims:unknown'],
    ['caller-impact', 'fail', undefined, 'GO', ''],
    ['caller-impact', 'unknown', undefined, 'GO', ''],
    ['caller-impact', 'not-applicable', undefined, 'GO', ''],
  ] as const)('%s %s (%s) → %s', (id, outcome, predicate, verdict, says) => {
    const judged = judge(
      check({ check: id, outcome, summary: 'why', ...(predicate === undefined ? {} : { predicate }) }),
    );
    expect(judged.verdict).toBe(verdict);
    expect(judged.reasons.map((reason) => `${reason.check}:${reason.effect}`).join()).toBe(says);
    expect(judged.advice.length).toBe(id === 'caller-impact' ? 1 : 0);
  });
  it('says why in advice', () => {
    expect(judge(check({ check: 'caller-impact', outcome: 'fail', summary: '3 callers' })).advice).toEqual([
      'caller-impact: 3 callers',
    ]);
    expect(judge(check({ check: 'caller-impact', outcome: 'unknown', summary: 'no index' })).advice).toEqual([
      'caller-impact could not tell: no index',
    ]);
  });
  it('names the places and the artifacts of a failed check', () => {
    const findings = [
      { path: 'a.ts', line: 3, message: 'm' },
      { path: 'a.ts', line: 3, message: 'n' },
      { path: 'b.ts', message: 'o' },
      { message: 'p' },
    ];
    const evidence = [{ digest: 'ab'.repeat(32), sizeBytes: 1, mediaType: 'x' }];
    const [reason] = judge(check({ outcome: 'fail', findings, evidence })).reasons;
    expect(reason?.evidence).toEqual(['a.ts:3', 'b.ts', `sha256:${'ab'.repeat(32)}`]);
  });
  it('takes the worst of several results of a check', () => {
    for (const outcome of ['fail', 'unknown'] as const) {
      const facts = someFacts();
      const worse = aResult({ outcome, summary: 'worse' });
      for (const checks of [
        [...facts.checks, worse],
        [worse, ...facts.checks],
      ])
        expect(judge({ ...facts, checks }).verdict).toBe(outcome === 'fail' ? 'NO-GO' : 'INCOMPLETE');
    }
  });
  it('notices a result that the gate concluded and that is missing or better than concluded', () => {
    for (const concluded of ['fail', 'unknown'] as const) {
      const judged = judge(check({ check: 'secrets', summary: 'clean' }, concluded));
      expect(judged).toMatchObject({
        verdict: 'INCOMPLETE',
        reasons: [
          { check: 'secrets', effect: 'unknown', summary: 'a result of secrets that the gate concluded is missing' },
        ],
      });
    }
    const facts = someFacts();
    const concluded = [...(facts.gate?.concluded ?? []), { check: 'secrets' as const, outcome: 'pass' as const }];
    expect(judge({ ...facts, gate: facts.gate && { ...facts.gate, concluded } })).toMatchObject({
      verdict: 'INCOMPLETE',
      reasons: [{ check: 'secrets' }],
    });
  });
  it('notices that what the gate saw pass is recorded as not applicable', () => {
    const shown = { check: 'secrets', outcome: 'not-applicable', predicate: 'shown' } as const;
    expect(judge(check(shown, 'pass')).verdict).toBe('INCOMPLETE');
    expect(judge(check({ ...shown, outcome: 'pass' }, 'not-applicable')).verdict).toBe('GO');
  });
  it('shows the same one of several equal failures, whatever their order', () => {
    const failures = ['b', 'a'].map((summary) => aResult({ outcome: 'fail', summary }));
    for (const checks of [failures, [...failures].reverse()])
      expect(judge(someFacts({ checks })).reasons.find((reason) => reason.check === 'tests')?.summary).toBe('a');
  });
  it('holds a required check to be required even under a policy that contradicts itself', () => {
    const policy = aPolicy({ effects: { tests: 'advise' } });
    for (const outcome of ['fail', 'unknown'] as const)
      expect(judge(check({ outcome }), policy)).toMatchObject({ verdict: 'INCOMPLETE', advice: [] });
  });
  it('asks for every required check by name', () => {
    const judged = judge(someFacts({ checks: [], gate: { tree, concluded: [], hunks: [aHunk()] } }));
    expect(judged.reasons.map((reason) => reason.summary)).toEqual([
      'no result of build for this tree',
      'no result of tests for this tree',
    ]);
  });
  it('takes no gate, and a gate of another tree, for no gate', () => {
    const gate = someFacts().gate;
    for (const wrong of [null, gate && { ...gate, tree: other }]) {
      const judged = judge(someFacts({ gate: wrong, reviews: [] }));
      expect(judged.verdict).toBe('INCOMPLETE');
      expect(judged.reasons[0]).toMatchObject({
        check: 'gate',
        effect: 'unknown',
        summary: 'the gate did not conclude on this tree',
      });
    }
  });
  it('grounds no finding on hunks of another tree', () => {
    const gate = someFacts().gate;
    const review = anApproval({ decision: 'request-changes', findings: [finding] });
    const judged = judge(someFacts({ gate: gate && { ...gate, tree: other }, reviews: [{ tree, review }] }));
    expect(judged.verdict).toBe('INCOMPLETE');
  });
});

describe('the panel', () => {
  const withReviews = (reviews: Partial<Review>[], policy = strict) =>
    judge(someFacts({ reviews: reviews.map((overrides) => ({ tree, review: anApproval(overrides) })) }), policy);
  const says = (judged: ReturnType<typeof judge>): string[] =>
    judged.reasons.map((reason) => `${reason.check}:${reason.effect}`);
  const two = (approvalsMin: number, familiesMin: number): Policy =>
    aPolicy({
      panel: {
        seats: [
          { seat: 'concluder', canVouch: true },
          { seat: 'second', canVouch: true },
        ],
        approvalsMin,
        familiesMin,
      },
    });

  it.each<[string, Partial<Review>[], string, string[]]>([
    ['no review', [], 'INCOMPLETE', ['panel:unknown', 'panel:unknown']],
    ['approval without a quote', [{ quotes: [] }], 'INCOMPLETE', ['evidence:demote', 'panel:unknown']],
    [
      'approval with a grounded blocker',
      [{ findings: [finding] }],
      'NO-GO',
      ['verdict-from-findings:block', 'panel:unknown'],
    ],
    [
      'approval with a grounded major',
      [{ findings: [{ ...finding, severity: 'major' }] }],
      'NO-GO',
      ['verdict-from-findings:block', 'panel:unknown'],
    ],
    [
      'approval with a baseless blocker',
      [{ findings: [{ ...finding, line: 99 }] }],
      'INCOMPLETE',
      ['grounding:demote', 'panel:unknown'],
    ],
    ['approval with a minor', [{ findings: [{ ...finding, severity: 'minor' }] }], 'GO', []],
    ['approval with a note', [{ findings: [{ ...finding, severity: 'note' }] }], 'GO', []],
    [
      'approval with an unreadable item',
      [{ malformed: ['finding 2: no claim'] }],
      'INCOMPLETE',
      ['grounding:demote', 'panel:unknown'],
    ],
    [
      'rejection with ground',
      [{ decision: 'request-changes', findings: [finding] }],
      'NO-GO',
      ['panel:block', 'panel:unknown'],
    ],
    [
      'rejection without ground',
      [{ decision: 'request-changes', findings: [] }],
      'INCOMPLETE',
      ['empty-claim:demote', 'panel:unknown'],
    ],
    ['cannot decide', [{ decision: 'cannot-decide' }], 'INCOMPLETE', ['panel:unknown', 'panel:unknown']],
    ['two voices of one seat', [{}, { decision: 'cannot-decide' }], 'INCOMPLETE', ['panel:unknown', 'panel:unknown']],
    [
      'a review nobody asked for that rejects',
      [{}, { seat: 'stranger', decision: 'request-changes', findings: [finding] }],
      'NO-GO',
      ['panel:block'],
    ],
    [
      'a review nobody asked for that approves',
      [{ seat: 'stranger' }],
      'INCOMPLETE',
      ['panel:unknown', 'panel:unknown'],
    ],
    ['a nameless family', [{ family: ' ' }], 'INCOMPLETE', ['panel:unknown']],
  ])('%s', (_name, reviews, verdict, expected) => {
    const judged = withReviews(reviews);
    expect([judged.verdict, says(judged)]).toEqual([verdict, expected]);
  });
  it('shows minor findings and notes, and says who it is about', () => {
    expect(withReviews([{ findings: [{ ...finding, severity: 'minor' }] }]).advice).toEqual([
      'concluder (reviewer-32b): minor: adds up wrongly',
    ]);
    expect(withReviews([{ findings: [{ ...finding, severity: 'note' }] }]).advice.length).toBe(1);
    expect(withReviews([{ findings: [finding] }]).reasons[0]?.summary).toBe(
      'concluder (reviewer-32b): blocker bug: adds up wrongly (src/price.ts:11)',
    );
    expect(withReviews([{ decision: 'cannot-decide' }]).reasons.map((reason) => reason.summary)).toContain(
      'concluder (reviewer-32b) could not decide',
    );
  });
  it.each([
    [2, 1, 'glm', 'glm', 'GO'],
    [2, 2, 'glm', 'gemma', 'GO'],
    [2, 2, 'glm', 'GLM ', 'INCOMPLETE'],
    [2, 2, 'glm', 'glm', 'INCOMPLETE'],
  ] as const)('%i approvals of %i families from %s and %s → %s', (approvals, families, a, b, verdict) => {
    expect(withReviews([{ family: a }, { seat: 'second', family: b }], two(approvals, families)).verdict).toBe(verdict);
  });
  it('does not count the approval of a nameless family', () => {
    expect(withReviews([{}, { seat: 'second', family: '' }], two(2, 1)).verdict).toBe('INCOMPLETE');
  });
  it('asks for the silent seat even when the others are enough', () => {
    expect(withReviews([{}], two(1, 1))).toMatchObject({
      verdict: 'INCOMPLETE',
      reasons: [{ summary: 'no review from the second' }],
    });
  });
  it('lets a specialist reject and never vouch', () => {
    const policy = aPolicy({
      panel: {
        seats: [
          { seat: 'concluder', canVouch: true },
          { seat: 'drift', canVouch: false },
        ],
        approvalsMin: 1,
        familiesMin: 1,
      },
    });
    expect(withReviews([{}, { seat: 'drift', family: 'x' }], policy).verdict).toBe('GO');
    expect(
      withReviews([{ decision: 'cannot-decide' }, { seat: 'drift', family: 'x' }], policy)
        .reasons.map((reason) => reason.summary)
        .join(),
    ).toContain('0 of 0 families');
    expect(
      withReviews([{}, { seat: 'drift', family: 'x', decision: 'request-changes', findings: [finding] }], policy)
        .verdict,
    ).toBe('NO-GO');
  });
  it('says why a seat is silent, the same whatever the order', () => {
    const unreviewed = [
      { seat: 'concluder', why: 'B: two' },
      { seat: 'concluder', why: 'A: one' },
      { seat: 'other', why: 'C' },
    ];
    const judged = judge(someFacts({ reviews: [], unreviewed }));
    expect(judged.reasons.map((reason) => reason.summary)).toContain('no review from the concluder: A: one: B: two');
    expect(judge(someFacts({ reviews: [], unreviewed: [...unreviewed].reverse() }))).toEqual(judged);
  });
  it('ignores reviews of another tree', () => {
    const rejection = anApproval({ decision: 'request-changes', findings: [finding] });
    expect(judge(someFacts({ reviews: [...someFacts().reviews, { tree: other, review: rejection }] })).verdict).toBe(
      'GO',
    );
    expect(judge(someFacts({ reviews: [{ tree: other, review: anApproval() }] })).verdict).toBe('INCOMPLETE');
  });
  it('has one family for a seat, whichever of its reviews comes first', () => {
    const reviews = [
      anApproval({ family: 'a' }),
      anApproval({ family: 'b' }),
      anApproval({ seat: 'second', family: 'a' }),
    ].map((review) => ({ tree, review }));
    const policy = two(2, 2);
    expect(judge(someFacts({ reviews: [...reviews].reverse() }), policy)).toEqual(
      judge(someFacts({ reviews }), policy),
    );
  });
});

describe('a verdict can always be recorded', () => {
  it('stays within its schema when eight reviewers write as much as they may, and stays NO-GO', () => {
    const seats = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((seat) => ({ seat, canVouch: true }));
    const many = (line: number) =>
      Array.from({ length: 100 }, (_, i) => ({ ...finding, line, claim: `${i}-${'\u{1f600}'.repeat(900)}` }));
    const reviews = seats.map(({ seat }) => ({
      tree,
      review: anApproval({
        seat,
        findings: many(seat === 'h' ? 11 : 99),
        malformed: Array.from({ length: 50 }, (_, i) => `${i}${'y'.repeat(490)}`),
      }),
    }));
    const facts = someFacts({ reviews, checks: someFacts().checks.filter((entry) => entry.check !== 'tests') });
    const judged = judge(facts, aPolicy({ panel: { seats, approvalsMin: 1, familiesMin: 1 } }));
    expect(judgementSchema.safeParse(judged).error).toBeUndefined();
    expect(judged.verdict).toBe('NO-GO');
    expect(judged.reasons.length).toBe(300);
    expect(judged.reasons.some((reason) => reason.check === 'tests')).toBe(true);
    expect(judged.reasons.some((reason) => /^and \d+ more reasons from reviews$/.test(reason.summary))).toBe(true);
    expect(judged.reasons.every((reason) => reason.summary.isWellFormed())).toBe(true);
    const minors = reviews.map((entry) => ({
      tree,
      review: anApproval({
        ...entry.review,
        malformed: [],
        findings: entry.review.findings.map((f) => ({ ...f, severity: 'note' as const })),
      }),
    }));
    expect(judgementSchema.safeParse(judge(someFacts({ reviews: minors }), strict)).error).toBeUndefined();
  });
  it('says of reasons it left out that they block, when they do', () => {
    const claims = Array.from({ length: 100 }, (_, i) => ({ ...finding, claim: `claim ${i}` }));
    const reviews = ['a', 'b', 'c', 'd'].map((seat) => ({ tree, review: anApproval({ seat, findings: claims }) }));
    const more = judge(someFacts({ reviews })).reasons.find((reason) => reason.summary.startsWith('and '));
    expect(more).toMatchObject({ check: 'panel', effect: 'block' });
  });
  it('gives advice in one order', () => {
    const notes = ['a', 'b'].map((seat) => ({
      tree,
      review: anApproval({ seat, findings: [{ ...finding, severity: 'note' }] }),
    }));
    expect(judge(someFacts({ reviews: [...notes].reverse() }))).toEqual(judge(someFacts({ reviews: notes })));
  });
  it('stays within its schema when a seat fails with a long story', () => {
    const judged = judge(someFacts({ reviews: [], unreviewed: [{ seat: 'concluder', why: 'z'.repeat(3000) }] }));
    expect(judgementSchema.safeParse(judged).error).toBeUndefined();
  });
});

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
