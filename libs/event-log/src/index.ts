export type {
  AppendBatch,
  AppendedStream,
  AppendResult,
  Fence,
  NewEvent,
  NewTimer,
  StreamAppend,
  TaskStream,
} from './append-batch.js';
export {
  Artifacts,
  type ArtifactStat,
  type GetArtifactResult,
  type PutArtifactOptions,
  type PutArtifactResult,
} from './artifacts.js';
export { auditLog, type AuditedEpoch, type AuditFinding, type AuditReport } from './audit.js';
export { chainHash, genesisHash, type ChainedFields } from './chain.js';
export { ChainWatch, type ChainState, type ChainWatchOptions } from './chain-watch.js';
export { InvalidInputError, OperationalError } from './errors.js';
export { eventIdOf } from './event-id.js';
export { defaultEventTypes, EventLog, type EventLogOptions, type LogHead } from './event-log.js';
export { createLedgerPool, probeDatabase } from './ledger-pool.js';
export {
  Leases,
  type ClaimRequest,
  type ClaimResult,
  type ExpiredLease,
  type HeartbeatRequest,
  type HeartbeatResult,
  type LeaseEventData,
  type LogEventTypes,
  type OpenStep,
  type ReleaseRequest,
  type ReleaseResult,
} from './leases.js';
export { migrate, type MigrateOptions } from './migrate.js';
export type { ParkedEvent, Projection } from './projection.js';
export { Projector, type ProjectorOptions } from './projector.js';
export type { RecordedEvent, StreamEvent } from './recorded-event.js';
export { Sequencer, type SequencerOptions } from './sequencer.js';
export { tableHash } from './table-hash.js';
export { Timers, type FiredTimer, type TimerEventData } from './timers.js';
