export { attemptEnded, codingHandler, type CoderMeans } from './coding-step.js';
export { coderMetrics, type CoderMetrics } from './metrics.js';
export { loadPrompts, type Prompts } from './prompts.js';
export { turnRecordSchema, type TurnRecord } from './turn-record.js';
