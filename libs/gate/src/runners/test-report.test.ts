import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readTestReport } from './test-report.js';

const key = 'key';
const counts = { tests: 1, passed: 1, failed: 0, cancelled: 0, skipped: 0, todo: 0 };
const good: readonly Record<string, unknown>[] = [
  { kind: 'begin', node: 'v24' },
  { kind: 'test', file: 'a.test.ts', names: ['one'], status: 'passed', line: 3 },
  { kind: 'summary', counts, success: true },
  { kind: 'end' },
];
const line = (fact: object, n: number, secret = key): string => {
  const json = JSON.stringify({ n, ...fact });
  return `${createHmac('sha256', secret).update(json).digest('hex')} ${json}\n`;
};
const written = (facts: readonly object[]): string => facts.map((fact, n) => line(fact, n)).join('');
const read = (stdout: string, exitCode = 0, files = ['a.test.ts']) => readTestReport(stdout, { key, exitCode, files });

describe('a report of tests', () => {
  it('is believed when everything says the same', () => {
    const report = read(written(good));
    expect(report.disagreements).toEqual([]);
    expect(report.tests).toEqual([{ id: 'a.test.ts > one', file: 'a.test.ts', status: 'passed', line: 3 }]);
  });

  const replaced = (at: number, fact: object) => written(good.map((old, n) => (n === at ? fact : old)));
  it.each<[string, string, RegExp]>([
    [
      'a line of another key',
      written(good.slice(0, 1)) + line({ ...good[1], n: 1 }, 1, 'x') + written(good),
      /something other than the runner/,
    ],
    ['a whole report under another key', good.map((fact, n) => line(fact, n, 'x')).join(''), /something other/],
    ['a line that is no report', `hello\n${written(good)}`, /something other/],
    [
      'a line without a code',
      `${'0'.repeat(64)} ${JSON.stringify({ n: 0, kind: 'end' })}\n${written(good)}`,
      /something other/,
    ],
    [
      'a line repeated',
      written(good.slice(0, 2)) +
        line(good[1] ?? {}, 1) +
        good
          .slice(2)
          .map((fact, n) => line(fact, n + 2))
          .join(''),
      /something other/,
    ],
    ['lines left out', [0, 2, 3].map((n) => line(good[n] ?? {}, n)).join(''), /something other/],
    ['its end missing', written(good.slice(0, 3)), /breaks off/],
    ['no totals', written([...good.slice(0, 2), { kind: 'end' }]), /breaks off/],
    ['nothing at all', '', /breaks off/],
    [
      'totals of other tests',
      replaced(2, { kind: 'summary', counts: { ...counts, passed: 2 }, success: true }),
      /totals/,
    ],
    ['a failure that the totals hide', replaced(1, { ...good[1], status: 'failed' }), /totals/],
    [
      'a run that is called red',
      replaced(2, { kind: 'summary', counts, success: false }),
      /exit status 0 does not fit/,
    ],
  ])('is not believed with %s', (_name, stdout, says) => {
    expect(read(stdout).disagreements.join('; ')).toMatch(says);
  });

  it('is not believed with a status that does not fit, or a file that was not run', () => {
    expect(read(written(good), 1).disagreements.join()).toMatch(/exit status 1 does not fit/);
    expect(read(written(good), 0, ['a.test.ts', 'b.test.ts']).disagreements).toEqual(['not run: b.test.ts']);
  });

  it('counts a suite only for what went wrong with itself, and a file only when it failed', () => {
    const suite = (failure: string) => ({ kind: 'suite', file: 'a.test.ts', names: ['s'], status: 'failed', failure });
    const ids = (fact: object) =>
      read(written([...good.slice(0, 2), fact, ...good.slice(2)])).tests.map(({ id }) => id);
    expect(ids(suite('subtestsFailed'))).toEqual(['a.test.ts > one']);
    expect(ids(suite('hookFailed'))).toEqual(['a.test.ts > one', 'a.test.ts > s']);
    const file = { kind: 'file-test', file: 'b.test.ts', names: ['b.test.ts'] };
    expect(ids({ ...file, status: 'passed' })).toEqual(['a.test.ts > one']);
    expect(ids({ ...file, status: 'failed', exitCode: 97 })).toEqual(['a.test.ts > one', 'b.test.ts']);
  });
});
