import { randomBytes } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { NodeTestPlan } from '../profiles/profile.js';
import { insidePaths, runInTree, type CommandEnd, type RunMeans } from './sandbox-run.js';
import { readTestReport, type TestCase, type TestReport } from './test-report.js';

const concurrency = 2;
const fileTimeoutMs = 120_000;
const filesMax = 50_000;

/** How a run of a whole test suite ended. */
export type TestRun =
  | {
      readonly kind: 'reported';
      /** Without the canary's. */
      readonly tests: readonly TestCase[];
      readonly node: string;
      /** Why the report cannot be believed; empty when it can. */
      readonly distrust: readonly string[];
      /** Whether tests could write into their tree. */
      readonly writable: boolean;
      /** Test files that were not as the tree has them when the tests began, or when they were done. */
      readonly rewritten: readonly string[];
      readonly log: string;
    }
  | { readonly kind: 'exceeded' | 'unclear' | 'refused'; readonly what: string; readonly log: string };

/**
 * Runs the test files of an exported tree with node:test and a canary among them: a file made by the harness whose tests must fail. A run
 * in which the canary does not fail, or whose channels disagree, is marked with `distrust`.
 */
export async function runNodeTests(
  means: RunMeans,
  run: {
    readonly plan: NodeTestPlan;
    readonly treeDir: string;
    readonly harnessDir: string;
    /** Whether tests may write into their tree. What comes before them always may. */
    readonly writable: boolean;
    /** Which test files are not as they were exported. */
    readonly rewrittenFiles: () => Promise<readonly string[]>;
  },
): Promise<TestRun> {
  const { plan, treeDir, harnessDir, writable } = run;
  for (const command of plan.prepare) {
    const end = await runInTree(means, { argv: ['/bin/sh', '-c', command], treeDir, harnessDir });
    if (end.kind !== 'exited') return { kind: end.kind, what: `«${command}»: ${end.what}`, log: logOf(end) };
    if (end.exitCode !== 0)
      return { kind: 'refused', what: `«${command}» ended with status ${end.exitCode}`, log: logOf(end) };
  }
  const before = await run.rewrittenFiles();
  const found = await filesBelow(treeDir);
  const files = found.filter((path) => plan.patterns.some((pattern) => pattern.test(path)));
  if (files.length === 0)
    return {
      ...{ kind: 'reported', tests: [], node: 'not started', distrust: [], writable, rewritten: before },
      log: 'no test files\n',
    };
  const canary = await plantCanary(treeDir);
  const key = randomBytes(32).toString('hex');
  const { harness } = insidePaths(means.sandbox, treeDir, harnessDir);
  const { execArgv, only } = plan;
  const order = {
    ...{ key, files: [...files, canary.file], execArgv, only, concurrency, fileTimeoutMs },
    exitGuard: `${harness}/exit-guard.mjs`,
  };
  const end = await runInTree(means, {
    ...{
      // Judged code may send signals to the runner: none of them may open a debugger in it.
      argv: [
        `${harness}/node`,
        '--disable-sigusr1',
        '--disable-warning=ExperimentalWarning',
        `${harness}/run-node-tests.mjs`,
      ],
      treeDir,
      harnessDir,
    },
    ...{ env: plan.env, stdin: JSON.stringify(order), readOnly: !writable },
  });
  if (end.kind !== 'exited') return { kind: end.kind, what: end.what, log: logOf(end) };
  const rewritten = writable ? [...new Set([...before, ...(await run.rewrittenFiles())])] : before;
  const report = readTestReport(end.stdout, { key, exitCode: end.exitCode, files: order.files });
  return {
    kind: 'reported',
    tests: report.tests.filter(({ file }) => file !== canary.file),
    node: report.node,
    distrust: [...report.disagreements, ...canaryProblems(report, canary)],
    ...{ writable, rewritten },
    log: logOf(end),
  };
}

interface Canary {
  readonly file: string;
  readonly names: readonly string[];
}

/** Two tests that must fail: one by a broken assertion, one by an error. Their names are secrets until the run has started. */
async function plantCanary(treeDir: string): Promise<Canary> {
  const token = randomBytes(8).toString('hex');
  const file = `plumbline-canary-${token}.test.mjs`;
  const names = [`assertion ${token}`, `error ${token}`];
  const source = [
    "import assert from 'node:assert/strict';",
    "import test from 'node:test';",
    `test('${names[0]}', { only: true }, () => assert.equal('${token}', 'unequal'));`,
    `test('${names[1]}', { only: true }, () => { throw new Error('${token}'); });`,
    '',
  ].join('\n');
  await writeFile(join(treeDir, file), source, { flag: 'wx' });
  return { file, names };
}

function canaryProblems(report: TestReport, canary: Canary): string[] {
  return canary.names.flatMap((name) => {
    const reported = report.tests.filter(({ id }) => id === `${canary.file} > ${name}`);
    if (reported.length === 0) return [`the canary «${name.split(' ')[0] ?? ''}» was not run`];
    return reported.every(({ status }) => status === 'failed')
      ? []
      : [`the canary «${name.split(' ')[0] ?? ''}», which must fail, passed`];
  });
}

/** Paths of all plain files below a folder, sorted. Links are not followed and not listed; node_modules is left out. */
async function filesBelow(dir: string): Promise<string[]> {
  const files: string[] = [];
  const folders = [''];
  for (let folder = folders.pop(); folder !== undefined && files.length < filesMax; folder = folders.pop()) {
    for (const entry of await readdir(join(dir, folder), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory() && entry.name !== 'node_modules' && entry.name !== '.git') folders.push(path);
      else if (entry.isFile()) files.push(path);
    }
  }
  return files.sort();
}

const logOf = (end: CommandEnd): string => `${end.stdout.replace(/^[0-9a-f]{64} /gm, '')}\n${end.stderr}`;
