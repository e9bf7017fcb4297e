import { failpointNames } from '@plumbline/failpoint';
import type { CheckResult } from './checker.js';
import type { FaultRecord, History } from './history.js';
import { holderOf } from './house.js';
import { failpointsOf, workers } from './places.js';
import { faultKinds, type FaultKind, type Plan } from './plan.js';

export interface Tally {
  name: string;
  planned: number;
  injected: number;
  skipped: number;
}

/** The document of a run. */
export interface FaultsDocument {
  schema: 'plumbline.faults/1';
  seed: string;
  outcome: 'held' | 'violated' | 'unknown';
  durationMs: number;
  tasks: { handedIn: number; byKind: Record<string, number>; events: number };
  faults: { planned: number; injected: number; missed: number; skipped: number; kinds: Tally[]; failpoints: Tally[] };
  /** How many leases each replica of a worker was granted, and how often each process was started. */
  replicas: Record<string, { leases: number; starts: number }>;
  looked: Record<string, number>;
  findings: CheckResult['findings'];
  /** Why the outcome is unknown although nothing was found. */
  unproven: string[];
  /** Where logs and states lie, when they were kept. */
  folder?: string;
  repeat: string;
}

/** Folds what a run came to into its document. `held` only when nothing was found and nothing that was asked for is unproven. */
export function documentOf(run: {
  plan: Plan;
  history: History;
  checked: CheckResult;
  starts: Readonly<Record<string, number>>;
  durationMs: number;
  givenUp?: string;
  folder?: string;
  repeat: string;
}): FaultsDocument {
  const { plan, history, checked } = run;
  const { faults } = history;
  const of = (outcome: FaultRecord['outcome']): number => faults.filter((record) => record.outcome === outcome).length;
  const kinds = tally(faults, ({ fault }) => fault.kind);
  const failpoints = tally(faults, ({ fault }) =>
    fault.kind === 'kill' ? `${fault.process.split('/')[0] ?? ''} ${fault.failpoint}` : undefined,
  );
  const unproven = [
    ...(run.givenUp === undefined ? [] : [run.givenUp]),
    ...[...kinds, ...failpoints]
      .filter((entry) => entry.injected === 0 && entry.skipped < entry.planned)
      .map((entry) => `${entry.name} was planned ${entry.planned} times and never happened`),
    ...(of('injected') + of('skipped') < plan.wanted
      ? [`${of('injected')} faults happened, ${plan.wanted} were asked for`]
      : []),
  ];
  const replicas: FaultsDocument['replicas'] = {};
  for (const [process, starts] of Object.entries(run.starts)) {
    const granted = history.events.filter(
      ({ type, data }) => type === 'lease.granted' && data['holder'] === holderOf(process),
    );
    replicas[process] = { leases: granted.length, starts };
    const worker = (workers as readonly string[]).includes(process.split('/')[0] ?? '');
    if (worker && granted.length === 0)
      unproven.push(`${process} was never given a step: one replica did all the work`);
  }
  const byKind: Record<string, number> = {};
  for (const { kind } of history.tasks) byKind[kind] = (byKind[kind] ?? 0) + 1;
  return {
    schema: 'plumbline.faults/1',
    seed: plan.seed,
    outcome: checked.outcome === 'held' && unproven.length > 0 ? 'unknown' : checked.outcome,
    durationMs: Math.round(run.durationMs),
    tasks: { handedIn: history.tasks.length, byKind, events: history.events.length },
    faults: {
      planned: plan.faults,
      injected: of('injected'),
      missed: of('missed'),
      skipped: of('skipped'),
      kinds,
      failpoints,
    },
    replicas,
    looked: checked.looked,
    findings: checked.findings,
    unproven,
    ...(run.folder === undefined ? {} : { folder: run.folder }),
    repeat: run.repeat,
  };
}

function tally(faults: readonly FaultRecord[], nameOf: (record: FaultRecord) => string | undefined): Tally[] {
  const found = new Map<string, Tally>();
  for (const record of faults) {
    const name = nameOf(record);
    if (name === undefined) continue;
    const entry = found.get(name) ?? { name, planned: 0, injected: 0, skipped: 0 };
    found.set(name, entry);
    entry.planned += 1;
    if (record.outcome === 'injected') entry.injected += 1;
    if (record.outcome === 'skipped') entry.skipped += 1;
  }
  return [...found.values()].sort((a, b) => a.name.localeCompare(b.name));
}

