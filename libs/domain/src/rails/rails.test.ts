import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aHunk, anApproval, anIssue, honestQuote, taskId } from '../../test/builders.js';
import { splitClauses } from '../issue-clauses.js';
import { reviewBrief, reviewSchema, type HunkRef, type Review, type ReviewFinding } from '../review.js';
import { evidenceRail, foldText, quoteProblem, type ReviewContext } from './evidence.js';
import { isGrounded, stoppingFindings } from './grounding.js';
import { scopeOverlap } from './scope.js';

const context = (overrides: Partial<ReviewContext> = {}): ReviewContext => ({
  taskId,
  attempt: 1,
  issue: anIssue,
  hunks: [aHunk()],
  ...overrides,
});
const brief = reviewBrief(anIssue, { taskId, attempt: 1, seat: 'concluder' });
const answers = (change: (id: string, i: number) => Partial<Review['clauses'][number]>): Review['clauses'] =>
  anApproval().clauses.map((answer, i) => ({ ...answer, ...change(answer.id, i) }));

describe('quotes', () => {
  const source = `${anIssue.title}\n${anIssue.body}`;
  it.each([
    ['verbatim', honestQuote],
    ['another case', honestQuote.toUpperCase()],
    ['broken into lines', 'Rounding must happen\n  once, on the sum\tof all lines.'],
    ['with Markdown marks', '**Rounding** must `happen` _once_, on the sum of all lines.'],
    ['with marks that the issue has and the quote has not', 'The function total in src/price.ts rounds every line'],
    ['with no-break spaces', honestQuote.replaceAll(' ', '\u00a0')],
    ['with invisible characters', honestQuote.replaceAll('n', 'n\u200b\u00ad')],
    ['in full-width forms', honestQuote.replace(/[a-z]/g, (c) => String.fromCodePoint(c.charCodeAt(0) + 0xfee0))],
  ])('verifies a quote %s', (_how, quote) => {
    expect(quoteProblem(source, quote)).toBeUndefined();
  });
  it.each([
    ['empty', '', 'too short'],
    ['of 19 characters', 'must happen once, o', 'too short'],
    ['of three words', 'Rounding must-happen-once, on-the-sum', 'too short'],
    ['of punctuation', '- - - - - - - - - - - - -', 'too short'],
    ['a paraphrase', 'Rounding has to happen once, on the sum of all lines', 'not in the issue'],
    ['with a word left out', 'Rounding must happen once, on the sum of lines', 'not in the issue'],
    ['with an ellipsis', 'Rounding must … on the sum of all lines', 'not in the issue'],
  ])('refuses a quote %s', (_what, quote, problem) => {
    expect(quoteProblem(source, quote)).toContain(problem);
  });
  it('folds quotation marks, dashes and links on both sides', () => {
    const fancy = 'It says \u201cno \u2018such\u2019 file\u201d \u2013 see [the long guide](https://x.example/a) first';
    expect(quoteProblem(fancy, 'It says "no \'such\' file" - see the long guide first')).toBeUndefined();
    expect(quoteProblem('It says \u00abno such file\u00bb here', 'it says "no such file" here')).toBeUndefined();
  });
  it('refuses what is common, and takes two places as luck enough', () => {
    const line = 'the value is not valid for this field\n';
    expect(quoteProblem(line.repeat(2), line)).toBeUndefined();
    expect(quoteProblem(line.repeat(3), line)).toContain('3 times');
  });
  it('folds idempotently, and verifies every long enough piece of a source', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
        const once = foldText(text);
        expect(foldText(once).length).toBeLessThanOrEqual(once.length);
      }),
      { seed: 1, numRuns: 300 },
    );
  });
});

