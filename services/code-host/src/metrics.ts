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
] as const;
export type CodeHostMetrics = MetricHandles<typeof codeHostMetrics>;
