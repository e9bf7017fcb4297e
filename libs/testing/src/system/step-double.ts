import { commandId, LedgerClient, StepWorker, type Bus, type HeldStep, type StepReport } from '@plumbline/bus';
import {
  nodeStream,
  stepWorkers,
  type FaultCode,
  type OfferedModel,
  type PlumblineEvent,
  type Pool,
  type StepKind,
} from '@plumbline/domain';
import { changeProposed, changePublished, gateConcluded, reviewConcluded, snapshotTaken } from './evidence.js';

/** What a worker does with one step: the facts that end it, or a StepFault. */
export type Play = (step: HeldStep) => PlumblineEvent[] | Promise<PlumblineEvent[]>;

export type WorkerName = (typeof stepWorkers)[StepKind];

const durables = {
  'code-host-snapshot': 'snapshot',
  'coder-steps': 'coding',
  'gate-steps': 'gating',
  'reviewer-steps': 'review',
  'code-host-publish': 'publishing',
} as const satisfies Record<string, StepKind>;

const honest: Readonly<Record<StepKind, Play>> = {
  snapshot: snapshotTaken,
  coding: changeProposed,
  gating: (step) => gateConcluded(step),
  review: (step) => reviewConcluded(step),
  publishing: changePublished,
};

/**
 * A worker that plays a role on the real bus under real leases, so that the process manager can be driven through every path. Honest and
 * instant unless `plays` says otherwise; a play may be changed while it runs.
 */
export class StepDouble {
  readonly reports: StepReport[] = [];
  readonly errors: unknown[] = [];
  readonly plays: Partial<Record<StepKind, Play>>;
  private readonly worker: StepWorker;

  constructor(
    bus: Bus,
    readonly service: WorkerName,
    options: { plays?: Partial<Record<StepKind, Play>>; concurrency?: number; holder?: string } = {},
  ) {
    this.plays = { ...options.plays };
    const mine = Object.entries(durables).filter(([, kind]) => stepWorkers[kind] === service);
    const work = mine.map(([durable, kind]) => [
      durable,
      {
        concurrency: options.concurrency ?? 4,
        handle: async (step: HeldStep) => (this.plays[kind] ?? honest[kind])(step),
      },
    ]);
    this.worker = new StepWorker({
      bus,
      ledger: new LedgerClient(bus, service),
      service,
      holder: options.holder ?? `${service}/double`,
      work: Object.fromEntries(work) as ConstructorParameters<typeof StepWorker>[0]['work'],
      failure,
      onStep: (report) => this.reports.push(report),
      onError: (error) => this.errors.push(error),
    });
  }

  get inFlight(): number {
    return this.worker.inFlight;
  }

  stop(deadlineMs = 2_000): Promise<void> {
    return this.worker.stop(deadlineMs);
  }
}

function failure({ id: step, name }: HeldStep, code: FaultCode, detail: string): PlumblineEvent {
  const { attempt, seat = 'concluder' } = name;
  switch (name.kind) {
    case 'snapshot':
      return { type: 'snapshot.failed', data: { step, code, detail } };
    case 'coding':
      return { type: 'attempt.ended', data: { step, attempt, code, detail } };
    case 'gating':
      return { type: 'gate.failed', data: { step, attempt, code, detail } };
    case 'review':
      return { type: 'review.failed', data: { step, attempt, seat, code, detail } };
    case 'publishing':
      return { type: 'publish.failed', data: { step, attempt, code, detail } };
  }
}

/** A model for every seat, with room for `slots` steps at once in a pool of `budgetBytes`. */
export const exampleModel = (overrides: Partial<OfferedModel> = {}): OfferedModel => ({
  name: 'example-30b',
  family: 'qwen',
  tier: 1,
  runtime: 'llama.cpp',
  endpoint: 'http://127.0.0.1:9/v1',
  pool: 'unified',
  bytes: 20_000_000_000,
  slots: 8,
  seats: ['coder', 'concluder'],
  ...overrides,
});

/** States, as the node's agent would, what a machine offers. */
export async function registerNode(
  bus: Bus,
  offer: { node?: string; pools?: Pool[]; models?: OfferedModel[]; startedAt?: string } = {},
): Promise<void> {
  const { node = 'studio', startedAt = new Date().toISOString() } = offer;
  const pools = offer.pools ?? [{ id: 'unified', kind: 'unified', budgetBytes: 64_000_000_000 }];
  const data = { node, startedAt, pools, models: offer.models ?? [exampleModel()] };
  await new LedgerClient(bus, 'node-agent').append({
    commandId: commandId('node.registered', node, startedAt),
    streams: [{ streamId: nodeStream(node), events: [{ type: 'node.registered', data }] }],
  });
}
