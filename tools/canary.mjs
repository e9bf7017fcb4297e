/**
 * Proves that the boundaries close: writes one violation of each rule, and the clean equivalent, into a small copy of the
 * workspace, runs the real lint through nx there, and asks that exactly the violations are refused. A copy, so that no
 * kill can leave a violation in the checkout.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { projects } from './build.mjs';
import { inRoot, root } from './checkout.mjs';
import { nxCommand } from './nx.mjs';
import { run } from './progress.mjs';

const BOUNDARIES = '@nx/enforce-module-boundaries';
const IMPORTS = 'no-restricted-imports';
const SYNTAX = 'no-restricted-syntax';
const GLOBALS = 'no-restricted-globals';
const RULE_AT_END = /\s{2,}(@?[\w-]+(?:\/[\w-]+)*)\s*$/;

/** Each must be refused by one of `rules`. The name is the file's name, so it appears in lint's output. */
const VIOLATIONS = [
  violation('libs/domain', 'imports-a-package', "import pg from 'pg';\nexport const x = pg;", [BOUNDARIES, IMPORTS]),
  violation('libs/domain', 'imports-a-package-for-effect', "import 'pg';", [BOUNDARIES, IMPORTS]),
  violation('libs/domain', 'imports-an-adapter', "import * as bus from '@plumbline/bus';\nexport const x = bus;", [
    BOUNDARIES,
  ]),
  violation('libs/domain', 'imports-node-fs', "import { rmSync } from 'node:fs';\nexport const x = rmSync;", [IMPORTS]),
  violation('libs/domain', 'imports-fs', "import { rmSync } from 'fs';\nexport const x = rmSync;", [IMPORTS]),
  violation('libs/domain', 'imports-fs-promises', "import { rm } from 'fs/promises';\nexport const x = rm;", [IMPORTS]),
  violation('libs/domain', 'imports-at-run-time', "export const x = () => import('node:fs');", [SYNTAX]),
  violation('libs/domain', 'reexports-node-fs', "export { rmSync } from 'node:fs';", [IMPORTS]),
  violation('libs/domain', 'reads-date-now', 'export const x = Date.now();', [SYNTAX]),
  violation('libs/domain', 'reads-date-now-by-name', "export const x = Date['now']();", [SYNTAX]),
  violation('libs/domain', 'takes-now-out-of-date', 'const { now } = Date;\nexport const x = now();', [SYNTAX]),
  violation('libs/domain', 'renames-date', 'const Clock = Date;\nexport const x = Clock.now();', [SYNTAX]),
  violation('libs/domain', 'makes-a-new-date', 'export const x = new Date();', [SYNTAX]),
  violation('libs/domain', 'calls-date', 'export const x = Date();', [SYNTAX]),
  violation('libs/domain', 'reads-math-random', 'export const x = Math.random();', [SYNTAX]),
  violation('libs/domain', 'reads-math-random-by-name', "export const x = Math['random']();", [SYNTAX]),
  violation('libs/domain', 'takes-random-out-of-math', 'const { random } = Math;\nexport const x = random();', [
    SYNTAX,
  ]),
  violation('libs/domain', 'passes-date-on', 'export const x = { clock: Date };', [SYNTAX]),
  violation('libs/domain', 'reads-performance', 'export const x = performance.now();', [GLOBALS]),
  violation('libs/domain', 'reads-crypto', 'export const x = crypto.randomUUID();', [GLOBALS]),
  violation('libs/domain', 'reads-the-environment', "export const x = process.env['HOME'];", [GLOBALS]),
  violation('libs/domain', 'reads-global-this', "export const x = globalThis['process'];", [SYNTAX, GLOBALS]),
  violation('libs/domain', 'renames-global-this', 'const all = globalThis;\nexport const x = all.process;', [
    SYNTAX,
    GLOBALS,
  ]),
  violation('libs/domain', 'fetches', "export const x = fetch('http://h');", [GLOBALS]),
  violation(
    'libs/domain',
    'switches-the-rule-off',
    '// eslint-disable-next-line no-restricted-syntax\nexport const x = Date.now();',
    [SYNTAX],
  ),
  violation('libs/bus', 'imports-nest', "import { Module } from '@nestjs/common';\nexport const x = Module;", [
    IMPORTS,
  ]),
  violation('libs/bus', 'imports-nest-at-run-time', "export const x = () => import('@nestjs/common');", [SYNTAX]),
  violation('libs/model', 'imports-host', "import * as host from '@plumbline/host';\nexport const x = host;", [
    BOUNDARIES,
  ]),
  violation('libs/model', 'imports-host-for-effect', "import '@plumbline/host';", [BOUNDARIES, IMPORTS]),
  violation(
    'libs/bus',
    'imports-host-by-path',
    "import * as host from '../../host/src/index.js';\nexport const x = host;",
    [BOUNDARIES],
  ),
  violation(
    'libs/bus',
    'imports-testing',
    "import * as testing from '@plumbline/testing';\nexport const x = testing;",
    [IMPORTS],
  ),
  violation(
    'libs/host',
    'imports-testing',
    "import * as testing from '@plumbline/testing';\nexport const x = testing;",
    [IMPORTS],
  ),
  violation(
    'services/scheduler',
    'imports-testing',
    "import * as testing from '@plumbline/testing';\nexport const x = testing;",
    [IMPORTS],
  ),
  violation(
    'services/scheduler',
    'imports-testing-at-run-time',
    "export const x = () => import('@plumbline/testing');",
    [SYNTAX],
  ),
  violation(
    'services/scheduler',
    'imports-a-service',
    "import * as coder from '@plumbline/coder-service';\nexport const x = coder;",
    [BOUNDARIES],
  ),
  violation('services/scheduler', 'imports-a-service-for-effect', "import '@plumbline/coder-service';", [
    BOUNDARIES,
    IMPORTS,
  ]),
  violation(
    'services/scheduler',
    'imports-a-service-by-path',
    "import * as coder from '../../coder/src/index.js';\nexport const x = coder;",
    [BOUNDARIES],
  ),
  violation(
    'apps/cli',
    'imports-a-service',
    "import * as coder from '@plumbline/coder-service';\nexport const x = coder;",
    [BOUNDARIES],
  ),
  violation('apps/cli', 'imports-nest', "import { Module } from '@nestjs/common';\nexport const x = Module;", [
    IMPORTS,
  ]),
];