describe('the decoy', () => {
  const issues = fc.record({ title: fc.string({ maxLength: 80 }), body: fc.lorem({ maxCount: 8, mode: 'sentences' }) });
  it('is the same for the same seat of the same attempt, and never first', () => {
    fc.assert(
      fc.property(issues, fc.nat(99), fc.constantFrom('concluder', 'drift-specialist'), (issue, attempt, seat) => {
        const one = reviewBrief(issue, { taskId, attempt, seat });
        expect(reviewBrief(issue, { taskId, attempt, seat })).toEqual(one);
        expect(one.decoyId).not.toBe('C1');
        expect(one.clauses.map((clause) => clause.id)).toEqual(one.clauses.map((_, i) => `C${i + 1}`));
        const others = one.clauses.filter((clause) => clause.id !== one.decoyId).map((clause) => clause.text);
        expect(others).toEqual(splitClauses(issue).map((clause) => clause.text));
      }),
      { seed: 2, numRuns: 300 },
    );
  });
  it('stands in every place but the first, and is every decoy, about equally often', () => {
    const places = new Map<string, number>();
    const texts = new Map<string, number>();
    for (let attempt = 1; attempt <= 2000; attempt++) {
      const { decoyId, clauses } = reviewBrief(anIssue, { taskId, attempt, seat: 'concluder' });
      places.set(decoyId, (places.get(decoyId) ?? 0) + 1);
      const text = clauses.find((clause) => clause.id === decoyId)?.text ?? '';
      texts.set(text, (texts.get(text) ?? 0) + 1);
    }
    expect([...places.keys()].sort()).toEqual(['C2', 'C3', 'C4', 'C5']);
    for (const n of places.values()) expect(n).toBeGreaterThan(400);
    expect(texts.size).toBeGreaterThanOrEqual(9);
    for (const n of texts.values()) expect(n).toBeGreaterThan(120);
  });
  it.each([
    ['Support a dry run that prints actions', 'dry-run'],
    ['Retry an upload that failed, backing off exponentially', 'Retry failed uploads'],
    ['Cached responses should expire after ten minutes', 'Cache responses'],
    ['Write CSV output', 'CSV with a configurable'],
    ['Translate the command line messages to German', 'Translate the messages'],
  ])('is never like the issue: %s', (title, decoy) => {
    for (let attempt = 1; attempt <= 200; attempt++) {
      const { clauses } = reviewBrief({ title, body: '' }, { taskId, attempt, seat: 'concluder' });
      expect(clauses.map((clause) => clause.text).join()).not.toContain(decoy);
    }
  });
  it('is one of the least alike when every decoy is like the issue', () => {
    const body = Array.from(
      { length: 400 },
      (_, attempt) => reviewBrief({ title: 'x', body: '' }, { taskId, attempt, seat: 's' }).clauses[1]?.text ?? '',
    ).join(' ');
    expect(() => reviewBrief({ title: 'x', body }, { taskId, attempt: 1, seat: 's' })).not.toThrow();
  });
});

