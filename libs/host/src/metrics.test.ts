import { describe, expect, it } from 'vitest';
import { hostMetrics } from './host-metrics.js';
import { Metrics, namingProblem, type MetricDefinition } from './metrics.js';

describe('Metrics', () => {
  it('gives handles by name that move what is scraped', async () => {
    const metrics = new Metrics({ processDefaults: false });
    const handles = metrics.register([
      { kind: 'counter', name: 'plumb_things_total', help: 'Things.', labels: ['colour', 'size'] },
      { kind: 'gauge', name: 'plumb_level', help: 'Level.', labels: [] },
      { kind: 'histogram', name: 'plumb_wait_seconds', help: 'Wait.', labels: ['seat'], buckets: [1, 5] },
    ]);
    handles.plumb_things_total.inc(2, { colour: 'red', size: 'big' });
    handles.plumb_level.set(7);
    handles.plumb_wait_seconds.observe(3, { seat: 'coder' });
    const { text, contentType } = await metrics.page();
    expect(contentType).toContain('text/plain');
    expect(text).toContain('plumb_things_total{colour="red",size="big"} 2');
    expect(text).toContain('plumb_level 7');
    expect(text).toContain('plumb_wait_seconds_bucket{le="1",seat="coder"} 0');
    expect(text).toContain('plumb_wait_seconds_bucket{le="5",seat="coder"} 1');
    expect(metrics.definitions.map(({ name }) => name)).toEqual([
      'plumb_things_total',
      'plumb_level',
      'plumb_wait_seconds',
    ]);
    // @ts-expect-error a label is missing
    handles.plumb_things_total.inc(1, { colour: 'red' });
    // @ts-expect-error no such metric
    expect(handles.plumb_other).toBeUndefined();
  });

  it('leaves a gauge out until it is set: nobody measured a zero', async () => {
    const metrics = new Metrics({ processDefaults: false });
    const handles = metrics.register([
      { kind: 'gauge', name: 'plumb_level', help: 'Level.', labels: [] },
      { kind: 'counter', name: 'plumb_things_total', help: 'Things.', labels: [] },
    ]);
    expect((await metrics.page()).text).not.toMatch(/^plumb_level/m);
    expect((await metrics.page()).text).toMatch(/^plumb_things_total 0$/m);
    handles.plumb_level.set(0);
    expect((await metrics.page()).text).toMatch(/^plumb_level 0$/m);
  });

  it('measures the process under the prefix of the house, event-loop lag included', async () => {
    const { text } = await new Metrics({ processDefaults: true }).page();
    expect(text).toMatch(/^plumb_nodejs_eventloop_lag_p99_seconds [\d.]/m);
    expect(text).toMatch(/^plumb_process_resident_memory_bytes \d/m);
    const families = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(families.filter((name) => !name?.startsWith('plumb_'))).toEqual([]);
  });

  it('refuses a name that is taken', () => {
    const metrics = new Metrics({ processDefaults: false });
    const once = [{ kind: 'gauge', name: 'plumb_level', help: 'Level.', labels: [] }] as const;
    metrics.register(once);
    expect(() => metrics.register(once)).toThrow(/plumb_level/);
  });

  it('refuses to register a bad name, and takes those of the host', () => {
    const metrics = new Metrics({ processDefaults: false });
    expect(() => metrics.register([{ kind: 'counter', name: 'plumb_things', help: 'x', labels: [] }])).toThrow(
      /_total/,
    );
    expect(hostMetrics.map((metric) => namingProblem(metric)).filter((problem) => problem !== undefined)).toEqual([]);
  });
});

describe('names', () => {
  const gauge = { kind: 'gauge', name: 'plumb_level', help: 'Level.', labels: [] } satisfies MetricDefinition;
  it.each<[string, MetricDefinition]>([
    ['no prefix', { ...gauge, name: 'other_level' as 'plumb_level' }],
    ['capitals', { ...gauge, name: 'plumb_Level' }],
    ['two underscores', { ...gauge, name: 'plumb__level' }],
    ['milliseconds', { ...gauge, name: 'plumb_wait_ms' }],
    ['milliseconds counted', { ...gauge, kind: 'counter', name: 'plumb_wait_milliseconds_total' }],
    ['gigabytes', { ...gauge, name: 'plumb_memory_gb' }],
    ['a gauge in _total', { ...gauge, name: 'plumb_level_total' }],
    ['a counter without _total', { ...gauge, kind: 'counter' }],
    ['a histogram without unit', { ...gauge, kind: 'histogram', buckets: [1] }],
    ['an end that Prometheus derives', { ...gauge, name: 'plumb_level_count' }],
    ['no help', { ...gauge, help: ' ' }],
    ['a reserved label', { ...gauge, labels: ['le'] }],
    ['a label in camel case', { ...gauge, labels: ['taskId'] }],
  ])('%s is refused', (_what, metric) => expect(namingProblem(metric)).toBeTypeOf('string'));
  it('a good one is not', () => expect(namingProblem(gauge)).toBeUndefined());
});
