export { gatingStep, type GatingTools } from './gating-step.js';
export { gateMetrics } from './metrics.js';
