import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { root } from './checkout.mjs';
import { noPromtool, promtool, recorded } from './prometheus.fixture.js';
import { registeredSeries, strangers, type Registered } from './promql.fixture.js';

interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  datasource?: { type: string; uid: string };
  gridPos: { x: number; y: number; w: number; h: number };
  targets?: { refId: string; expr?: string; datasource: { type: string; uid: string } }[];
  fieldConfig?: { defaults: { unit?: string; thresholds?: { steps: { value: number | null }[] } } };
}
interface Dashboard {
  uid: string;
  schemaVersion: number;
  panels: Panel[];
  templating: { list: { name: string }[] };
}

const grafana = join(root, 'deploy', 'grafana');
const dashboard = JSON.parse(readFileSync(join(grafana, 'dashboards', 'plumbline.json'), 'utf8')) as Dashboard;
const figures = dashboard.panels.filter(({ type }) => type !== 'row');
const expressions = figures.flatMap(({ title, targets = [] }) =>
  targets.flatMap(({ expr }) => (expr === undefined ? [] : [[title, expr] as const])),
);

/** As Grafana fills it in for a day. */
const filledIn = (expr: string): string => expr.replaceAll('$__rate_interval', '1m').replaceAll('$__range', '1d');

const prometheusOwn: [string, Registered] = [
  'ALERTS',
  { labels: new Set(['alertstate', 'alertname', 'severity']), services: new Set() },
];
const registered = new Map([...(await registeredSeries()), prometheusOwn]);

describe('the dashboard', () => {
  it('is of a schema that Grafana 10 and later read', () => {
    expect(dashboard).toMatchObject({ uid: 'plumbline', schemaVersion: 39 });
    expect(figures.length).toBeGreaterThan(40);
  });

  it('begins with the question whether it is well', () => {
    expect(dashboard.panels[0]).toMatchObject({ type: 'row', title: 'Is it well?', gridPos: { y: 0 } });
    const top = dashboard.panels
      .filter(({ type, gridPos }) => type === 'stat' && gridPos.y === 1)
      .map(({ title }) => title);
    expect(top).toEqual(
      expect.arrayContaining(['Services up', 'Chain of the log', 'Wait for a human', 'Verdicts in 24 hours']),
    );
  });

  it('has ids that are used once, and queries that can be told apart', () => {
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { title, targets = [] } of figures) {
      const refs = targets.map(({ refId }) => refId);
      expect([title, refs.length > 0, new Set(refs).size]).toEqual([title, true, refs.length]);
    }
  });

  it('lays no panel over another, and none beyond the edge', () => {
    for (const [index, a] of dashboard.panels.entries()) {
      expect([a.title, a.gridPos.x >= 0 && a.gridPos.x + a.gridPos.w <= 24]).toEqual([a.title, true]);
      for (const b of dashboard.panels.slice(index + 1)) {
        const [p, q] = [a.gridPos, b.gridPos];
        const apart = p.x + p.w <= q.x || q.x + q.w <= p.x || p.y + p.h <= q.y || q.y + q.h <= p.y;
        expect([a.title, b.title, apart]).toEqual([a.title, b.title, true]);
      }
    }
  });

  it.each(figures.map((panel) => [panel.title, panel] as const))('%s says what it shows, in a unit', (_, panel) => {
    expect(panel.description?.length).toBeGreaterThan(15);
    if (panel.type === 'table') return;
    expect(panel.fieldConfig?.defaults.unit).toMatch(/^(none|short|s|bytes|reqps|percentunit)$/);
    expect(panel.fieldConfig?.defaults.thresholds?.steps[0]?.value).toBeNull();
  });

  it.each(expressions)('%s uses only what services register: %s', (_, expr) => {
    expect(strangers(filledIn(expr), registered, recorded)).toEqual([]);
  });

  it('knows the data sources that are provisioned', () => {
    const path = join(grafana, 'provisioning', 'datasources', 'plumbline.yml');
    const { datasources } = parse(readFileSync(path, 'utf8')) as { datasources: { uid: string; type: string }[] };
    const known = datasources.map(({ uid, type }) => `${type} ${uid}`);
    for (const { title, datasource, targets = [] } of figures)
      for (const used of [datasource, ...targets.map((target) => target.datasource)])
        expect([title, known]).toEqual([title, expect.arrayContaining([`${used?.type} ${used?.uid}`])]);
  });

  it('has every variable that it uses, and no other', () => {
    const names = dashboard.templating.list.map(({ name }) => name);
    const used = [...JSON.stringify(dashboard.panels).matchAll(/\$(?!__)(\w+)/g)].map(([, name]) => name);
    expect([...new Set(used)]).toEqual(names);
  });

  it.skipIf(noPromtool !== undefined)(
    `asks what Prometheus can read${noPromtool === undefined ? '' : ` (skipped: ${noPromtool})`}`,
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'plumb-dashboard-'));
      try {
        const check = (queries: readonly string[]): ReturnType<typeof promtool> => {
          const rules = queries.map((expr, index) => ({ record: `panel:${index}`, expr: filledIn(expr) }));
          writeFileSync(join(folder, 'panels.yml'), stringify({ groups: [{ name: 'panels', rules }] }));
          return promtool(['check', 'rules', 'panels.yml'], folder);
        };
        expect(await check(expressions.map(([, expr]) => expr))).toMatchObject({ code: 0 });
        expect(await check(['sum by (job (up)'])).toMatchObject({ code: 1 });
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );
});