/** Each must pass, or a refusal above proves nothing. */
const CLEAN = [
  clean(
    'libs/domain',
    'clean.ts',
    "import { z } from 'zod';\nexport const x = (at: string) => [z.string(), new Date(at), Math.max(1, 2)];",
  ),
  clean(
    'libs/domain',
    'clean.test.ts',
    "import * as testing from '@plumbline/testing';\nexport const x = [testing, Date.now()];",
  ),
  clean(
    'libs/bus',
    'clean.ts',
    "import { rmSync } from 'node:fs';\nimport * as domain from '@plumbline/domain';\nexport const x = [rmSync, domain, Date.now()];",
  ),
  clean(
    'libs/host',
    'clean.ts',
    "import { Module } from '@nestjs/common';\nimport * as bus from '@plumbline/bus';\nexport const x = [Module, bus];",
  ),
  clean(
    'services/scheduler',
    'clean.ts',
    "import { Module } from '@nestjs/common';\nimport * as host from '@plumbline/host';\nexport const x = [Module, host];",
  ),
  clean(
    'services/scheduler',
    'clean.test.ts',
    "import * as testing from '@plumbline/testing';\nexport const x = testing;",
  ),
  clean('apps/cli', 'clean.ts', "import * as embedded from '@plumbline/embedded';\nexport const x = embedded;"),
];

function violation(project, name, source, rules) {
  return { project, file: `src/${name}.ts`, source, rules };
}

function clean(project, file, source) {
  return { project, file: `src/${file}`, source };
}

/** Runs all canaries; returns one sentence for each that is not as it must be. Empty: every boundary closes. */
export async function checkBoundaries() {
  const copy = mkdtempSync(join(realpathSync(tmpdir()), 'plumb-canary-'));
  const remove = () => rmSync(copy, { recursive: true, force: true, maxRetries: 3 });
  const interrupted = (signal) => (remove(), process.exit(signal === 'SIGINT' ? 130 : 143));
  process.on('SIGINT', interrupted).on('SIGTERM', interrupted);
  try {
    copyWorkspace(copy);
    const refused = await lintWith(copy, VIOLATIONS);
    // Apart from the violations, whose imports close cycles that would taint clean files.
    const passed = await lintWith(copy, CLEAN);
    return judge(refused, passed);
  } finally {
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
    remove();
  }
}

