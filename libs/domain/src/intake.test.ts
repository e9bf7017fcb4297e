import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { taskId } from '../test/builders.js';
import { intakeKinds, parseIntake, refusalSchema, resolvePolicy, type IntakeKind } from './intake.js';
import { shippedPolicies } from './policy.js';

const kinds = Object.keys(intakeKinds) as IntakeKind[];
const valid = {
  submit: { repository: { url: 'https://example.org/shop.git', base: 'main' }, issue: { title: 'T', body: 'B' } },
  cancel: { taskId },
  rule: { taskId, decision: 'go', by: 'ada', why: 'looked at it' },
  retry: { taskId },
} satisfies Record<IntakeKind, object>;
const submit = (change: (document: Record<string, unknown>) => void): ReturnType<typeof parseIntake<'submit'>> => {
  const document = structuredClone(valid.submit) as Record<string, unknown>;
  change(document);
  return parseIntake('submit', document);
};
/** Sets one field, by path, of the valid submission. */
const withField = (path: string, value: unknown) =>
  submit((document) => {
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    const owner = keys.reduce<Record<string, unknown>>((at, key) => at[key] as Record<string, unknown>, document);
    Object.defineProperty(owner, last, { value, enumerable: true, configurable: true, writable: true });
  });

describe('what is accepted', () => {
  it.each(kinds)('a plain %s', (kind) => {
    expect(parseIntake(kind, valid[kind])).toMatchObject({ ok: true });
  });
  it('with defaults', () => {
    expect(parseIntake('submit', valid.submit)).toMatchObject({
      value: { policy: 'strict', priority: 'normal', publish: 'branch' },
    });
  });
  it('local repositories, for code-host to judge', () => {
    for (const url of [
      '/srv/git/shop',
      'file:///srv/git/shop',
      'git@example.org:shop.git',
      'ssh://git@example.org/shop',
    ])
      expect(withField('repository.url', url).ok, url).toBe(true);
  });
  it('policies by name and whole', () => {
    expect(resolvePolicy('advisory')).toBe(shippedPolicies.advisory);
    const parsed = withField('policy', { ...shippedPolicies.strict, name: 'ours' });
    expect(parsed.ok && resolvePolicy(parsed.value.policy).name).toBe('ours');
  });
});

describe('what is refused, and how it is said', () => {
  it.each<[string, unknown, string, string]>([
    ['repository.url', 'ext::sh -c id', 'repository.url', 'without spaces'],
    ['repository.url', 'ext::sh', 'repository.url', 'ext::'],
    ['repository.url', '--upload-pack=touch', 'repository.url', 'dash'],
    ['repository.url', 'ftp://example.org/x', 'repository.url', 'https://'],
    ['repository.url', 'https://example.org/../x', 'repository.url', 'segments'],
    ['repository.url', '', 'repository.url', 'empty'],
    ['repository.url', 'https://example.org/a\nb', 'repository.url', 'control'],
    ['repository.base', '--upload-pack=x', 'repository.base', 'dash'],
    ['repository.base', 'main..other', 'repository.base', 'range'],
    ['repository.base', 'main@{1}', 'repository.base', 'reflog'],
    ['repository.base', 'main:README', 'repository.base', 'path'],
    ['issue.title', '   ', 'issue.title', 'empty'],
    ['issue.title', 'x'.repeat(501), 'issue.title', '500'],
    ['issue.body', 'a\u0000b', 'issue.body', 'NUL'],
    ['issue.body', '\ud800', 'issue.body', 'well-formed'],
    ['issue.body', 'x'.repeat(65_537), 'issue.body', '65536'],
    ['issue.url', 'javascript:alert(1)', 'issue.url', 'http'],
    ['issue.url', 'https://a b/', 'issue.url', 'http'],
    ['issue.url', 'https://example.org/\u0000', 'issue.url', 'NUL'],
    ['policy', 'lenient', 'policy', 'strict, standard, advisory'],
    ['policy', 7, 'policy', 'strict, standard, advisory'],
    ['policy', ['strict'], 'policy', 'strict, standard, advisory'],
    ['policy', { ...shippedPolicies.strict, attempts: { perTier: [] } }, 'policy.attempts.perTier', '1'],
    [
      'policy',
      { ...shippedPolicies.strict, required: ['caller-impact'] },
      'policy.effects.caller-impact',
      'block or demote',
    ],
    [
      'policy',
      { ...shippedPolicies.standard, panel: { seats: [], approvalsMin: 1, familiesMin: 0 } },
      'policy.panel.approvalsMin',
      '0 seats can vouch',
    ],
    ['policy', { ...shippedPolicies.strict, surprise: 1 }, 'policy', 'no field surprise'],
    ['priority', 'urgent', 'priority', 'high'],
    ['publish', true, 'publish', 'branch'],
    ['surprise', 1, '(whole document)', 'no field surprise'],
    ['__proto__', { polluted: true }, '(whole document)', 'no field __proto__'],
    ['idempotencyKey', '', 'idempotencyKey', '1'],
  ])('%s = %j', (path, value, field, expected) => {
    const parsed = withField(path, value);
    if (parsed.ok) throw new Error('it was accepted');
    expect(parsed.refusal.code).toBe('INVALID');
    expect(parsed.refusal.problems[0]).toMatchObject({ field });
    expect(parsed.refusal.problems[0]?.expected).toContain(expected);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });
  it('without repeating a secret', () => {
    const parsed = withField('repository.url', 'https://ada:hunter2@example.org/x');
    expect(JSON.stringify(parsed)).not.toContain('hunter2');
    expect(parsed.ok).toBe(false);
  });
  it.each([
    ['rule', { taskId, decision: 'maybe', by: 'ada', why: 'x' }, 'decision'],
    ['rule', { taskId, decision: 'go', by: 'ada', why: ' ' }, 'why'],
    ['rule', { taskId, decision: 'go', why: 'x' }, 'by'],
    ['cancel', { taskId: 't-1' }, 'taskId'],
    ['retry', {}, 'taskId'],
  ] as const)('%s %j', (kind, document, field) => {
    expect(parseIntake(kind, document)).toMatchObject({ ok: false, refusal: { problems: [{ field }] } });
  });
});

