import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './checkout.mjs';
import {
  alerts,
  folder,
  noPromtool,
  promtool,
  recorded,
  ruleFiles,
  alsoFor,
  testsOf,
  testVariants,
  type AlertRule,
} from './prometheus.fixture.js';
import { registeredSeries, strangers } from './promql.fixture.js';

const registered = await registeredSeries();

describe('names in rules', () => {
  it.each(
    [...ruleFiles].flatMap(([file, { rules }]) =>
      rules.groups.flatMap((group) =>
        group.rules.map((rule) => [file, 'alert' in rule ? rule.alert : rule.record, rule.expr] as const),
      ),
    ),
  )('%s: %s uses only what services register', (_file, _name, expr) => {
    expect(strangers(expr, registered, recorded)).toEqual([]);
  });

  it.each([
    ['max(plumb_dead_lettres)', 'nothing registers plumb_dead_lettres'],
    ['node_filesystem_avail_bytes < 1', 'nothing registers node_filesystem_avail_bytes'],
    ['max by (topic) (plumb_dead_letters)', 'no series here has the label topic'],
    ['plumb_open_tasks{state="coding"} > 1', 'plumb_open_tasks has no label state'],
    ['plumb_dead_letters{job="gate"} > 1', 'gate does not register plumb_dead_letters'],
    ['rate(plumb_log_append_seconds[5m])', 'nothing registers plumb_log_append_seconds'],
  ])('%s is found out', (expr, problem) => {
    expect(strangers(expr, registered, recorded)).toEqual([problem]);
  });

  it('of tests are those of services too, or no service at all', () => {
    for (const [file, { tests }] of ruleFiles)
      for (const { name, input_series } of tests.tests)
        for (const { series } of input_series)
          if (!series.includes('job="other"'))
            expect([file, name, strangers(series, registered, recorded)]).toEqual([file, name, []]);
  });

  it('of jobs are those of the services, each with a target', () => {
    const config = readFileSync(join(folder, 'prometheus.yml'), 'utf8');
    const jobs = [...config.matchAll(/job_name: (\S+)\n\s+static_configs: \[\{ targets: \['(\S+):8080'\] \}\]/g)];
    const services = readdirSync(join(root, 'services')).sort();
    expect(jobs.map(([, job]) => job).sort()).toEqual(services);
    expect(jobs.map(([, , host]) => host).sort()).toEqual(services);
  });
});