describe('evidence of an approval', () => {
  const hunks = ['H1', 'H2', 'H3', 'H4'].map((id) => aHunk({ id }));
  it.each<[string, Partial<Review>, string]>([
    ['no quote', { quotes: [] }, 'quotes nothing'],
    [
      'one true and one made-up quote',
      { quotes: [honestQuote, 'this was never written anywhere here'] },
      'not in the issue',
    ],
    ['no clause answered', { clauses: [] }, 'is not answered'],
    [
      'the decoy served',
      { clauses: answers((id) => (id === brief.decoyId ? { status: 'served', hunks: ['H1'] } : {})) },
      'which is not in the issue',
    ],
    [
      'the decoy as context',
      { clauses: answers((id) => (id === brief.decoyId ? { status: 'context' } : {})) },
      'which is not in the issue',
    ],
    [
      'the decoy unserved',
      { clauses: answers((id) => (id === brief.decoyId ? { status: 'unserved' } : {})) },
      'which is not in the issue',
    ],
    [
      'the decoy rejected and served',
      { clauses: answers((id) => (id === brief.decoyId ? { hunks: ['H1'] } : {})) },
      'and yet served',
    ],
    [
      'everything called not in the issue',
      { clauses: answers(() => ({ status: 'not-in-issue', hunks: [] })) },
      'called not in the issue',
    ],
    [
      'everything called context',
      { clauses: answers((id) => (id === brief.decoyId ? {} : { status: 'context', hunks: [] })) },
      'no clause is served',
    ],
    [
      'an unserved clause',
      { clauses: answers((id) => (id === 'C1' ? { status: 'unserved', hunks: [] } : {})) },
      'unserved, and yet it approves',
    ],
    ['served by nothing', { clauses: answers((id) => (id === 'C1' ? { hunks: [] } : {})) }, 'served by no hunk'],
    [
      'a hunk that does not exist',
      { clauses: answers((id) => (id === 'C1' ? { hunks: ['H1', 'H9'] } : {})) },
      'hunk H9 does not exist',
    ],
    [
      'a clause that does not exist',
      { clauses: [...anApproval().clauses, { id: 'C99', status: 'served', hunks: ['H1'] }] },
      'clause C99 does not exist',
    ],
    [
      'two answers to one clause',
      { clauses: [...anApproval().clauses, { id: 'C1', status: 'context', hunks: [] }] },
      'answered in two ways',
    ],
    ['a whole made-up clause', { clauses: [{ id: 'D1', status: 'served', hunks: ['H1'] }] }, 'does not exist'],
  ])('is refused with %s', (_what, overrides, problem) => {
    const result = evidenceRail(context(), anApproval(overrides));
    expect(result.outcome).toBe('fail');
    expect(result.summary).toContain(problem);
    expect(result.summary.length).toBeLessThanOrEqual(500);
  });
  it('is accepted when it proves that it read the issue', () => {
    expect(evidenceRail(context(), anApproval()).outcome).toBe('pass');
    expect(
      evidenceRail(context(), anApproval({ clauses: [...anApproval().clauses, ...anApproval().clauses] })).outcome,
    ).toBe('pass');
  });
  it('is refused when every id there is was enumerated', () => {
    const all = hunks.map((hunk) => hunk.id);
    const clauses = answers((id) => (id === brief.decoyId ? {} : { status: 'served', hunks: all }));
    expect(evidenceRail(context({ hunks }), anApproval({ clauses })).summary).toContain('every clause to every hunk');
    const honest = answers((id, i) =>
      id === brief.decoyId ? {} : { status: 'served', hunks: i === 0 ? ['H1'] : all },
    );
    expect(evidenceRail(context({ hunks }), anApproval({ clauses: honest })).outcome).toBe('pass');
    expect(
      evidenceRail(
        context({ hunks: hunks.slice(0, 1) }),
        anApproval({ clauses: answers((id) => (id === brief.decoyId ? {} : { status: 'served', hunks: ['H1'] })) }),
      ).outcome,
    ).toBe('pass');
  });
  it('is accepted when two clauses are honestly served by the whole change', () => {
    const all = hunks.map((hunk) => hunk.id);
    const clauses = answers((id, i) =>
      id === brief.decoyId ? {} : i < 2 ? { status: 'served', hunks: all } : { status: 'context', hunks: [] },
    );
    expect(evidenceRail(context({ hunks }), anApproval({ clauses })).outcome).toBe('pass');
  });
  it('is not asked of who does not approve', () => {
    expect(evidenceRail(context(), anApproval({ decision: 'request-changes', quotes: [], clauses: [] })).outcome).toBe(
      'pass',
    );
  });
  it('cannot be transferred from another seat or attempt without meeting another decoy', () => {
    const passes = Array.from(
      { length: 100 },
      (_, i) => evidenceRail(context({ attempt: i + 2 }), anApproval()).outcome,
    ).filter((outcome) => outcome === 'pass');
    expect(passes.length).toBeLessThan(40);
  });
});

