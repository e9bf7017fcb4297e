import type { BuildPlan, NodeTestPlan, NotRunnable, Profile, TestPlan } from './profile.js';
import { expandScript, globPattern, wordsOf } from './script.js';

/** What `node --test` takes for tests when it is given no names (Node.js documentation, "Running tests from the command line"). */
const defaultPatterns: readonly RegExp[] = [
  /(^|\/)[^/]*[._-]test\.[cm]?[jt]s$/,
  /(^|\/)test-[^/]*\.[cm]?[jt]s$/,
  /(^|\/)test\.[cm]?[jt]s$/,
  /(^|\/)test\/(.*\/)?[^/]+\.[cm]?[jt]s$/,
];
const hint = "Let base's `test` script end in `node --test`, with plain options and patterns.";
const refuse = (why: string): NotRunnable => ({ kind: 'not-runnable', why, hint });

/** TypeScript and JavaScript with npm scripts. `basePaths` are all paths of base. */
export function nodeProfile(manifest: Readonly<Record<string, unknown>>, basePaths: readonly string[]): Profile {
  const scripts = scriptsOf(manifest['scripts']);
  const build = buildPlan(scripts);
  const tests = testPlan(scripts, basePaths);
  const commands = [
    ...(build.kind === 'commands' ? build.commands : []),
    ...(tests.kind === 'node-test' ? tests.prepare : []),
  ];
  const named = [
    ...commands.flatMap(programsOf),
    ...(tests.kind === 'node-test' ? optionFiles(tests.execArgv) : []),
  ].map((path) => path.replace(/^(\.\/)+/, ''));
  const known = new Set(basePaths);
  return { name: 'node', build, tests, harnessFiles: [...new Set(named)].filter((path) => known.has(path)) };
}

function scriptsOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function buildPlan(scripts: Record<string, string>): BuildPlan {
  if (scripts['build'] === undefined) return { kind: 'none', predicate: "base's package.json has no script `build`" };
  const expanded = expandScript('build', scripts);
  return expanded.ok ? { kind: 'commands', commands: expanded.commands } : refuse(expanded.why);
}

function testPlan(scripts: Record<string, string>, basePaths: readonly string[]): TestPlan {
  if (scripts['test'] === undefined) return refuse("base's package.json has no script `test`");
  const expanded = expandScript('test', scripts);
  if (!expanded.ok) return refuse(expanded.why);
  const runner = expanded.commands.at(-1) ?? '';
  const prepare = expanded.commands.slice(0, -1);
  if (prepare.some(isNodeTest)) return refuse("base's script `test` runs node --test more than once");
  const words = wordsOf(runner);
  if (words === null || !isNodeTest(runner))
    return refuse(
      `base's script \`test\` ends in «${runner.slice(0, 100)}», which the gate cannot run with a report of its own`,
    );
  return nodeTestPlan(words, prepare, basePaths);
}

const isNodeTest = (command: string): boolean => /(^|\s)node\s/.test(command) && /\s--test(\s|$)/.test(command);

function nodeTestPlan(words: string[], prepare: readonly string[], basePaths: readonly string[]): TestPlan {
  const env: Record<string, string> = {};
  while (/^[A-Za-z_]\w*=/.test(words[0] ?? '')) {
    const [name = '', ...value] = (words.shift() ?? '').split('=');
    env[name] = value.join('=');
  }
  if (words.shift() !== 'node') return refuse('the test command does not start with `node`');
  const found: { execArgv: string[]; only: boolean } = {
    ...{ execArgv: [], names: [], skips: [], only: false },
  };
  const operands: string[] = [];
  while (words.length > 0) {
    const word = words.shift() ?? '';
    if (!word.startsWith('-')) operands.push(word);
    else if (!takeOption(word, words, found)) return refuse(`the option ${word} of the test command is not understood`);
  }
  const patterns: RegExp[] = [];
  for (const operand of operands) {
    const path = operand.replace(/^(\.\/)+/, '').replace(/\/$/, '');
    const isFolder = basePaths.some((known) => known.startsWith(`${path}/`));
    const pattern = isFolder ? folderPattern(path) : globPattern(operand);
    if (pattern === null) return refuse(`the pattern ${operand} of the test command is not understood`);
    patterns.push(pattern);
  }
  const plan: NodeTestPlan = {
    ...{ kind: 'node-test', prepare, env, execArgv: found.execArgv, only: found.only },
    patterns: patterns.length > 0 ? patterns : defaultPatterns,
  };
  return plan;
}

const folderPattern = (path: string): RegExp => {
  const escaped = path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`^${escaped}/(.*/)?[^/]+\\.[cm]?[jt]s$`);
};

/** Options that take their value as the next word. */
const withValue =
  /^(--import|--require|-r|--loader|--experimental-loader|--conditions|-C|--env-file|--env-file-if-exists|--test-reporter|--test-reporter-destination|--test-concurrency|--test-timeout|--max-old-space-size)$/;

function takeOption(word: string, rest: string[], found: { execArgv: string[]; only: boolean }): boolean {
  const [option = '', ...value] = word.split('=');
  const given = word.includes('=') ? value.join('=') : withValue.test(option) ? rest.shift() : undefined;
  switch (option) {
    case '--test':
    case '--test-reporter':
    case '--test-reporter-destination':
    case '--test-concurrency':
    case '--test-timeout':
    case '--experimental-test-coverage':
      return true;
    case '--test-only':
      found.only = true;
      return true;
  }
  if (/^--(test|watch|run|eval|print|check|input-type|inspect)/.test(option) || /^-[epc]$/.test(option)) return false;
  found.execArgv.push(option, ...(given === undefined ? [] : [given]));
  if (word.includes('=')) found.execArgv.splice(-2, 2, word);
  return true;
}

/** The files a shell command runs or reads as configuration, as far as they can be seen. */
function programsOf(command: string): string[] {
  const words = wordsOf(command) ?? command.split(/[\s;|&<>()'"]+/);
  const files: string[] = [];
  const interpreter = words.findIndex((word) => /^(.*\/)?(node|sh|bash|tsx|ts-node)$/.test(word));
  const program = interpreter < 0 ? undefined : words.slice(interpreter + 1).find((word) => !word.startsWith('-'));
  if (program !== undefined) files.push(program);
  const first = words.find((word) => !/^[A-Za-z_]\w*=/.test(word));
  if (first !== undefined) files.push(first);
  words.forEach((word, index) => {
    if (/^(-p|--project|-c|--config|-b|--build)$/.test(words[index - 1] ?? '')) files.push(word);
    const assigned = /^--[\w-]+=(.+)$/.exec(word)?.[1];
    if (assigned !== undefined) files.push(assigned);
  });
  return files;
}

function optionFiles(execArgv: readonly string[]): string[] {
  return execArgv.map((word) => word.replace(/^--[\w-]+=/, '')).filter((word) => !word.startsWith('-'));
}
