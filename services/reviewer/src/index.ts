export { reviewerMetrics, type ReviewerMetrics } from './metrics.js';
export { loadPrompts, type Prompts } from './prompts.js';
export { reviewFailed, reviewHandler, type ReviewerMeans } from './review-step.js';
