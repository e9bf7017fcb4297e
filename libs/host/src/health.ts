/** What one dependency says of itself. */
export interface Readiness {
  readonly ok: boolean;
  /** What a human needs to know: why not, or what it is connected to. Secrets do not belong here. */
  readonly detail: string;
}
export type ReadinessIndicator = () => Promise<Readiness>;

export type ServiceState = 'starting' | 'ready' | 'draining';

/** The document at `/ready`. */
export interface ReadinessReport {
  readonly ready: boolean;
  readonly state: ServiceState;
  readonly checks: Readonly<Record<string, Readiness>>;
}

/** How long one indicator may take before it counts as failed. */
const INDICATOR_TIMEOUT_MS = 2_000;

/** Whether a service can do its work: its own state and that of everything it depends on. */
export class Health {
  state: ServiceState = 'starting';
  readonly #indicators = new Map<string, ReadinessIndicator>();

  constructor(private readonly timeoutMs: number = INDICATOR_TIMEOUT_MS) {}

  /** Adds a dependency. Throws if the name is taken: a bug. */
  register(name: string, indicator: ReadinessIndicator): void {
    if (this.#indicators.has(name)) throw new Error(`a readiness indicator ${JSON.stringify(name)} exists already`);
    this.#indicators.set(name, indicator);
  }

  /** Asks every dependency at once. One that throws or is silent for too long is not ready; it never delays the others. */
  async report(): Promise<ReadinessReport> {
    const asked = [...this.#indicators].map(async ([name, ask]) => [name, await this.#ask(ask)] as const);
    const checks = Object.fromEntries(await Promise.all(asked));
    const ready = this.state === 'ready' && Object.values(checks).every(({ ok }) => ok);
    return { ready, state: this.state, checks };
  }

  async #ask(indicator: ReadinessIndicator): Promise<Readiness> {
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<Readiness>((resolve) => {
      timer = setTimeout(() => resolve({ ok: false, detail: `no answer within ${this.timeoutMs} ms` }), this.timeoutMs);
    });
    try {
      return await Promise.race([indicator(), silence]);
    } catch (error) {
      return { ok: false, detail: error instanceof Error ? error.message : String(error) };
    } finally {
      clearTimeout(timer);
    }
  }
}