/** All projects by name and tag, with an empty source each; installed packages by link. */
function copyWorkspace(copy) {
  for (const name of readdirSync(root)) {
    if (/^(package(-lock)?|nx|tsconfig.*)\.json$|^eslint\.config\.js$|^\.(git|nx)ignore$/.test(name))
      cpSync(inRoot(name), join(copy, name));
  }
  for (const project of projects()) {
    const target = join(copy, relative(root, project));
    mkdirSync(join(target, 'src'), { recursive: true });
    for (const name of ['package.json', 'tsconfig.json']) cpSync(join(project, name), join(target, name));
    writeFileSync(join(target, 'src', 'index.ts'), 'export const nothing = 0;\n');
  }
  linkPackages(copy);
}

function linkPackages(copy) {
  const own = '@plumbline';
  mkdirSync(join(copy, 'node_modules', own), { recursive: true });
  for (const name of readdirSync(inRoot('node_modules'))) {
    if (name !== own && name !== '.cache') symlinkSync(inRoot('node_modules', name), join(copy, 'node_modules', name));
  }
  for (const name of readdirSync(inRoot('node_modules', own))) {
    const project = relative(root, realpathSync(inRoot('node_modules', own, name)));
    symlinkSync(join(copy, project), join(copy, 'node_modules', own, name));
  }
}

/** The lint command of the house on the projects that hold these canaries, which are gone again afterwards. */
async function lintWith(copy, canaries) {
  for (const { project, file, source } of canaries) writeFileSync(join(copy, project, file), `${source}\n`);
  const names = [...new Set(canaries.map(({ project }) => project))].join(',');
  const options = ['--skip-nx-cache', '--output-style=stream-without-prefixes'];
  const { command, args, env } = nxCommand(['run-many', '-t', 'lint', '-p', names, ...options]);
  const { code, output } = await run(command, args, { cwd: copy, env: { ...env, NO_COLOR: '1', FORCE_COLOR: '0' } });
  for (const { project, file } of canaries) rmSync(join(copy, project, file));
  return { code, output, reports: parseStylish(output, copy) };
}

/**
 * ESLint's default format: a line with the file, then a report that begins with its place and ends, perhaps lines later,
 * with two spaces and the rule's name.
 */
function parseStylish(output, copy) {
  const reports = [];
  let file;
  let inReport = false;
  for (const line of output.split('\n')) {
    if (line.startsWith(copy)) file = line.trim().slice(copy.length + 1);
    inReport ||= /^\s+\d+:\d+\s+(error|warning)\s/.test(line);
    const rule = inReport ? RULE_AT_END.exec(line)?.[1] : undefined;
    if (rule === undefined) continue;
    reports.push({ file, rule });
    inReport = false;
  }
  return reports;
}

function judge(refused, passed) {
  const complaints = [];
  for (const { project, file, rules } of VIOLATIONS) {
    const rulesMet = refused.reports
      .filter((report) => report.file === `${project}/${file}`)
      .map((report) => report.rule);
    if (rulesMet.some((rule) => rules.includes(rule))) continue;
    const met = rulesMet.length === 0 ? 'lint passed it' : `only ${rulesMet.join(', ')} spoke`;
    complaints.push(`${project}/${file} must be refused by ${rules.join(' or ')}, but ${met}.`);
  }
  if (refused.code === 0) complaints.push('Lint ended with exit code 0 on the violations.');
  if (passed.code !== 0) {
    const said = passed.output.trim().split('\n').slice(-200).join('\n');
    complaints.push(`The clean files must pass, but lint ended with exit code ${passed.code}:\n${said}`);
  }
  return complaints;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const complaints = await checkBoundaries();
  for (const complaint of complaints) process.stdout.write(`${complaint}\n`);
  const total = VIOLATIONS.length + CLEAN.length;
  process.stdout.write(
    `${VIOLATIONS.length} violations and ${CLEAN.length} clean files tried, ${complaints.length} of ${total} not as they must be\n`,
  );
  process.exitCode = complaints.length === 0 ? 0 : 1;
}
