import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Metrics, type MetricDefinition } from '@plumbline/host';
import { root } from './checkout.mjs';

/** A metric as it stands on the page of the services that register it. */
export interface Registered {
  readonly labels: ReadonlySet<string>;
  readonly services: ReadonlySet<string>;
}

/** What Prometheus adds to everything it scrapes. */
const scraped = ['job', 'instance'];

/** Every series name that a service in production puts on its page, with its labels: read from what the services register. */
export async function registeredSeries(): Promise<ReadonlyMap<string, Registered>> {
  const found = new Map<string, { labels: Set<string>; services: Set<string> }>();
  const add = (name: string, labels: readonly string[], service: string): void => {
    const known = found.get(name) ?? { labels: new Set<string>(scraped), services: new Set<string>() };
    for (const label of labels) known.labels.add(label);
    known.services.add(service);
    found.set(name, known);
  };
  const defaults = [
    ...(await new Metrics({ processDefaults: true }).page()).text.matchAll(/^(plumb_\w+)(?:\{(.*)\})? /gm),
  ];
  const hostLists = await listsOf(join(root, 'libs/host/src/host-metrics.ts'));
  const stepLists = await listsOf(join(root, 'libs/host/src/step-host.ts'));
  for (const service of readdirSync(join(root, 'services'))) {
    for (const [, name = '', labels = ''] of defaults)
      add(
        name,
        [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label),
        service,
      );
    const own = await listsOf(join(root, 'services', service, 'src/metrics.ts'));
    const works = !['ledger', 'scheduler', 'node-agent'].includes(service);
    for (const { name, kind, labels } of [...hostLists, ...own, ...(works ? stepLists : [])]) {
      if (kind !== 'histogram') add(name, labels, service);
      else {
        add(`${name}_bucket`, [...labels, 'le'], service);
        for (const end of ['_sum', '_count']) add(name + end, labels, service);
      }
    }
    add('up', [], service);
  }
  return found;
}

/** The lists of metrics that a module exports, whatever it calls them. */
async function listsOf(path: string): Promise<MetricDefinition[]> {
  const module = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  return Object.values(module).flatMap((value) => (Array.isArray(value) ? (value as MetricDefinition[]) : []));
}

const words = new Set([
  'and',
  'or',
  'unless',
  'by',
  'without',
  'on',
  'ignoring',
  'group_left',
  'group_right',
  'offset',
  'bool',
]);

/**
 * What is wrong with the names in an expression: series that no service registers, labels that a series does not have. `recorded` are
 * the names that rules record, with the labels they keep. Variables of a dashboard (`$name`) are left alone.
 */
export function strangers(
  expression: string,
  registered: ReadonlyMap<string, Registered>,
  recorded: ReadonlyMap<string, ReadonlySet<string>>,
): string[] {
  const problems: string[] = [];
  const all = new Set<string>();
  const labelsOf = (name: string): ReadonlySet<string> | undefined =>
    registered.get(name)?.labels ?? recorded.get(name);
  let rest = expression.replace(/([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}/g, (_, name: string, selector: string) => {
    const labels = labelsOf(name);
    for (const [, label = '', value = ''] of selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"/g)) {
      if (labels !== undefined && !labels.has(label)) problems.push(`${name} has no label ${label}`);
      const jobs = label === 'job' && !value.startsWith('$') ? value.split('|') : [];
      for (const job of jobs)
        if (registered.get(name)?.services.has(job) === false) problems.push(`${job} does not register ${name}`);
    }
    return ` ${name} `;
  });
  const grouped: string[] = [];
  rest = rest.replace(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g, (_, list: string) => {
    grouped.push(...list.split(',').map((label) => label.trim()));
    return ' ';
  });
  rest = rest
    .replace(/"[^"]*"/g, ' ')
    .replace(/\[[^\]]*\]/g, ' ')
    .replace(/\boffset\s+\w+/g, ' ');
  for (const [, name = '', call] of rest.matchAll(/(?<![\w.$])([a-zA-Z_:][\w:]*)(\s*\()?/g)) {
    if (call !== undefined || words.has(name)) continue;
    const labels = labelsOf(name);
    if (labels === undefined) problems.push(`nothing registers ${name}`);
    for (const label of labels ?? []) all.add(label);
  }
  for (const label of grouped)
    if (label !== '' && !all.has(label)) problems.push(`no series here has the label ${label}`);
  return problems;
}