describe('no document can break the door', () => {
  const deep = (levels: number): unknown => {
    let value: unknown = 'x';
    for (let i = 0; i < levels; i++) value = i % 2 === 0 ? { a: value } : [value];
    return value;
  };
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  const hostile = (value: unknown): void => {
    for (const kind of kinds) {
      const parsed = parseIntake(kind, value);
      if (parsed.ok) throw new Error(`${kind} accepted it`);
      const { problems } = parsed.refusal;
      expect(refusalSchema.safeParse(parsed.refusal).error).toBeUndefined();
      expect(problems.length).toBeGreaterThan(0);
      for (const problem of problems) {
        expect(problem.field).not.toBe('');
        expect(problem.value).not.toBe('');
        expect(problem.expected).not.toBe('');
      }
      expect(JSON.stringify(parsed.refusal).isWellFormed()).toBe(true);
      expect(Object.values(problems[0] ?? {}).join('')).not.toMatch(/\p{Cc}/u);
    }
  };
  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a number', Number.NaN],
    ['a big integer', 10n ** 400n],
    ['a symbol', Symbol('s')],
    ['a function', () => 1],
    ['a string', 'x'.repeat(5_000_000)],
    ['an array', Array(100_000).fill(null)],
    ['a deep document', deep(50_000)],
    ['a deep policy', { ...valid.submit, policy: deep(50_000) }],
    ['a cycle', cyclic],
    ['no prototype', Object.create(null)],
    ['many fields', Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`f${i}`, i]))],
    ['long names', { ['\ud800\u0000'.repeat(5_000)]: 1 }],
    [
      'wrong types everywhere',
      {
        repository: { url: {}, base: [] },
        issue: { title: 1, body: null },
        policy: { required: Array(1000).fill(7) },
        taskId: [],
        decision: {},
        by: 1,
        why: {},
      },
    ],
    ['a prototype', JSON.parse('{"__proto__":{"taskId":"x"},"constructor":{"prototype":{}}}')],
  ])('%s', (_what, value) => {
    hostile(value);
  });
  it('of any kind', () => {
    fc.assert(
      fc.property(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withNullPrototype: true,
          withSparseArray: true,
          withTypedArray: true,
        }),
        (value) => {
          hostile(value);
        },
      ),
      { seed: 8, numRuns: 500 },
    );
  });
  it('made from a valid one by spoiling a field', () => {
    const spoilt = fc.constantFrom<unknown>(1, {}, [], 'x'.repeat(70_000), '\u0000', '\ud800', 10n, Symbol('s'));
    fc.assert(
      fc.property(
        fc.constantFrom(
          'repository',
          'repository.url',
          'repository.base',
          'issue',
          'issue.title',
          'issue.body',
          'policy',
          'priority',
          'publish',
          'extra',
        ),
        spoilt,
        (path, value) => {
          const parsed = withFieldFrom(path, value);
          if (parsed.ok) expect(path === 'issue.title' || path === 'extra').toBe(false);
          else
            expect(parsed.refusal.problems.some((problem) => problem.field.startsWith(path) || path === 'extra')).toBe(
              true,
            );
        },
      ),
      { seed: 9, numRuns: 300 },
    );
  });
  const withFieldFrom = (path: string, value: unknown) => {
    const document = {
      ...valid.submit,
      repository: { ...valid.submit.repository },
      issue: { ...valid.submit.issue },
    } as Record<string, unknown>;
    const [first = '', second] = path.split('.');
    if (second === undefined) document[first] = value;
    else (document[first] as Record<string, unknown>)[second] = value;
    return parseIntake('submit', document);
  };
});

describe('a ruling', () => {
  const ruling = { taskId, decision: 'go', by: 'ada', why: 'the test is wrong' };
  it('has a name and a reason that can be read', () => {
    expect(parseIntake('rule', ruling).ok).toBe(true);
    const empty = ['', ' ', '\t', '\u200b', '\u2060\ufeff', '\u00a0', '--'];
    for (const text of empty) {
      expect([text, parseIntake('rule', { ...ruling, by: text }).ok]).toEqual([text, false]);
      expect([text, parseIntake('rule', { ...ruling, why: text }).ok]).toEqual([text, false]);
    }
    for (const by of ['unnamed', ' Unnamed ', undefined]) expect(parseIntake('rule', { ...ruling, by }).ok).toBe(false);
  });
});
