import type { MetricDefinition, MetricHandles } from '@plumbline/host';

/** What the scheduler measures. A test walks this list and shows that a run of the whole system moves every one of them. */
export const schedulerMetrics = [
  {
    kind: 'counter',
    name: 'plumb_intake_total',
    help: 'What people handed in, by kind and outcome.',
    labels: ['kind', 'outcome'],
  },
  { kind: 'counter', name: 'plumb_verdicts_total', help: 'Verdicts reached.', labels: ['verdict', 'policy'] },
  {
    kind: 'counter',
    name: 'plumb_verdict_reasons_total',
    help: 'Reasons of verdicts, by check and effect.',
    labels: ['check', 'effect'],
  },
  { kind: 'counter', name: 'plumb_tasks_closed_total', help: 'Tasks that ended, by outcome.', labels: ['outcome'] },
  { kind: 'counter', name: 'plumb_escalations_total', help: 'Escalations opened, by target.', labels: ['target'] },
  {
    kind: 'counter',
    name: 'plumb_step_retries_total',
    help: 'Tries of steps after a failure, by the code of the failure.',
    labels: ['code'],
  },
  {
    kind: 'counter',
    name: 'plumb_step_requests_total',
    help: 'Requests of steps, by kind; a repeated request counts again.',
    labels: ['kind'],
  },
  { kind: 'gauge', name: 'plumb_waiting_steps', help: 'Steps that wait for a model.', labels: [] },
  {
    kind: 'gauge',
    name: 'plumb_oldest_waiting_seconds',
    help: 'Age of the oldest task that waits for a model.',
    labels: [],
  },
  {
    kind: 'gauge',
    name: 'plumb_granted_bytes',
    help: 'Memory granted to models, by node and pool.',
    labels: ['node', 'pool'],
  },
  { kind: 'counter', name: 'plumb_reconciliations_total', help: 'Rounds of the reconciler.', labels: [] },
] as const satisfies readonly MetricDefinition[];

export type SchedulerMetrics = MetricHandles<typeof schedulerMetrics>;
