import { serviceNames, type ServiceName } from '@plumbline/domain';
import type { FailpointName } from '@plumbline/failpoint';
import type { ServiceProcessName } from '@plumbline/testing';

/** Which service passes which failpoints on the way of a task; the suite kills each of them at each of its own. */
const step: readonly FailpointName[] = ['step.claimed', 'step.acknowledged', 'step.worked', 'step.recorded'];

export const failpointsOf: Readonly<Record<ServiceName, readonly FailpointName[]>> = {
  ledger: [
    ...(['append.received', 'append.sent', 'append.committed', 'door.answered'] as const),
    ...(['sequence.sent', 'sequence.committed', 'relay.sent', 'relay.published'] as const),
    ...(['projection.written', 'projection.swapped', 'artifact.chunk-stored'] as const),
    ...(['sweeper.swept', 'lease.granted'] as const),
  ],
  scheduler: ['intake.received', 'intake.recorded', 'decision.made', 'decision.recorded'],
  'code-host': [...step, 'artifact.part-sent', 'publish.pushing', 'publish.pushed'],
  coder: [...step, 'step.fact-recorded', 'artifact.part-sent'],
  gate: [...step, 'step.fact-recorded', 'artifact.part-sent'],
  reviewer: [...step, 'artifact.part-sent'],
  'node-agent': ['fact.spooled', 'fact.recorded'],
};

/** Those that work under leases. */
export const workers = ['code-host', 'coder', 'gate', 'reviewer'] as const satisfies readonly ServiceName[];
export type Worker = (typeof workers)[number];

/** Two of every service. */
export const processes: readonly ServiceProcessName[] = serviceNames.flatMap((name) => [name, `${name}/2` as const]);
export const replicasOf = (service: ServiceName): ServiceProcessName[] => [service, `${service}/2`];
export const serviceOf = (process: ServiceProcessName): ServiceName => process.split('/')[0] as ServiceName;

/**
 * How often a place is passed, roughly, while one task walks to its end: decides at which passage the long form kills, so that the faults
 * of a process are spread over the tasks instead of meeting the first of them.
 */
const passages: Partial<Record<FailpointName, number>> = {
  // Passed at a start, and hardly ever again.
  'projection.swapped': 0,
  'fact.spooled': 0,
  'fact.recorded': 0,
  'append.received': 30,
  'append.sent': 30,
  'append.committed': 30,
  'door.answered': 60,
  'sequence.sent': 30,
  'sequence.committed': 30,
  'relay.sent': 30,
  'relay.published': 30,
  'projection.written': 60,
  'decision.made': 9,
  'decision.recorded': 9,
};
export const passagesPerTask = (failpoint: FailpointName): number => passages[failpoint] ?? 1;
