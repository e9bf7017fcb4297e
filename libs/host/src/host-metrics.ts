import type { MetricDefinition } from './metrics.js';

/** What every service measures besides the defaults of its process. */
export const hostMetrics = [
  {
    kind: 'counter',
    name: 'plumb_http_requests_total',
    help: 'HTTP requests answered, by method, route and status; unknown routes count as "other".',
    labels: ['method', 'route', 'status'],
  },
  {
    kind: 'histogram',
    name: 'plumb_http_request_duration_seconds',
    help: 'Time from the head of a request to the end of its answer, by method and route.',
    labels: ['method', 'route'],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
  },
  {
    kind: 'gauge',
    name: 'plumb_nats_connected',
    help: '1 while this service is connected to NATS, else 0.',
    labels: [],
  },
  {
    kind: 'gauge',
    name: 'plumb_failpoints_armed',
    help: 'Places at which this process was told to die or to stop. Anything but 0 is a test.',
    labels: [],
  },
  {
    kind: 'gauge',
    name: 'plumb_dependency_ready',
    help: '1 if the dependency was ready when this page was made, else 0, as /ready would say.',
    labels: ['dependency'],
  },
] as const satisfies readonly MetricDefinition[];
