import { seededRandom } from '@plumbline/domain';
import type { FailpointName } from '@plumbline/failpoint';
import type { ServiceProcessName } from '@plumbline/testing';
import { failpointsOf, passagesPerTask, processes, replicasOf, workers } from './places.js';
import { taskKinds, type TaskKind } from './tasks.js';

/** Every kind of fault, with what it does in one line. `per`: whether it strikes one process or the house as a whole. */
export const faultKinds = {
  kill: { per: 'process', does: 'SIGKILL at a named failpoint' },
  'kill-any': { per: 'process', does: 'SIGKILL of a node-agent, which passes no failpoint, at any moment' },
  zombie: {
    per: 'process',
    does: 'SIGSTOP with the work done and not recorded; another worker ends the step; SIGCONT',
  },
  sleep: { per: 'process', does: 'SIGSTOP for longer than the lease, with the step just begun' },
  cut: { per: 'process', does: 'no way to NATS for longer than the lease of the step it holds' },
  double: { per: 'process', does: 'every JetStream delivery comes twice' },
  slow: { per: 'process', does: 'SIGSTOP for two seconds while the others go on' },
  drip: { per: 'process', does: 'what NATS sends arrives drop by drop' },
  skew: { per: 'process', does: 'its clock is an hour ahead or behind' },
  'disk-full': { per: 'process', does: 'its work folder is full' },
  'upload-cut': { per: 'process', does: 'its connection to the ledger ends in the middle of an artifact' },
  'nats-restart': { per: 'house', does: 'NATS is shut down and started again' },
  'nats-kill': { per: 'house', does: 'NATS is killed and started again' },
  'nats-wipe': { per: 'house', does: 'NATS is killed and its store deleted' },
  'log-foreign': { per: 'house', does: "a stranger's message in LOG, with the relay's rights" },
  'log-delete': { per: 'house', does: 'LOG is deleted by an administrator' },
  'postgres-restart': { per: 'house', does: 'Postgres is shut down and started again' },
  'postgres-kill': { per: 'house', does: 'Postgres is killed in the middle of appends' },
  restore: {
    per: 'house',
    does: 'a cold copy of Postgres is put into a new cluster, while NATS keeps what came after it',
  },
} as const;
export type FaultKind = keyof typeof faultKinds;
export const faultKindNames = Object.keys(faultKinds) as FaultKind[];

type KindsPer<P> = { [K in FaultKind]: (typeof faultKinds)[K]['per'] extends P ? K : never }[FaultKind];
export type ProcessKind = KindsPer<'process'>;
export type HouseKind = KindsPer<'house'>;

/** What else is said of a fault of a kind. */
interface Details {
  kill: { failpoint: FailpointName; hit: number };
  skew: { skewMs: number };
}
type DetailsOf<K> = K extends keyof Details ? Details[K] : unknown;
type OfProcess<K extends ProcessKind> = {
  [P in K]: { id: number; kind: P; process: ServiceProcessName } & DetailsOf<P>;
}[K];
type OfHouse<K extends HouseKind> = { [H in K]: { id: number; kind: H; afterEvents: number } }[K];

/** One fault to inject. Those of a process come one after the other, those of the house when the log has grown to `afterEvents`. */
export type ProcessFault<K extends ProcessKind = ProcessKind> = OfProcess<K>;
export type HouseFault<K extends HouseKind = HouseKind> = OfHouse<K>;
export type Fault = ProcessFault | HouseFault;

export interface PlannedTask {
  key: string;
  kind: TaskKind;
  /** By which door it comes in, and whether its submitter sends it twice. */
  door: 'request' | 'stream';
  twice: boolean;
}

export interface Plan {
  /** How many faults have to happen: those that were asked for. */
  wanted: number;
  seed: string;
  tasks: PlannedTask[];
  chains: Partial<Record<ServiceProcessName, ProcessFault[]>>;
  house: HouseFault[];
  faults: number;
}

export interface PlanOptions {
  seed: string;
  /** Absent: as many as the standard selection has: every kind, and every service at every failpoint of its own, at least once. */
  faults?: number;
  tasks: number;
  /** A kind of fault or a failpoint: nothing else is injected. */
  only?: string;
}

/** Which processes a kind can strike. */
const targets: Readonly<Record<Exclude<ProcessKind, 'kill'>, readonly ServiceProcessName[]>> = {
  'kill-any': replicasOf('node-agent'),
  zombie: workers.flatMap(replicasOf),
  sleep: workers.flatMap(replicasOf),
  cut: workers.flatMap(replicasOf),
  double: [...workers, 'scheduler' as const].flatMap(replicasOf),
  slow: [...workers, 'scheduler' as const, 'ledger' as const].flatMap(replicasOf),
  drip: [...workers, 'scheduler' as const].flatMap(replicasOf),
  skew: processes,
  'disk-full': (['coder', 'gate', 'code-host'] as const).flatMap(replicasOf),
  'upload-cut': workers.flatMap(replicasOf),
};

/** How the faults of a long run are shared out, in parts of the whole; what is left are kills. */
const shares: Readonly<Record<Exclude<FaultKind, 'kill'>, number>> = {
  ...{ 'kill-any': 0.01, zombie: 0.015, sleep: 0.01, cut: 0.015, double: 0.01, slow: 0.015, drip: 0.005 },
  ...{ skew: 0.01, 'disk-full': 0.008, 'upload-cut': 0.008 },
  ...{ 'nats-restart': 0.008, 'nats-kill': 0.008, 'nats-wipe': 0.006, 'log-foreign': 0.006, 'log-delete': 0.004 },
  ...{ 'postgres-restart': 0.006, 'postgres-kill': 0.008, restore: 0.001 },
};

