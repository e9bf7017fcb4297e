export { gateFailed, gatingHandler, type GateMeans } from './gating-step.js';
export { gateMetrics, type GateMetrics } from './metrics.js';
