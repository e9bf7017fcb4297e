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
] as const satisfies readonly MetricDefinition[];
export type ReviewerMetrics = MetricHandles<typeof reviewerMetrics>;
