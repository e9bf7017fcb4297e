import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aSubmission } from '../../test/builders.js';
import { parseIntake, problemsOf, type Submission } from '../intake.js';
import { shippedPolicies } from '../policy.js';
import {
  batchDocumentSchema,
  batchEntries,
  batchNameOf,
  batchSource,
  batchTasksMax,
  entryDifferences,
} from './batch.js';

const inline = { title: 'It is broken', body: 'Mend it.' };
const file = (change: Record<string, unknown> = {}): Record<string, unknown> => ({
  schema: 'plumbline.batch/1',
  name: 'night-1',
  repository: 'shop',
  base: 'main',
  tasks: [{ issue: 'issues/lost-cent.md' }],
  ...change,
});
const problems = (value: unknown): string[] => {
  const parsed = batchDocumentSchema.safeParse(value);
  return parsed.success ? [] : problemsOf(parsed.error, value, 100).map(({ field }) => field);
};
const entries = (change: Record<string, unknown>) => batchEntries(batchDocumentSchema.parse(file(change)));

describe('a batch file', () => {
  it('is refused for everything that is wrong with it at once', () => {
    expect(problems(file())).toEqual([]);
    expect(
      problems(
        file({
          schema: 'plumbline.batch/2',
          name: 'Night 1',
          policy: 'lenient',
          parallel: 0,
          nonsense: true,
          tasks: [{ issue: '' }, { issue: inline, key: '../up' }, { issue: 7 }, { issue: { title: ' ', body: 'x' } }],
        }),
      ).sort(),
    ).toEqual(
      [
        '(whole document)',
        'name',
        'parallel',
        'policy',
        'schema',
        'tasks.0.issue',
        'tasks.1.key',
        'tasks.2.issue',
        'tasks.3.issue.title',
      ].sort(),
    );
    expect(problems(file({ tasks: [] }))).toEqual(['tasks']);
    expect(
      problems(file({ tasks: Array.from({ length: batchTasksMax + 1 }, (_, n) => ({ key: `k${n}`, issue: inline })) })),
    ).toEqual(['tasks']);
    for (const value of [null, [], 'x', 7, { tasks: {} }]) expect(problems(value).length).toBeGreaterThan(0);
  });

  it('fills in what an entry does not say, and makes keys of file names', () => {
    const found = entries({
      tasks: [
        { issue: 'issues/lost-cent.md' },
        {
          issue: inline,
          key: 'b',
          repository: 'https://h.example/r.git',
          base: 'v1',
          priority: 'high',
          publish: 'none',
        },
      ],
    });
    expect(found).toMatchObject({
      problems: [],
      entries: [
        { key: 'lost-cent', repository: 'shop', base: 'main', policy: 'strict', priority: 'batch', publish: 'branch' },
        { key: 'b', repository: 'https://h.example/r.git', base: 'v1', priority: 'high', publish: 'none' },
      ],
    });
  });

  it('names every entry without a key, with a taken one, or with nowhere to work', () => {
    const tasks = [{ issue: 'a/x.md' }, { issue: 'b/x.md' }, { issue: inline }, { issue: 'ü.md' }];
    expect(entries({ tasks }).problems.map(({ field }) => field)).toEqual([
      'tasks.1.key',
      'tasks.2.key',
      'tasks.3.key',
    ]);
    const nowhere = batchEntries(batchDocumentSchema.parse(file({ repository: undefined, base: undefined })));
    expect(nowhere.problems.map(({ field }) => field)).toEqual(['tasks.0.repository', 'tasks.0.base']);
  });

  it('has a source that tells its name and no other', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const name = batchNameOf(batchSource(text));
        expect(name === undefined || name === text).toBe(true);
      }),
    );
    expect(batchNameOf(batchSource('night-1'))).toBe('night-1');
    expect(batchNameOf('urn:plumbline:cli')).toBeUndefined();
    expect(batchNameOf('urn:plumbline:batch:')).toBeUndefined();
  });
});

describe('an entry against what was submitted under its key', () => {
  const recorded = aSubmission({ policy: shippedPolicies.strict, priority: 'batch', issue: inline });
  const submission = (change: Record<string, unknown> = {}): Submission => {
    const given = { repository: recorded.repository, issue: inline, policy: 'strict', priority: 'batch', ...change };
    const parsed = parseIntake('submit', given);
    if (!parsed.ok) throw new Error(parsed.refusal.message);
    return parsed.value;
  };

  it('is the same when it asks for the same, also by a shipped policy that was revised since', () => {
    expect(entryDifferences(submission(), recorded)).toEqual([]);
    const revised = { ...shippedPolicies.strict, required: [] };
    expect(entryDifferences(submission(), { ...recorded, policy: revised })).toEqual([]);
    const reordered = Object.fromEntries(Object.entries(shippedPolicies.strict).reverse());
    expect(entryDifferences(submission({ policy: reordered }), recorded)).toEqual([]);
  });

  it.each([
    ['base', { repository: { url: recorded.repository.url, base: 'other' } }],
    ['issue.title', { issue: { ...inline, title: 'It is whole' } }],
    ['issue.url', { issue: { ...inline, url: 'https://h.example/1' } }],
    ['policy', { policy: 'standard' }],
    ['policy', { policy: { ...shippedPolicies.strict, required: ['build'] } }],
    ['priority', { priority: 'high' }],
    ['publish', { publish: 'none' }],
  ])('differs in %s', (field, change) => {
    expect(entryDifferences(submission(change), recorded).map((found) => found.field)).toEqual([field]);
  });

  it('shows the place where long texts part', () => {
    const long = 'a'.repeat(5_000);
    const [found] = entryDifferences(submission({ issue: { ...inline, body: `${long}X${long}` } }), {
      ...recorded,
      issue: { ...inline, body: `${long}Y${long}` },
    });
    expect(found?.now).toContain('X');
    expect(found?.submitted).toContain('Y');
    expect((found?.now.length ?? 0) < 80).toBe(true);
  });
});
