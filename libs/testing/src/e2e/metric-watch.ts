/** One scrape: values by series (`name{labels}`), and what kind each registered metric is. */
interface Scrape {
  readonly kinds: ReadonlyMap<string, string>;
  readonly series: ReadonlyMap<string, number>;
}

const processDefaults = /^plumb_(process|nodejs)_/;

/**
 * Scrapes the pages of running services again and again and keeps which metrics ever moved: a counter or the count of a histogram that
 * rose, a gauge that was not zero. What counts as registered is what the pages declare, so nothing can be forgotten here.
 */
export class MetricWatch {
  private readonly last = new Map<string, Scrape>();
  private readonly moved = new Set<string>();
  private readonly registered = new Map<string, string>();
  private readonly waiting = new Set<() => void>();
  private stopped = false;
  private readonly running: Promise<void>;

  /** `urls` is asked before every round: a service that was started again has another address. */
  constructor(
    private readonly urls: () => ReadonlyMap<string, string>,
    private readonly intervalMs = 150,
  ) {
    this.running = this.run();
  }

  /** Every metric on a page, as `service metric`, without the defaults of a process. */
  get all(): string[] {
    return [...this.registered.keys()].sort();
  }

  /** Those that nothing moved yet. */
  get still(): string[] {
    return this.all.filter((name) => !this.moved.has(name));
  }

  /** Resolves once every named metric (`service metric`) has moved; rejects naming those that did not. */
  until(names: readonly string[], timeoutMs = 20_000): Promise<void> {
    const left = (): string[] => names.filter((name) => !this.moved.has(name));
    return this.wait(
      () => left().length === 0,
      () => `nothing moved ${left().join(', ')}`,
      timeoutMs,
    );
  }

  /** Resolves with the value of one series of the last scrape once it fits. */
  async value(service: string, series: string, fits: (value: number) => boolean, timeoutMs = 20_000): Promise<void> {
    const now = (): number | undefined => this.last.get(service)?.series.get(series);
    const what = (): string => `${service} ${series} is ${now() ?? 'missing'}`;
    await this.wait(() => fits(now() ?? Number.NaN), what, timeoutMs);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
  }

  private wait(done: () => boolean, what: () => string, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        this.waiting.delete(look);
        settle();
      };
      const look = (): void => {
        if (done()) end(resolve);
      };
      const timer = setTimeout(() => end(() => reject(new Error(`${what()} within ${timeoutMs} ms`))), timeoutMs);
      this.waiting.add(look);
      look();
    });
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      await Promise.all([...this.urls()].map(([service, url]) => this.look(service, url)));
      for (const look of [...this.waiting]) look();
      await new Promise((resolve) => setTimeout(resolve, this.intervalMs));
    }
  }

  private async look(service: string, url: string): Promise<void> {
    let text: string;
    try {
      const response = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(2_000) });
      text = await response.text();
    } catch {
      // Killed or stopped on purpose: the next round asks again.
      return;
    }
    const now = parsePage(text);
    const before = this.last.get(service);
    this.last.set(service, now);
    for (const [name, kind] of now.kinds) {
      if (processDefaults.test(name)) continue;
      this.registered.set(`${service} ${name}`, kind);
      if (hasMoved(name, kind, before, now)) this.moved.add(`${service} ${name}`);
    }
  }
}

/** Without an earlier scrape counters start from what is found: what a service did before it was looked at proves nothing. */
function hasMoved(name: string, kind: string, before: Scrape | undefined, now: Scrape): boolean {
  const counted = kind === 'histogram' ? `${name}_count` : name;
  for (const [series, value] of now.series) {
    if (series !== counted && !series.startsWith(`${counted}{`)) continue;
    if (kind === 'gauge' ? value !== 0 : before !== undefined && value > (before.series.get(series) ?? 0)) return true;
  }
  return false;
}

/** The text format of Prometheus, as far as it is needed here. */
function parsePage(text: string): Scrape {
  const kinds = new Map<string, string>();
  const series = new Map<string, number>();
  for (const line of text.split('\n')) {
    const declared = /^# TYPE (\S+) (\S+)$/.exec(line);
    if (declared !== null) kinds.set(declared[1] ?? '', declared[2] ?? '');
    const sample = /^([a-zA-Z_:][\w:]*(?:\{.*\})?) (\S+)$/.exec(line);
    if (sample !== null) series.set(sample[1] ?? '', Number(sample[2]));
  }
  return { kinds, series };
}
