import { modelMetrics } from '@plumbline/model';
import type { MetricDefinition, MetricHandles } from '@plumbline/host';

/** What the reviewer measures. */
export const reviewerMetrics = [
  {
    kind: 'counter',
    name: 'plumb_reviews_total',
    help: 'Reviews as answered, before any rail looked at them.',
    labels: ['seat', 'decision'],
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
export type ReviewerMetrics = MetricHandles<typeof reviewerMetrics>;