/** Of a hundred kills: those of a service are shared evenly by its failpoints. */
const killShares = { ledger: 52, scheduler: 20, 'code-host': 8, coder: 7, gate: 7, reviewer: 6 } as const;
const eventsPerTask = 45;

/** The schedule of a run: a function of its options, and of nothing else. */
export function planOf(options: PlanOptions): Plan {
  const random = seededRandom(`faults ${options.seed}`);
  const wanted = shuffled(faultsOf(options, random), random);
  const perProcess = countBy(wanted.flatMap((fault) => (fault.kind === 'kill' ? [fault.process] : [])));
  const chains: Plan['chains'] = {};
  const house: HouseFault[] = [];
  const houseCount = wanted.filter(({ kind }) => faultKinds[kind].per === 'house').length;
  for (const [at, fault] of wanted.entries()) {
    const id = at + 1;
    if (!isOfProcess(fault)) {
      // Spread over the run, the first one early; the last ones still meet open tasks.
      const share = (house.length + 0.3 + 0.4 * random()) / houseCount;
      house.push({ id, kind: fault.kind, afterEvents: Math.round(share * options.tasks * eventsPerTask * 0.7) });
      continue;
    }
    const chain = (chains[fault.process] ??= []);
    if (fault.kind === 'kill') {
      const spread =
        (0.55 * options.tasks * passagesPerTask(fault.failpoint)) / 2 / (perProcess.get(fault.process) ?? 1);
      const hit = 1 + Math.floor(random() * Math.max(1, Math.min(spread, 40)));
      chain.push({ ...fault, id, hit });
    } else if (fault.kind === 'skew') {
      chain.push({ ...fault, id, kind: 'skew', skewMs: random() < 0.5 ? -3_600_000 : 3_600_000 });
    } else chain.push({ ...fault, id, kind: fault.kind });
  }
  return {
    seed: options.seed,
    tasks: tasksOf(options.tasks, random),
    chains,
    house,
    faults: wanted.length,
    wanted: wanted.length,
  };
}

type WantedOfProcess = Extract<Wanted, { process: ServiceProcessName }>;
type Wanted =
  | { kind: 'kill'; process: ServiceProcessName; failpoint: FailpointName }
  | { kind: Exclude<ProcessKind, 'kill'>; process: ServiceProcessName }
  | { kind: HouseKind };

const isHouse = (kind: FaultKind): kind is HouseKind => faultKinds[kind].per === 'house';
const isOfProcess = (fault: Wanted): fault is WantedOfProcess => !isHouse(fault.kind);

function faultsOf(options: PlanOptions, random: () => number): Wanted[] {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const kills = Object.entries(failpointsOf).flatMap(([service, failpoints]) =>
    failpoints.map((failpoint) => ({ service: service as keyof typeof failpointsOf, failpoint })),
  );
  const kill = ({ service, failpoint }: (typeof kills)[number]): Wanted => ({
    ...{ kind: 'kill', process: pick(replicasOf(service)), failpoint },
  });
  const other = (kind: Exclude<FaultKind, 'kill'>): Wanted =>
    isHouse(kind) ? { kind } : { kind, process: pick(targets[kind]) };
  const others = faultKindNames.filter((kind): kind is Exclude<FaultKind, 'kill'> => kind !== 'kill');

  const { only } = options;
  if (only !== undefined) {
    const count = options.faults ?? 3;
    const fitting = kills.filter(({ failpoint }) => only === 'kill' || only === failpoint);
    if (fitting.length > 0)
      return Array.from({ length: Math.max(count, 1) }, (_, at) => kill(fitting[at % fitting.length] ?? fitting[0]!));
    const kind = others.find((name) => name === only);
    if (kind === undefined) throw new Error(`there is no fault ${only}; see --list`);
    return Array.from({ length: kind === 'restore' ? 1 : count }, () => other(kind));
  }
  const standard = [...kills.map(kill), ...others.map(other)];
  const more = (options.faults ?? standard.length) - standard.length;
  if (more < 0) return shuffled(standard, random).slice(0, options.faults);
  const filled = others.flatMap((kind) => {
    const missing = Math.round(shares[kind] * (options.faults ?? 0)) - 1;
    return kind === 'restore' ? [] : Array.from({ length: Math.max(0, missing) }, () => other(kind));
  });
  const extra = filled.slice(0, more);
  const services = Object.entries(killShares).flatMap(([service, share]) =>
    Array.from({ length: share }, () => service),
  );
  while (extra.length < more) {
    const service = pick(services);
    extra.push(kill(pick(kills.filter((entry) => entry.service === service))));
  }
  return [...standard, ...extra];
}

/** One of each kind, then mostly fixes. */
function tasksOf(count: number, random: () => number): PlannedTask[] {
  const weights: readonly (readonly [TaskKind, number])[] = [
    ...([
      ['fix', 60],
      ['trap', 12],
      ['ruled', 8],
      ['waived', 6],
      ['declined', 10],
      ['cancelled', 4],
    ] as const),
  ];
  const lots = weights.flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind));
  const kinds = Array.from({ length: count }, (_, at) =>
    at < taskKinds.length ? (taskKinds[at] as TaskKind) : (lots[Math.floor(random() * lots.length)] as TaskKind),
  );
  // Handed in first, so that nobody waits for it at the end.
  kinds.sort((a, b) => Number(b === 'slow-fix') - Number(a === 'slow-fix'));
  return kinds.map((kind, at) => ({
    key: `task ${at + 1}`,
    kind,
    door: random() < 0.3 ? 'stream' : 'request',
    twice: random() < 0.25,
  }));
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const left = [...items];
  for (let at = left.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [left[at], left[other]] = [left[other] as T, left[at] as T];
  }
  return left;
}

function countBy(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
