import type { MetricDefinition, MetricHandles } from '@plumbline/host';

/** What the ledger measures. A test walks this list and shows that a run of the whole system moves every one of them. */
export const ledgerMetrics = [
  {
    kind: 'counter',
    name: 'plumb_log_events_total',
    help: 'Events appended, by the service that stated them.',
    labels: ['service'],
  },
  {
    kind: 'counter',
    name: 'plumb_log_refusals_total',
    help: 'Requests that the door did not take, by caller and code.',
    labels: ['service', 'code'],
  },
  {
    kind: 'histogram',
    name: 'plumb_log_append_seconds',
    help: 'Time of an append, from request to commit.',
    labels: [],
    buckets: [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
  },
  { kind: 'gauge', name: 'plumb_log_head_position', help: 'Position of the last numbered event.', labels: [] },
  {
    kind: 'gauge',
    name: 'plumb_log_epochs',
    help: 'Epochs of the log: 1, and one more for each time that events turned out to be lost or the log to be elsewhere.',
    labels: [],
  },
  { kind: 'gauge', name: 'plumb_log_relay_position', help: 'Position of the last event published to LOG.', labels: [] },
  { kind: 'counter', name: 'plumb_log_relayed_total', help: 'Events published to LOG.', labels: [] },
  {
    kind: 'counter',
    name: 'plumb_log_stream_rebuilds_total',
    help: 'Times that LOG was not a copy of the log and was made anew.',
    labels: [],
  },
  {
    kind: 'gauge',
    name: 'plumb_projection_position',
    help: 'Position up to which a read model is built.',
    labels: ['projection'],
  },
  {
    kind: 'gauge',
    name: 'plumb_projection_parked_events',
    help: 'Events that a read model could not take, with those waiting behind them.',
    labels: ['projection'],
  },
  { kind: 'counter', name: 'plumb_lease_claims_total', help: 'Claims of steps, by outcome.', labels: ['outcome'] },
  {
    kind: 'counter',
    name: 'plumb_lease_expiries_total',
    help: 'Leases that expired because their holder went silent.',
    labels: [],
  },
  {
    kind: 'counter',
    name: 'plumb_lease_stale_results_total',
    help: 'Results refused because their lease was over.',
    labels: ['service'],
  },
  { kind: 'counter', name: 'plumb_timers_fired_total', help: 'Timers that fired.', labels: [] },
  {
    kind: 'counter',
    name: 'plumb_artifact_bytes_total',
    help: 'Bytes of artifacts before compression, stored and read.',
    labels: ['direction'],
  },
  {
    kind: 'gauge',
    name: 'plumb_dead_letters',
    help: 'Messages that could not be handled and wait for somebody.',
    labels: [],
  },
] as const satisfies readonly MetricDefinition[];

export type LedgerMetrics = MetricHandles<typeof ledgerMetrics>;
