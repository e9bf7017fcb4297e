import type { MetricDefinition, MetricHandles } from '@plumbline/host';

/** What the code-host measures. */
export const codeHostMetrics = [
  {
    kind: 'counter',
    name: 'plumb_snapshots_total',
    help: 'Snapshots of base, by how they ended.',
    labels: ['outcome'],
  },
  {
    kind: 'counter',
    name: 'plumb_published_changes_total',
    help: 'Changes to be published, by how that ended.',
    labels: ['outcome'],
  },
] as const satisfies readonly MetricDefinition[];

export type CodeHostMetrics = MetricHandles<typeof codeHostMetrics>;
