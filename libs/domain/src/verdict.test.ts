import { describe, expect, it } from 'vitest';
import { aHunk, anApproval, aPolicy, aResult, oid, someFacts } from '../test/builders.js';
import type { CheckResult, Outcome } from './check.js';
import type { Policy } from './policy.js';
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
    ).toContain('verified evidence: 0, from 0 model families');
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
