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
] as const satisfies readonly MetricDefinition[];
export type CoderMetrics = MetricHandles<typeof coderMetrics>;
