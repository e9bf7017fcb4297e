export { authorisePublication, type Authorisation } from './authorise-publication.js';
export type { CodeHostMeans } from './code-host-means.js';
export { codeHostMetrics, type CodeHostMetrics } from './metrics.js';
export { publishingHandler } from './publishing-step.js';
export type { HostAccess } from './repository-access.js';
export { codeHostFailed, snapshotHandler } from './snapshot-step.js';
