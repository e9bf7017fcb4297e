export { nodeAgentConfig, type NodeAgentConfig } from './config.js';
export { nodeAgentMetrics } from './metrics.js';