describe('ground of a finding', () => {
  const finding = (overrides: Partial<ReviewFinding>): ReviewFinding => ({
    severity: 'blocker',
    category: 'bug',
    claim: 'c',
    ...overrides,
  });
  const on = (path: string, line: number, side?: 'old' | 'new'): ReviewFinding =>
    finding({ path, line, ...(side === undefined ? {} : { side }) });
  const grounded = (one: ReviewFinding, hunks: HunkRef[], review = anApproval()): boolean =>
    isGrounded(context({ hunks }), review, one);
  const changed = aHunk({ oldStart: 100, oldLines: 2, newStart: 10, newLines: 4 });
  it.each<[string, ReviewFinding, HunkRef, boolean]>([
    ['first line less 3', on('src/price.ts', 7, 'new'), changed, true],
    ['first line less 4', on('src/price.ts', 6, 'new'), changed, false],
    ['last line and 3', on('src/price.ts', 16, 'new'), changed, true],
    ['last line and 4', on('src/price.ts', 17, 'new'), changed, false],
    ['old side', on('src/price.ts', 104, 'old'), changed, true],
    ['old side and 4', on('src/price.ts', 105, 'old'), changed, false],
    ['a new line number on the old side', on('src/price.ts', 10, 'old'), changed, false],
    ['an old line number on the new side', on('src/price.ts', 100, 'new'), changed, false],
    ['no side, old line', on('src/price.ts', 101), changed, true],
    ['no side, new line', on('src/price.ts', 11), changed, true],
    ['another file', on('src/other.ts', 11), changed, false],
    ['a path that only ends alike', on('price.ts', 11), changed, false],
    ['with a diff prefix', on('b/src/price.ts', 11), changed, true],
    ['without a line', finding({ path: 'src/price.ts' }), changed, false],
    ['without a path', finding({ line: 11 }), changed, false],
    ['at a deletion, new side', on('src/price.ts', 12, 'new'), aHunk({ newStart: 10, newLines: 0 }), true],
    ['beyond a deletion, new side', on('src/price.ts', 14, 'new'), aHunk({ newStart: 10, newLines: 0 }), false],
    ['before a deletion, new side', on('src/price.ts', 7, 'new'), aHunk({ newStart: 10, newLines: 0 }), false],
    ['the deleted line itself', on('src/price.ts', 10, 'old'), aHunk({ newStart: 9, newLines: 0 }), true],
    ['old side of a new file', on('src/price.ts', 1, 'old'), aHunk({ oldStart: 0, oldLines: 0, newStart: 1 }), false],
    ['new side of a deleted file', on('src/price.ts', 1, 'new'), aHunk({ newStart: 0, newLines: 0 }), false],
  ])('%s → %s', (_where, one, hunk, expected) => {
    expect(grounded(one, [hunk])).toBe(expected);
  });

  const id = brief.clauses.find((clause) => clause.text.startsWith('Rounding must'))?.id ?? '';
  const missing = (clauses: Review['clauses']): Review => anApproval({ decision: 'request-changes', clauses });
  const unserved = (which: string): Review['clauses'] => [{ id: which, status: 'unserved', hunks: [] }];
  it.each<[string, ReviewFinding, Review['clauses'], boolean]>([
    ['an unserved clause that it quotes', finding({ quote: honestQuote }), unserved(id), true],
    ['an unserved clause without a quote', finding({}), unserved(id), false],
    [
      'an unserved clause and a made-up quote',
      finding({ quote: 'nothing like this is in the issue' }),
      unserved(id),
      false,
    ],
    ['an unserved clause and a quote of another', finding({ quote: honestQuote }), unserved('C1'), false],
    ['a clause that was never issued', finding({ quote: honestQuote }), unserved('C99'), false],
    [
      'the decoy',
      finding({ quote: brief.clauses.find((clause) => clause.id === brief.decoyId)?.text ?? '' }),
      unserved(brief.decoyId),
      false,
    ],
    ['a clause called served', finding({ quote: honestQuote }), [{ id, status: 'served', hunks: ['H1'] }], false],
    [
      'a clause called unserved and served',
      finding({ quote: honestQuote }),
      [...unserved(id), { id, status: 'served', hunks: ['H1'] }],
      false,
    ],
    [
      'a clause called unserved by a hunk',
      finding({ quote: honestQuote }),
      [{ id, status: 'unserved', hunks: ['H1'] }],
      false,
    ],
    ['no clause at all', finding({ quote: honestQuote }), [], false],
  ])('what is missing, by %s → %s', (_what, one, clauses, expected) => {
    expect(grounded(one, [], missing(clauses))).toBe(expected);
  });
  it('is never the decoy, not even one that the issue happens to contain', () => {
    const decoys = Array.from({ length: 400 }, (_, attempt) => {
      const { clauses, decoyId } = reviewBrief({ title: 'x', body: '' }, { taskId, attempt, seat: 's' });
      return clauses.find((clause) => clause.id === decoyId)?.text ?? '';
    });
    const issue = { title: 'x', body: [...new Set(decoys)].map((decoy) => `- ${decoy}`).join('\n') };
    const { clauses, decoyId } = reviewBrief(issue, { taskId, attempt: 1, seat: 'concluder' });
    const quote = clauses.find((clause) => clause.id === decoyId)?.text ?? '';
    expect(quoteProblem(issue.body, quote)).toBeUndefined();
    expect(isGrounded(context({ issue }), missing(unserved(decoyId)), finding({ quote }))).toBe(false);
  });
  it('splits what would stop a change, and leaves out what would not', () => {
    const findings = [
      on('src/price.ts', 11),
      on('x.ts', 1),
      { ...on('src/price.ts', 11), severity: 'minor' as const },
      { ...on('x.ts', 1), severity: 'major' as const },
    ];
    const { grounded: with_, ungrounded } = stoppingFindings(context(), anApproval({ findings }));
    expect([with_, ungrounded]).toEqual([[findings[0]], [findings[1], findings[3]]]);
  });
});

