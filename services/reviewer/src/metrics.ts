import type { MetricDefinition, MetricHandles } from '@plumbline/host';

/** What the reviewer measures. */
export const reviewerMetrics = [
  {
    kind: 'counter',
    name: 'plumb_reviews_total',
    help: 'Reviews as answered, before any rail looked at them.',
    labels: ['seat', 'decision'],
  },
  {
    kind: 'counter',
    name: 'plumb_model_calls_total',
    help: 'Requests to model servers by how they ended.',
    labels: ['outcome'],
  },
  {
    kind: 'counter',
    name: 'plumb_model_tokens_total',
    help: 'Tokens as model servers counted them.',
    labels: ['kind'],
  },
  {
    kind: 'counter',
    name: 'plumb_model_bytes_total',
    help: 'Bytes to and from each model endpoint.',
    labels: ['endpoint', 'direction'],
  },
  {
    kind: 'histogram',
    name: 'plumb_model_first_token_seconds',
    help: 'From a request to its first token.',
    labels: [],
    buckets: [0.1, 0.3, 1, 3, 10, 30, 100, 300],
  },
  {
    kind: 'histogram',
    name: 'plumb_step_duration_seconds',
    help: 'Steps from delivery to their end.',
    labels: ['kind', 'outcome'],
    buckets: [1, 5, 15, 60, 300, 900, 3600, 7200],
  },
] as const satisfies readonly MetricDefinition[];
export type ReviewerMetrics = MetricHandles<typeof reviewerMetrics>;
