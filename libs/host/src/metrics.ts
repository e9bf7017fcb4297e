import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** One metric as data. A service lists its own in one file, so that what it emits can be read, documented and checked. */
export type MetricDefinition = {
  /** `plumb_…`; counters end in `_total`, histograms in their unit; seconds and bytes, never multiples. */
  readonly name: `plumb_${string}`;
  readonly help: string;
  readonly labels: readonly string[];
} & (
  | { readonly kind: 'counter' }
  | { readonly kind: 'gauge' }
  | { readonly kind: 'histogram'; readonly buckets: readonly number[] }
);

type Labels<L extends readonly string[]> = L extends readonly [] ? [] : [labels: Readonly<Record<L[number], string>>];

/** Only goes up. */
export interface CounterHandle<L extends readonly string[]> {
  inc(by: number, ...labels: Labels<L>): void;
}
/** Goes up and down. Not on the page before it was set. */
export interface GaugeHandle<L extends readonly string[]> {
  set(value: number, ...labels: Labels<L>): void;
}
/** Counts values in buckets. */
export interface HistogramHandle<L extends readonly string[]> {
  observe(value: number, ...labels: Labels<L>): void;
}

type Handle<M extends MetricDefinition> = M['kind'] extends 'counter'
  ? CounterHandle<M['labels']>
  : M['kind'] extends 'gauge'
    ? GaugeHandle<M['labels']>
    : HistogramHandle<M['labels']>;

/** The handles of a list of definitions by metric name. */
export type MetricHandles<D extends readonly MetricDefinition[]> = {
  readonly [M in D[number] as M['name']]: Handle<M>;
};

/** Everything one process measures. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #definitions: MetricDefinition[] = [];

  /** With `processDefaults`, also memory, CPU, garbage collection and event-loop lag of this process, as `plumb_process_…` and `plumb_nodejs_…`. */
  constructor(options: { readonly processDefaults: boolean }) {
    if (options.processDefaults) collectDefaultMetrics({ register: this.#registry, prefix: 'plumb_' });
  }

  /** What was registered, without the defaults of the process. */
  get definitions(): readonly MetricDefinition[] {
    return this.#definitions;
  }

  /** Registers metrics and returns their handles by name. Throws on a name that breaks the conventions or is taken: a bug. */
  register<const D extends readonly MetricDefinition[]>(definitions: D): MetricHandles<D> {
    const handles: Record<string, unknown> = {};
    for (const definition of definitions) {
      const problem = namingProblem(definition);
      if (problem !== undefined) throw new Error(`metric ${definition.name}: ${problem}`);
      handles[definition.name] = this.#create(definition);
      this.#definitions.push(definition);
    }
    return handles as MetricHandles<D>;
  }

  /** The page that Prometheus scrapes. */
  async page(): Promise<{ readonly contentType: string; readonly text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  #create(definition: MetricDefinition): unknown {
    const { name, help, labels } = definition;
    const settings = { name, help, labelNames: [...labels], registers: [this.#registry] };
    switch (definition.kind) {
      case 'counter': {
        const counter = new Counter(settings);
        return { inc: (by: number, given: LabelValues = {}) => counter.inc(given, by) };
      }
      case 'gauge': {
        const gauge = new Gauge(settings);
        // The library begins with 0. A value that nobody has measured yet is no value, above all not one that an alarm is about.
        if (labels.length === 0) gauge.remove();
        return { set: (value: number, given: LabelValues = {}) => gauge.set(given, value) };
      }
      case 'histogram': {
        const histogram = new Histogram({ ...settings, buckets: [...definition.buckets] });
        return { observe: (value: number, given: LabelValues = {}) => histogram.observe(given, value) };
      }
    }
  }
}

type LabelValues = Record<string, string>;

/** Prometheus's conventions for names (https://prometheus.io/docs/practices/naming/); undefined if they are kept. */
export function namingProblem(metric: MetricDefinition): string | undefined {
  const { name, help, labels, kind } = metric;
  if (!/^plumb_[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(name)) return 'expected plumb_ and lower-case words with underscores';
  if (/_(ms|milliseconds|millis|minutes|hours|kb|mb|gb|kilobytes|megabytes|gibibytes)(_total)?$/.test(name))
    return 'expected base units: seconds, bytes';
  if ((kind === 'counter') !== name.endsWith('_total')) return 'counters, and only they, end in _total';
  if (kind === 'histogram' && !/_(seconds|bytes|tokens|ratio|events)$/.test(name)) return 'expected a unit at the end';
  if (/_(count|sum|bucket|info)$/.test(name)) return 'the end is reserved for what Prometheus derives';
  if (help.trim() === '') return 'expected a help text';
  const label = labels.find((candidate) => !/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(candidate) || candidate === 'le');
  return label === undefined ? undefined : `label ${JSON.stringify(label)}: expected lower-case words with underscores`;
}
