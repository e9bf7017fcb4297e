export { stepFailed } from './code-host.module.js';
export { codeHostMetrics } from './metrics.js';
export { originOf, revisionOf } from './origin.js';
export { publishable, publishStep } from './publish-step.js';
export { takeSnapshotStep } from './snapshot-step.js';
