import { cut, type Finding } from '@plumbline/domain';
import type { TestRun } from '../runners/run-node-tests.js';
import type { TestCase } from '../runners/test-report.js';
import type { Conclusion } from './check.js';

const findingsMax = 100;
const messageCharsMax = 1_000;

/**
 * What two runs of the suite say about a change: `head` on the change, `base` on base (null when base does not build). Pure. A pass needs
 * both: a change is only known to have lost no test when base's tests are known.
 */
export function compareRuns(head: TestRun, base: TestRun | null): Conclusion {
  if (head.kind === 'unclear')
    return { outcome: 'unknown', summary: short(`it cannot be told how the tests ended: ${head.what}`) };
  const trusted = base !== null && base.kind === 'reported' && base.distrust.length === 0 ? base : null;
  if (head.kind !== 'reported') {
    if (trusted === null)
      return { outcome: 'unknown', summary: short(`the tests cannot be run, on base neither: ${head.what}`) };
    return { outcome: 'fail', summary: short(`the tests cannot be run to their end: ${head.what}`) };
  }
  if (head.distrust.length > 0) {
    // A runner that is broken on base already was not broken by the change.
    if (trusted === null)
      return {
        outcome: 'unknown',
        summary: short(`the report of the tests cannot be believed, on base neither: ${head.distrust.join('; ')}`),
      };
    const failed = head.tests.filter(({ status }) => status === 'failed');
    return {
      outcome: 'fail',
      summary: short(`the report of the tests cannot be believed: ${head.distrust.join('; ')}`),
      findings: failed.map(findingOf).slice(0, findingsMax),
    };
  }
  const rewritten = head.rewritten.filter((path) => trusted?.rewritten.includes(path) !== true);
  if (rewritten.length > 0)
    return {
      outcome: trusted === null ? 'unknown' : 'fail',
      summary: short(
        `test files were not run as they are in the change: something rewrote ${rewritten.slice(0, 5).join(', ')}`,
      ),
      findings: rewritten
        .slice(0, findingsMax)
        .map((path) => ({ path, message: 'rewritten by the build or by another test' })),
    };
  return compareTests(head.tests, trusted?.tests ?? null, base);
}

function compareTests(
  head: readonly TestCase[],
  base: readonly TestCase[] | null,
  baseRun: TestRun | null,
): Conclusion {
  const brokenOnBase = new Set((base ?? []).filter(({ status }) => status === 'failed').map(({ id }) => id));
  const failed = head.filter(({ status }) => status === 'failed');
  const broken = failed.filter(({ id }) => !brokenOnBase.has(id));
  const lost = base === null ? [] : lostTests(head, base);
  if (broken.length + lost.length > 0 && (base !== null || broken.length > 0)) {
    if (base === null)
      return {
        outcome: 'unknown',
        summary: short(`${count(broken.length, 'test')} failing, and base's tests could not be run: ${lead(baseRun)}`),
        findings: broken.map(findingOf).slice(0, findingsMax),
      };
    const parts = [
      broken.length > 0 ? `${count(broken.length, 'test')} failed: ${broken[0]?.id ?? ''}` : '',
      lost.length > 0
        ? `${count(lost.length, 'test')} that passed on base ${lost.length === 1 ? 'does' : 'do'} not pass any more or no longer run: ${lost[0]?.id ?? ''}`
        : '',
    ];
    const findings = [
      ...broken.map(findingOf),
      ...lost.map((test) => ({
        path: test.file,
        message: cut(`lost: ${test.id} passed on base and is not run on the change`, messageCharsMax),
      })),
    ];
    return {
      outcome: 'fail',
      summary: short(parts.filter((part) => part !== '').join('; ')),
      findings: findings.slice(0, findingsMax),
    };
  }
  const passed = head.filter(({ status }) => status === 'passed').length;
  if (passed === 0 && failed.length === 0)
    return { outcome: 'unknown', summary: `no test was run: ${head.length} found, none of them executed` };
  if (base === null)
    return {
      outcome: 'unknown',
      summary: short(`base's tests could not be run, so it cannot be told whether one was lost: ${lead(baseRun)}`),
    };
  if (failed.length > 0)
    return {
      outcome: 'unknown',
      summary: short(
        `${count(failed.length, 'test')} failing as on base, e.g. ${failed[0]?.id ?? ''}; ${passed} passed`,
      ),
      findings: failed.map(findingOf).slice(0, findingsMax),
    };
  return {
    outcome: 'pass',
    summary: `${count(passed, 'test')} passed, none of base's ${base.filter(({ status }) => status === 'passed').length} lost`,
  };
}

/** Tests that passed on base and neither pass nor fail now: deleted, renamed, skipped, or silently not run. Names may occur more than once. */
function lostTests(head: readonly TestCase[], base: readonly TestCase[]): TestCase[] {
  const left = new Map<string, number>();
  for (const { id, status } of head)
    if (status === 'passed' || status === 'failed') left.set(id, (left.get(id) ?? 0) + 1);
  return base.filter(({ id, status }) => {
    if (status !== 'passed') return false;
    const rest = left.get(id) ?? 0;
    left.set(id, rest - 1);
    return rest <= 0;
  });
}

function findingOf(test: TestCase): Finding {
  const place = test.place ?? { path: test.file, line: test.line };
  const name = test.id === test.file ? '' : `${test.id.slice(test.file.length + 3)}: `;
  return { ...place, message: cut(`${name}${firstLines(test.message ?? 'failed')}`, messageCharsMax) };
}

const firstLines = (message: string): string => message.split('\n').slice(0, 12).join('\n').trim() || 'failed';
const short = (text: string): string => cut(text, 500);
const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

/** One line on how a run ended. */
export function lead(run: TestRun | null): string {
  if (run === null) return 'base does not build';
  if (run.kind !== 'reported') return run.what;
  return run.distrust.length > 0 ? run.distrust.join('; ') : `${run.tests.length} tests reported`;
}