describe('what an alert says', () => {
  const page = readFileSync(join(root, 'docs', 'operations.md'), 'utf8');
  const anchors = new Set([...page.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => slug(heading)));

  it.each(alerts.map(({ rule }) => [rule.alert, rule] as const))(
    '%s names its weight, its figures and its runbook',
    (_, rule) => {
      expect(['page', 'ticket']).toContain(rule.labels.severity);
      expect(rule.annotations.summary).toMatch(/\{\{ \$(value|labels\.\w+)/);
      expect(rule.annotations.description.length).toBeGreaterThan(60);
      const [path, anchor] = rule.annotations.runbook.split('#');
      expect(path).toBe('docs/operations.md');
      expect(anchors).toContain(anchor);
    },
  );

  it('has a section for every alert and for no other', () => {
    const sections = [...page.matchAll(/^### (Plumbline\w+)$/gm)].map(([, name]) => name).sort();
    expect(sections).toEqual(alerts.map(({ rule }) => rule.alert).sort());
    expect(new Set(sections).size).toBe(sections.length);
  });
});

// Where promtool cannot be had, the reason stands in the name of what is skipped.
describe.skipIf(noPromtool !== undefined)(
  `promtool${noPromtool === undefined ? '' : ` (skipped: ${noPromtool})`}`,
  () => {
    it('takes rules and configuration', async () => {
      const rules = [...ruleFiles.keys()].map((name) => `rules/${name}.yml`);
      expect(await promtool(['check', 'rules', ...rules])).toMatchObject({ code: 0 });
      expect(await promtool(['check', 'config', 'prometheus.yml'])).toMatchObject({ code: 0 });
    });

    it.each([...ruleFiles.keys()])('finds that alerts of %s fire when they should and not else', async (file) => {
      const { code, output } = await promtool(['test', 'rules', `${file}.test.yml`], join(folder, 'tests'));
      expect({ code, output }).toMatchObject({ code: 0 });
    });

    it.each(alerts.map(({ file, rule }) => [rule.alert, file, rule] as const))(
      'fills in what %s says',
      async (alert, file, rule) => {
        const fires = testsOf(file, alert).filter(({ name }) => name.startsWith(`${alert} fires`));
        expect(fires.length).toBeGreaterThan(0);
        // An alert that is expected not to fire is quoted in full by promtool's complaint.
        const silent = fires.map(({ promql_expr_test: checks, ...rest }) => ({
          ...rest,
          alert_rule_test: [{ eval_time: checks.at(-1)?.eval_time ?? '', alertname: alert, exp_alerts: [] }],
        }));
        const output = await testVariants(file, rule, [], silent);
        const summaries = [...output.matchAll(/summary="((?:[^"\\]|\\.)*)"/g)].map(([, summary]) => summary);
        expect(summaries.length).toBeGreaterThanOrEqual(fires.length);
        for (const summary of summaries) {
          expect(summary).toMatch(/\d/);
          expect(summary).not.toMatch(/error|no value|NaN|\{\{/);
        }
      },
    );

    it.each(alerts.map(({ file, rule }) => [rule.alert, file, rule] as const))(
      'objects to any change of the figures of %s',
      async (alert, file, rule) => {
        const mutants = mutantsOf(rule);
        const variants = mutants.map(([, mutant]) => mutant);
        const output = await testVariants(file, rule, variants, alsoFor(testsOf(file, alert), alert, variants));
        const complained = (name: string): boolean => output.includes(`alertname=\\"${name}\\"`);
        expect({ complained: complained(alert), output }).toMatchObject({ complained: false });
        expect(mutants.filter(([, { alert: name }]) => !complained(name)).map(([what]) => what)).toEqual([]);
      },
    );
  },
);

/** What becomes of a comparison with nothing: one that hardly holds, and one that nearly always does. */
const beyondZero: Readonly<Record<string, readonly string[]>> = {
  '==': ['== 7', '>= 0'],
  '>': ['> 1000000000', '>= 0'],
  '<': ['< -1000000000000000', '< 1000000000000000'],
};

/** The rule with one figure changed: each number that something is compared with, and how long it has to last. */
function mutantsOf(rule: AlertRule): [string, AlertRule][] {
  const mutants: [string, AlertRule][] = [
    ['never', { ...rule, expr: `(${rule.expr}) and on () vector(0) > 1` }],
    ['always', { ...rule, expr: `vector(1)` }],
  ];
  for (const match of rule.expr.matchAll(/(==|>=|<=|>|<) ([\d.]+)/g)) {
    const [whole, operator = '', text = ''] = match;
    const number = Number(text);
    const others =
      number === 0 ? (beyondZero[operator] ?? []) : [`${operator} ${number * 1.6}`, `${operator} ${number / 1.6}`];
    for (const other of others) {
      const expr = rule.expr.slice(0, match.index) + other + rule.expr.slice(match.index + whole.length);
      mutants.push([`${whole} → ${other}`, { ...rule, expr }]);
    }
  }
  const { for: lasting, ...atOnce } = rule;
  if (lasting === undefined) mutants.push(['for: 3h', { ...rule, for: '3h' }]);
  else {
    const twice = lasting.replace(/\d+/, (count) => String(Number(count) * 2));
    mutants.push(['no for', atOnce], [`for: ${twice}`, { ...rule, for: twice }]);
  }
  return mutants.map(([what, mutant], index) => [what, { ...mutant, alert: `${rule.alert}Mutant${index}` }]);
}

/** The anchor that a heading gets where the page is shown. */
function slug(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replace(/\s/g, '-');
}
