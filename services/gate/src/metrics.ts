import type { MetricHandles } from '@plumbline/host';

/** What the gate measures. */
export const gateMetrics = [
  {
    kind: 'counter',
    name: 'plumb_gate_checks_total',
    help: 'Checks concluded, by outcome.',
    labels: ['check', 'outcome'],
  },
  {
    kind: 'histogram',
    name: 'plumb_gate_check_seconds',
    help: 'Time a check took.',
    labels: ['check'],
    buckets: [0.1, 0.5, 1, 5, 15, 60, 300, 900],
  },
] as const;
export type GateMetrics = MetricHandles<typeof gateMetrics>;
