import { diskMetrics, type MetricDefinition } from '@plumbline/host';

/** What the node-agent measures. */
export const nodeAgentMetrics = [
  {
    kind: 'gauge',
    name: 'plumb_node_memory_budget_bytes',
    help: 'Memory that models on this node may take together.',
    labels: [],
  },
  {
    kind: 'gauge',
    name: 'plumb_node_models',
    help: 'Models offered by this node, by state at the last probe.',
    labels: ['state'],
  },
  {
    kind: 'gauge',
    name: 'plumb_node_spooled_facts',
    help: 'Facts on disk that the ledger has not recorded yet.',
    labels: [],
  },
  {
    kind: 'counter',
    name: 'plumb_node_probes_total',
    help: 'Probes of model endpoints, by outcome.',
    labels: ['outcome'],
  },
  ...diskMetrics,
] as const satisfies readonly MetricDefinition[];