describe('scope', () => {
  it.each<[string, string[], string[], string[], string[]]>([
    ['the file itself', ['src/price.ts'], ['src/price.ts'], [], ['src/price.ts']],
    ['a near miss', ['src/price.ts'], ['src/rice.ts', 'src/price.tsx.bak', 'src/aprice.ts'], [], []],
    ['a longer name', ['src/price.ts'], ['other/src/price.ts.bak'], [], []],
    ['the same name elsewhere', ['src/price.ts'], ['other/src/price.ts'], [], []],
    ['only the README', ['src/price.ts'], ['README.md'], [], []],
    ['a folder', ['src/billing/'], ['src/billing/tax/vat.ts'], [], ['src/billing/tax/vat.ts']],
    [
      'a folder without its slash',
      ['src/billing'],
      ['src/billing/vat.ts', 'src/billing2/vat.ts'],
      [],
      ['src/billing/vat.ts'],
    ],
    [
      'its test beside it',
      ['src/price.ts'],
      ['src/price.test.ts', 'src/price_spec.ts'],
      [],
      ['src/price.test.ts', 'src/price_spec.ts'],
    ],
    [
      'its test in a folder of tests',
      ['src/a/price.ts'],
      ['test/a/price.test.ts', 'src/a/__tests__/price.ts'],
      [],
      ['test/a/price.test.ts', 'src/a/__tests__/price.ts'],
    ],
    ['its flat test', ['src/shop/price.py'], ['tests/test_price.py'], [], ['tests/test_price.py']],
    ['the test of another', ['src/a/price.ts'], ['test/b/price.test.ts', 'src/rice.test.ts'], [], []],
    ['the source of a named test', ['src/price.test.ts'], ['src/price.ts', 'src/rice.ts'], [], ['src/price.ts']],
    ['another language', ['src/price.ts'], ['tests/test_price.py'], [], []],
    ['a new file as written', [], ['lib/new/thing.ts', 'other/thing.ts'], ['new/thing.ts'], ['lib/new/thing.ts']],
    ['a file called test.ts', ['src/price.ts'], ['test.ts', 'src/test.ts'], [], []],
    ['nothing', ['', ' '], ['src/a.ts'], [''], []],
  ])('%s', (_what, named, changed, written, overlap) => {
    expect(scopeOverlap(named, changed, written).overlap).toEqual(overlap);
  });
  it('applies only when something is named', () => {
    expect(scopeOverlap([], ['a'])).toEqual({ overlap: [], applies: false });
    expect(scopeOverlap(['a'], [])).toEqual({ overlap: [], applies: true });
  });
});

