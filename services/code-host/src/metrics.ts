import type { MetricHandles } from '@plumbline/host';

/** What the code-host measures. */
export const codeHostMetrics = [
  { kind: 'counter', name: 'plumb_code_host_snapshot_bytes_total', help: 'Bytes of snapshots taken.', labels: [] },
  {
    kind: 'counter',
    name: 'plumb_code_host_publications_total',
    help: 'Publications asked for, by how they ended.',
    labels: ['outcome'],
  },
  {
    kind: 'histogram',
    name: 'plumb_step_duration_seconds',
    help: 'Steps from delivery to their end.',
    labels: ['kind', 'outcome'],
    buckets: [1, 5, 15, 60, 300, 900],
  },
] as const;
export type CodeHostMetrics = MetricHandles<typeof codeHostMetrics>;
