import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, type OnApplicationBootstrap } from '@nestjs/common';
import { LedgerClient, type Bus } from '@plumbline/bus';
import { nodeStream, type PlumblineEvent } from '@plumbline/domain';
import {
  BUS,
  DRAINS,
  HEALTH,
  LOG,
  METRICS,
  SERVICE_CONFIG,
  StartError,
  watchDisk,
  type Drains,
  type Health,
  type Log,
  type MetricHandles,
  type Metrics,
} from '@plumbline/host';
import type { NodeAgentConfig } from './config.js';
import { probeEndpoint, type EndpointFinding } from './endpoint-probe.js';
import { FactSender } from './fact-sender.js';
import { FactSpool } from './fact-spool.js';
import { hostPool, measureMachine } from './machine.js';
import { nodeAgentMetrics } from './metrics.js';
import { modelStates, ModelWatch, type ModelFinding } from './model-watch.js';

const PROBE_TIMEOUT_MS = 3_000;
/** How long leaving waits for the ledger; what it has not taken by then waits on disk. */
const SEND_BEFORE_LEAVING_MS = 3_000;

/** One machine: says what it has and which of its models answer, for as long as the process lives. */
export class NodeAgent implements OnApplicationBootstrap {
  readonly #measures: MetricHandles<typeof nodeAgentMetrics>;
  readonly #leave = new AbortController();
  readonly #watch: ModelWatch;
  #spool: FactSpool | undefined;
  #sender: FactSender | undefined;
  #watching: Promise<void> = Promise.resolve();
  #spoolProblem: string | undefined;

  constructor(
    @Inject(SERVICE_CONFIG) private readonly config: NodeAgentConfig,
    @Inject(BUS) private readonly bus: Bus,
    @Inject(LOG) private readonly log: Log,
    @Inject(METRICS) metrics: Metrics,
    @Inject(HEALTH) health: Health,
    @Inject(DRAINS) drains: Drains,
  ) {
    this.#measures = metrics.register(nodeAgentMetrics);
    this.#watch = new ModelWatch(config.models, (endpoint) => this.#probe(endpoint));
    health.register('spool', () => Promise.resolve(this.#spoolReadiness()));
    drains.register('node-agent', (deadline) => this.#drain(deadline));
  }

  /** Registers in one piece with what the models answer now, so that nobody is sent to a model that never did. */
  async onApplicationBootstrap(): Promise<void> {
    const { stateFolder, memoryBytes, nodeId, models } = this.config;
    const { spool, setAside } = await openSpool(stateFolder);
    if (setAside > 0)
      this.log.error({ setAside, stateFolder }, 'facts of an earlier run cannot be read; they were set aside');
    this.#spool = spool;
    watchDisk(this.#measures, 'state', stateFolder, (err) =>
      this.log.warn({ err }, 'the space for facts cannot be measured'),
    );
    const { log, bus } = this;
    const onChange = (): void => this.#measures.plumb_node_spooled_facts.set(spool.pending);
    this.#sender = new FactSender({ spool, ledger: new LedgerClient(bus, 'node-agent'), log, onChange });
    const machine = measureMachine();
    const pool = hostPool(machine, memoryBytes);
    if (pool.budgetBytes > machine.totalBytes) {
      this.log.warn({ pool, machine }, 'the budget given for this node is larger than its memory');
    }
    this.#measures.plumb_node_memory_budget_bytes.set(pool.budgetBytes);
    const startedAt = new Date().toISOString();
    const registered = { node: nodeId, startedAt, pools: [pool], models: [...models] };
    const findings = await this.#findings();
    // A probe that was cut off by a signal says nothing about the model.
    if (this.#leave.signal.aborted) return;
    await this.#record([{ type: 'node.registered', data: registered }], findings);
    this.log.info({ pool, machine, models: models.length, spooled: spool.pending }, 'registered');
    this.#watching = this.#watchOn();
  }

  async #watchOn(): Promise<void> {
    const { signal } = this.#leave;
    for (;;) {
      await sleep(this.config.probeIntervalMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const findings = await this.#findings();
      if (signal.aborted) return;
      const changed = this.#watch.changed(findings);
      if (changed.length === 0) continue;
      try {
        await this.#record([], changed);
      } catch (err) {
        this.log.error({ err }, 'facts could not be written to disk; the next probe tries again');
      }
    }
  }

  async #findings(): Promise<ModelFinding[]> {
    const findings = await this.#watch.round();
    for (const state of modelStates) {
      this.#measures.plumb_node_models.set(findings.filter((finding) => finding.state === state).length, { state });
    }
    return findings;
  }

  async #probe(endpoint: string): Promise<EndpointFinding> {
    const { allowHosts } = this.config;
    const finding = await probeEndpoint(endpoint, {
      timeoutMs: PROBE_TIMEOUT_MS,
      allowHosts,
      signal: this.#leave.signal,
    });
    this.#measures.plumb_node_probes_total.inc(1, { outcome: finding.outcome });
    return finding;
  }

  /** All of it in one command: recorded together or not at all. */
  async #record(first: readonly PlumblineEvent[], findings: readonly ModelFinding[]): Promise<void> {
    const { nodeId } = this.config;
    const occurredAt = new Date().toISOString();
    const events = [...first, ...findings.map((finding) => factOf(nodeId, finding))];
    try {
      await this.#spool?.add({
        commandId: randomUUID(),
        streams: [
          { streamId: nodeStream(nodeId), events: events.map(({ type, data }) => ({ type, data, occurredAt })) },
        ],
      });
      this.#spoolProblem = undefined;
    } catch (error) {
      this.#spoolProblem = error instanceof Error ? error.message : String(error);
      throw error;
    }
    this.#watch.recorded(findings);
    this.#sender?.wake();
    for (const { model, state, why } of findings) this.log.info({ model: model.name, state, why }, 'model state');
  }

  #spoolReadiness(): { ok: boolean; detail: string } {
    if (this.#spoolProblem !== undefined)
      return { ok: false, detail: `facts cannot be written: ${this.#spoolProblem}` };
    return { ok: true, detail: `${this.#spool?.pending ?? 0} facts wait for the ledger` };
  }

  async #drain(deadline: AbortSignal): Promise<void> {
    this.#leave.abort();
    await this.#watching;
    await this.#sender?.idle(AbortSignal.any([deadline, AbortSignal.timeout(SEND_BEFORE_LEAVING_MS)]));
    this.#sender?.stop();
    const left = this.#spool?.pending ?? 0;
    if (left > 0) this.log.warn({ facts: left }, 'facts wait on disk for the next start');
    await this.#spool?.close();
  }
}

async function openSpool(folder: string): ReturnType<typeof FactSpool.open> {
  try {
    return await FactSpool.open(folder);
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException;
    throw new StartError(
      `facts cannot be kept in ${folder} (${code}); set PLUMB_STATE_DIR to a folder of its own that can be written`,
      error,
    );
  }
}

function factOf(node: string, { model, state, why }: ModelFinding): PlumblineEvent {
  if (state === 'ready') return { type: 'model.ready', data: { node, model: model.name, endpoint: model.endpoint } };
  return { type: 'model.unreachable', data: { node, model: model.name, why } };
}