describe('no review document can break the rails', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.constantFrom('C1', 'H1', '__proto__', 'constructor', honestQuote, '\u0000', '\ud800'),
  );
  const anyReview = fc.record({
    seat: fc.constantFrom('concluder', 'drift-specialist'),
    model: fc.constant('m'),
    family: text,
    decision: fc.constantFrom('approve', 'request-changes', 'cannot-decide'),
    clauses: fc.array(
      fc.record({
        id: text.map((id) => id.slice(0, 10)),
        status: fc.constantFrom('served', 'context', 'unserved', 'not-in-issue'),
        hunks: fc.array(
          text.map((id) => id.slice(0, 10)),
          { maxLength: 5 },
        ),
      }),
      { maxLength: 8 },
    ),
    findings: fc.array(
      fc.record(
        {
          severity: fc.constantFrom('blocker', 'major', 'minor', 'note'),
          category: text,
          path: text,
          side: fc.constantFrom('old', 'new'),
          line: fc.integer({ min: 1 }),
          quote: text,
          claim: text,
        },
        { requiredKeys: ['severity', 'category', 'claim'] },
      ),
      { maxLength: 8 },
    ),
    quotes: fc.array(text, { maxLength: 5 }),
  });
  it('of any shape that parses', () => {
    let parsedCount = 0;
    fc.assert(
      fc.property(anyReview, fc.record({ title: text, body: text }), (raw, issue) => {
        const parsed = reviewSchema.safeParse(raw);
        if (!parsed.success) return;
        parsedCount += 1;
        const result = evidenceRail(context({ issue }), parsed.data);
        const { grounded, ungrounded } = stoppingFindings(context({ issue }), parsed.data);
        expect(result.summary.length).toBeLessThanOrEqual(500);
        expect(grounded.length + ungrounded.length).toBeLessThanOrEqual(parsed.data.findings.length);
      }),
      { seed: 3, numRuns: 1000 },
    );
    expect(parsedCount).toBeGreaterThan(200);
  });
  it.each(['family', 'quotes', 'claim', 'id', 'seat'] as const)('of ten megabytes: %s is refused', (where) => {
    const huge = 'x'.repeat(10_000_000);
    const raw = {
      family: { family: huge },
      quotes: { quotes: [huge] },
      claim: { findings: [{ severity: 'note', category: 'c', claim: huge }] },
      id: { clauses: [{ id: huge, status: 'served', hunks: [] }] },
      seat: { seat: huge },
    }[where];
    expect(reviewSchema.safeParse({ ...anApproval(), ...raw }).success).toBe(false);
  });
  it('of many items: refused', () => {
    expect(reviewSchema.safeParse(anApproval({ quotes: Array<string>(21).fill('q') })).success).toBe(false);
    expect(
      reviewSchema.safeParse({
        ...anApproval(),
        findings: Array(101).fill({ severity: 'note', category: 'c', claim: 'c' }),
      }).success,
    ).toBe(false);
  });
});