/** The document for people. */
export function textOf(document: FaultsDocument, records: readonly FaultRecord[]): string {
  const { faults, tasks, findings, unproven } = document;
  const row = ({ name, planned, injected, skipped }: Tally): string =>
    `  ${name.padEnd(34)} ${String(injected).padStart(5)} of ${String(planned).padStart(4)}${skipped > 0 ? `  skipped ${skipped}` : ''}`;
  const missing = records.filter(({ outcome }) => outcome !== 'injected');
  return [
    '',
    `seed ${document.seed}: ${faults.injected} faults over ${tasks.handedIn} tasks in ${Math.round(document.durationMs / 1000)} s, ${tasks.events} events`,
    `tasks: ${Object.entries(tasks.byKind)
      .map(([kind, count]) => `${count} ${kind}`)
      .join(', ')}`,
    '',
    'faults that happened, of those that were planned',
    ...faults.kinds.map(row),
    '',
    'killed at',
    ...faults.failpoints.map(row),
    ...(missing.length > 0 ? ['', 'did not happen'] : []),
    ...missing
      .slice(0, 40)
      .map(({ fault, outcome, evidence }) => `  ${outcome} ${describeFault(fault)}: ${evidence.slice(0, 300)}`),
    '',
    'processes, with the leases they were granted and how often they were started',
    ...Object.entries(document.replicas).map(
      ([process, { leases, starts }]) =>
        `  ${process.padEnd(14)} ${String(leases).padStart(5)} leases ${String(starts).padStart(5)} starts`,
    ),
    '',
    'checked',
    ...Object.entries(document.looked).map(([name, looked]) => {
      const wrong = findings.filter(({ invariant }) => invariant === name).length;
      return `  ${wrong === 0 ? 'held' : `${wrong} WRONG`}  ${name} (${looked})`;
    }),
    ...(findings.length > 0 ? ['', 'findings'] : []),
    ...findings.slice(0, 40).map(({ invariant, subject, detail }) => `  ${invariant}: ${subject}: ${detail}`),
    ...(unproven.length > 0 ? ['', 'unproven'] : []),
    ...unproven.map((line) => `  ${line}`),
    '',
    document.outcome === 'held'
      ? `held: none lost, none doubled`
      : `${document.outcome}; repeat with: ${document.repeat}${document.folder === undefined ? '' : `\nlogs and states: ${document.folder}`}`,
    '',
  ].join('\n');
}

export function describeFault(fault: FaultRecord['fault']): string {
  switch (fault.kind) {
    case 'kill':
      return `#${fault.id} kill ${fault.process} at ${fault.failpoint} (passage ${fault.hit})`;
    case 'skew':
      return `#${fault.id} skew ${fault.process} by ${fault.skewMs / 60_000} min`;
    default:
      return 'process' in fault
        ? `#${fault.id} ${fault.kind} ${fault.process}`
        : `#${fault.id} ${fault.kind} after ${fault.afterEvents} events`;
  }
}

/** What there is to inject, and this seed's schedule. */
export function listOf(plan: Plan): string {
  const kinds = Object.entries(faultKinds) as [FaultKind, { does: string }][];
  const faults = [...Object.values(plan.chains).flatMap((chain) => chain ?? []), ...plan.house].sort(
    (a, b) => a.id - b.id,
  );
  const services = (name: string): string =>
    Object.entries(failpointsOf)
      .filter(([, names]) => (names as readonly string[]).includes(name))
      .map(([service]) => service)
      .join(', ');
  return [
    'kinds',
    ...kinds.map(([name, { does }]) => `  ${name.padEnd(18)} ${does}`),
    '',
    'failpoints',
    ...failpointNames.map((name) => `  ${name.padEnd(22)} ${services(name)}`),
    '',
    `schedule of seed ${plan.seed}: ${plan.faults} faults over ${plan.tasks.length} tasks`,
    ...faults.map((fault) => `  ${describeFault(fault)}`),
    '',
  ].join('\n');
}
