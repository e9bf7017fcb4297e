import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';

/** The report of `harness/run-node-tests.mjs`, read as what it is: bytes that judged code may have tried to write. */

const text = z.string().max(20_000);
const place = z.object({ path: z.string().max(4096), line: z.int().min(1) });
const counts = z.object({
  ...{ tests: z.int(), passed: z.int(), failed: z.int(), cancelled: z.int(), skipped: z.int(), todo: z.int() },
});
const factSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('begin'), n: z.int(), node: z.string().max(40) }),
  z.object({
    kind: z.enum(['test', 'suite', 'file-test']),
    n: z.int(),
    file: z.string().max(4096).optional(),
    names: z.array(text).min(1).max(200),
    status: z.enum(['passed', 'failed', 'skipped', 'todo']),
    line: z.int().min(1).optional(),
    failure: z.string().max(100).optional(),
    exitCode: z.int().optional(),
    message: text.optional(),
    stderr: text.optional(),
    place: place.optional(),
  }),
  z.object({
    kind: z.enum(['file', 'summary']),
    n: z.int(),
    file: z.string().max(4096).optional(),
    counts,
    success: z.boolean(),
  }),
  z.object({ kind: z.literal('end'), n: z.int() }),
]);
type Fact = z.infer<typeof factSchema>;

/** One test case as the runner reported it. `id` is its file and the names that lead to it. */
export interface TestCase {
  readonly id: string;
  readonly file: string;
  readonly status: 'passed' | 'failed' | 'skipped' | 'todo';
  readonly line: number;
  readonly message?: string;
  /** Where the failed assertion stands, when it stands in the tree. */
  readonly place?: { readonly path: string; readonly line: number };
}

export interface TestReport {
  readonly node: string;
  readonly tests: readonly TestCase[];
  /** Every file the runner says it ran, with or without tests in it. */
  readonly files: ReadonlySet<string>;
  /** What does not fit together; empty when every channel says the same. */
  readonly disagreements: readonly string[];
}

/**
 * Reads a report and holds its channels against each other: codes and numbering of the lines, the runner's own totals, the exit status, and
 * the files that were to be run. Never throws: what cannot be read is a disagreement.
 */
export function readTestReport(
  stdout: string,
  expected: { readonly key: string; readonly exitCode: number; readonly files: readonly string[] },
): TestReport {
  const { facts, problem } = authentic(stdout, expected.key);
  const disagreements = problem === null ? [] : [problem];
  const begin = facts.find((fact) => fact.kind === 'begin');
  const tests: TestCase[] = [];
  const files = new Set<string>();
  const tally = { passed: 0, failed: 0, skipped: 0, todo: 0 };
  for (const fact of facts) {
    if (fact.kind === 'file' && fact.file !== undefined) files.add(fact.file);
    if (fact.kind !== 'test' && fact.kind !== 'suite' && fact.kind !== 'file-test') continue;
    if (fact.file !== undefined) files.add(fact.file);
    if (fact.kind !== 'suite') tally[fact.status] += 1;
    const test = testCase(fact);
    if (test !== null) tests.push(test);
  }
  const totals = facts.findLast((fact): fact is Extract<Fact, { kind: 'file' | 'summary' }> => fact.kind === 'summary');
  if (facts.at(-1)?.kind !== 'end' || totals === undefined) disagreements.push('the report breaks off before its end');
  else {
    const { passed, failed, cancelled, skipped, todo } = totals.counts;
    const same =
      passed === tally.passed &&
      failed + cancelled === tally.failed &&
      skipped === tally.skipped &&
      todo === tally.todo;
    if (!same) disagreements.push("the runner's totals are not those of its tests");
    if (totals.success !== (expected.exitCode === 0))
      disagreements.push(
        `exit status ${expected.exitCode} does not fit a run that the runner calls ${totals.success ? 'green' : 'red'}`,
      );
  }
  const missing = expected.files.filter((file) => !files.has(file));
  if (missing.length > 0) disagreements.push(`not run: ${missing.slice(0, 5).join(', ')}`);
  return { node: begin?.kind === 'begin' ? begin.node : 'unknown', tests, files, disagreements };
}

/** The lines that carry a valid code, and the first thing that is wrong with the whole. */
function authentic(stdout: string, key: string): { facts: Fact[]; problem: string | null } {
  const facts: Fact[] = [];
  let problem: string | null = null;
  for (const line of stdout.split('\n')) {
    if (line === '') continue;
    const json = line.slice(65);
    const valid = isCode(line.slice(0, 64), createHmac('sha256', key).update(json).digest('hex'));
    const parsed = valid ? factSchema.safeParse(JSON.parse(json)) : undefined;
    if (parsed?.success === true && parsed.data.n === facts.length) facts.push(parsed.data);
    else problem ??= 'something other than the runner wrote into the report';
  }
  return { facts, problem };
}

function isCode(given: string, expected: string): boolean {
  const bytes = Buffer.from(given);
  return bytes.length === expected.length && timingSafeEqual(bytes, Buffer.from(expected));
}

/** A test case, or null for what is none: a suite that did not fail by itself, a file without tests that ended well. */
function testCase(fact: Extract<Fact, { kind: 'test' | 'suite' | 'file-test' }>): TestCase | null {
  const ownFault = fact.failure !== 'subtestsFailed';
  if (fact.kind !== 'test' && (fact.status !== 'failed' || !ownFault)) return null;
  const file = fact.file ?? 'unknown file';
  const id = fact.kind === 'file-test' ? file : [file, ...fact.names].join(' > ');
  const message = fact.kind === 'file-test' ? fileMessage(fact) : fact.message;
  return {
    ...{ id, file, status: fact.status, line: fact.line ?? 1 },
    ...(message === undefined ? {} : { message }),
    ...(fact.place === undefined ? {} : { place: fact.place }),
  };
}

const endedEarly = 97;

function fileMessage(fact: {
  message?: string | undefined;
  stderr?: string | undefined;
  exitCode?: number | undefined;
}): string {
  if (fact.exitCode === endedEarly)
    return 'the process of this file ended itself before its tests were done (process.exit)';
  const error = /^(?:\w*Error|Error)\b.*$/m.exec(fact.stderr ?? '')?.[0];
  return error ?? fact.message ?? 'the file could not be run';
}
