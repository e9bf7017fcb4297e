/**
 * `npm test`: sets up, builds, type-checks, lints, tries the boundaries and runs all tests. A step that fails does not
 * hide the later ones; only set-up and build end the run. Arguments are filters for vitest. The last line has the counts:
 * tests, and each other step as one.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkBoundaries } from './canary.mjs';
import { inRoot, projectEnv, projectNode, root, SetupError } from './checkout.mjs';
import { nxCommand } from './nx.mjs';
import { createProgress } from './progress.mjs';
import { setUp } from './setup.mjs';

const say = (text) => process.stdout.write(`${text}\n`);
const totals = { passed: 0, failed: [], skipped: [] };

/** Runs one step under a heading; `work` returns true when all is well. */
async function step(title, work) {
  say(`\n── ${title} ──`);
  const startedAt = performance.now();
  const ok = await work();
  say(`${ok ? '✓' : '✗'} ${title}: ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  if (ok) totals.passed += 1;
  else totals.failed.push(title);
  return ok;
}

/** Shows all a command says; true when it ended with exit code 0. */
function show(command, args, env) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', (error) => (say(error.message), resolve(false)));
    child.on('close', (code) => resolve(code === 0));
  });
}

async function setUpAndBuild() {
  try {
    const findings = await setUp(createProgress());
    for (const { what, state, mend } of findings) say(`${state}: ${what}${mend === undefined ? '' : ` ${mend}`}`);
    return true;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(`${error.output.trim()}\n${error.message}`);
    return false;
  }
}

function typeCheck(node) {
  return show(
    node.path,
    [inRoot('node_modules', 'typescript7', 'bin', 'tsc'), '-p', 'tsconfig.check.json'],
    projectEnv(node),
  );
}

function lint() {
  const { command, args, env } = nxCommand(['run-many', '-t', 'lint', '--skip-nx-cache']);
  return show(command, args, env);
}

/** What is published of the contracts is what the code holds. */
function schemas(node) {
  return show(node.path, [inRoot('tools', 'schemas.mjs'), '--check'], projectEnv(node));
}

function format(node) {
  const files = [
    'libs/*/src/**/*.ts',
    'services/*/src/**/*.ts',
    'apps/*/src/**/*.ts',
    '{bench,sim}/src/**/*.ts',
    'tools/*.{mjs,ts}',
    '*.{js,ts}',
  ];
  const prettier = inRoot('node_modules', 'prettier', 'bin', 'prettier.cjs');
  return show(node.path, [prettier, '--check', '--log-level', 'warn', ...files], projectEnv(node));
}

async function boundaries() {
  const complaints = await checkBoundaries();
  complaints.forEach(say);
  return complaints.length === 0;
}

/** The tests are counted one by one, so this is no step of its own. */
async function tests(node, filters) {
  say('\n── Tests ──');
  const folder = mkdtempSync(join(tmpdir(), 'plumb-test-'));
  const reportPath = join(folder, 'report.json');
  const reporters = ['--reporter=default', `--reporter=${inRoot('tools', 'test-reporter.mjs')}`];
  const env = { ...projectEnv(node), PLUMBLINE_TEST_REPORT: reportPath };
  try {
    const ok = await show(
      node.path,
      [inRoot('node_modules', 'vitest', 'vitest.mjs'), 'run', ...reporters, ...filters],
      env,
    );
    const report = existsSync(reportPath)
      ? JSON.parse(readFileSync(reportPath, 'utf8'))
      : { passed: 0, failed: [], skipped: [] };
    // Vitest may fail for more than its tests: no file matched, a worker crashed.
    if (!ok && report.failed.length === 0) report.failed.push('vitest itself');
    totals.passed += report.passed;
    totals.failed.push(...report.failed);
    totals.skipped.push(...report.skipped);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function summarize(startedAt) {
  say('\n── Result ──');
  for (const name of totals.failed) say(`failed: ${name}`);
  for (const { name, reason } of totals.skipped) say(`skipped: ${name} (${reason})`);
  say(`${((performance.now() - startedAt) / 1000).toFixed(0)} s in all, tests and steps counted:`);
  say(`${totals.passed} passed, ${totals.failed.length} failed, ${totals.skipped.length} skipped`);
  process.exitCode = totals.failed.length === 0 ? 0 : 1;
}

const startedAt = performance.now();
if (await step('Set-up and build', setUpAndBuild)) {
  const node = projectNode();
  await step('Type-check', () => typeCheck(node));
  await step('Format', () => format(node));
  await step('Schemas', () => schemas(node));
  await step('Lint', lint);
  await step('Boundaries', boundaries);
  await tests(node, process.argv.slice(2));
}
summarize(startedAt);
