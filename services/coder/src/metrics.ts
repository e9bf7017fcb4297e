import { modelMetrics } from '@plumbline/model';
import type { MetricDefinition, MetricHandles } from '@plumbline/host';

/** What the coder measures. */
export const coderMetrics = [
  { kind: 'counter', name: 'plumb_coder_turns_total', help: 'Turns recorded.', labels: ['model'] },
  {
    kind: 'counter',
    name: 'plumb_coder_tool_calls_total',
    help: 'Tool calls by how they ended.',
    labels: ['tool', 'outcome'],
  },
  ...modelMetrics,
  {
    kind: 'histogram',
    name: 'plumb_step_duration_seconds',
    help: 'Steps from delivery to their end.',
    labels: ['kind', 'outcome'],
    buckets: [1, 5, 15, 60, 300, 900, 3600, 7200],
  },
] as const satisfies readonly MetricDefinition[];
export type CoderMetrics = MetricHandles<typeof coderMetrics>;
