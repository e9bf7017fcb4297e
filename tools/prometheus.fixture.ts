import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { root } from './checkout.mjs';
import { obtain } from './obtain.mjs';
import { createProgress, run } from './progress.mjs';

/** deploy/prometheus of this checkout. */
export const folder = join(root, 'deploy', 'prometheus');

export interface AlertRule {
  alert: string;
  expr: string;
  for?: string;
  labels: { severity: string };
  annotations: { summary: string; description: string; runbook: string };
}
export interface RecordingRule {
  record: string;
  expr: string;
}
export interface RuleFile {
  groups: { name: string; rules: (AlertRule | RecordingRule)[] }[];
}
export interface TestGroup {
  name: string;
  interval: string;
  input_series: { series: string; values: string }[];
  promql_expr_test: { expr: string; eval_time: string; exp_samples: { labels: string; value: number }[] }[];
}
interface TestFile {
  rule_files: string[];
  evaluation_interval: string;
  tests: TestGroup[];
}

/** The files of rules by their name without `.yml`, with their tests. */
export const ruleFiles: ReadonlyMap<string, { rules: RuleFile; tests: TestFile }> = new Map(
  readdirSync(join(folder, 'rules')).map((file) => {
    const name = file.replace(/\.yml$/, '');
    return [
      name,
      {
        rules: parse(readFileSync(join(folder, 'rules', file), 'utf8')) as RuleFile,
        tests: parse(readFileSync(join(folder, 'tests', `${name}.test.yml`), 'utf8')) as TestFile,
      },
    ];
  }),
);

/** Every alert with the name of its file. */
export const alerts: readonly { file: string; rule: AlertRule }[] = [...ruleFiles].flatMap(([file, { rules }]) =>
  rules.groups.flatMap((group) => group.rules.flatMap((rule) => ('alert' in rule ? [{ file, rule }] : []))),
);

/** The names that rules record, with the labels they keep. */
export const recorded: ReadonlyMap<string, ReadonlySet<string>> = new Map(
  [...ruleFiles.values()]
    .flatMap(({ rules }) => rules.groups.flatMap((group) => group.rules))
    .flatMap((rule) => ('record' in rule ? [[rule.record, new Set(['verdict'])]] : [])),
);

const located = (await obtain('promtool', createProgress({ quiet: true }))) as { found?: string; missing?: string };

/** Why promtool cannot be had here; undefined when it can. */
export const noPromtool: string | undefined = located.found === undefined ? located.missing : undefined;

/** Runs promtool; resolves with its exit code and all it said. */
export const promtool = (args: string[], cwd: string = folder): Promise<{ code: number; output: string }> =>
  run(located.found ?? 'promtool', args, { cwd });

/**
 * Runs tests on rules that are not those on disk: one alert, with what its file records, and variants of it under names of their own. Every
 * check of the alert is made for each variant too. Resolves with what promtool said.
 */
export async function testVariants(
  file: string,
  rule: AlertRule,
  variants: readonly AlertRule[],
  tests: readonly object[],
): Promise<string> {
  const { rules, tests: original } = ruleFiles.get(file) ?? { rules: undefined, tests: undefined };
  if (rules === undefined) throw new Error(`there is no file of rules ${file}`);
  const groups = rules.groups.map((group) => ({
    ...group,
    rules: group.rules.flatMap((each) =>
      'record' in each ? [each] : each.alert === rule.alert ? [rule, ...variants] : [],
    ),
  }));
  const directory = mkdtempSync(join(tmpdir(), 'plumb-alerts-'));
  try {
    for (const name of ['rules', 'tests']) mkdirSync(join(directory, name));
    writeFileSync(join(directory, 'rules', `${file}.yml`), stringify({ groups }));
    writeFileSync(join(directory, 'tests', 'alone.test.yml'), stringify({ ...original, tests }));
    return (await promtool(['test', 'rules', 'alone.test.yml'], join(directory, 'tests'))).output;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The checks of a test for an alert, made for a variant of it as well. */
export function alsoFor(tests: readonly TestGroup[], alert: string, variants: readonly AlertRule[]): TestGroup[] {
  const named = (text: string, name: string): string => text.replace(`alertname="${alert}"`, `alertname="${name}"`);
  return tests.map((test) => ({
    ...test,
    promql_expr_test: [alert, ...variants.map((variant) => variant.alert)].flatMap((name) =>
      test.promql_expr_test.map((check) => ({
        ...check,
        expr: named(check.expr, name),
        exp_samples: check.exp_samples.map((sample) => ({ ...sample, labels: named(sample.labels, name) })),
      })),
    ),
  }));
}

/** The tests of an alert: those in which it fires and those in which it is silent. */
export function testsOf(file: string, alert: string): TestGroup[] {
  return ruleFiles.get(file)?.tests.tests.filter(({ name }) => name.startsWith(`${alert} `)) ?? [];
}
