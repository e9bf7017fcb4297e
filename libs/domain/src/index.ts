export {
  batchDocumentSchema,
  batchEntries,
  batchNameOf,
  batchNameSchema,
  batchParallelDefault,
  batchParallelMax,
  batchSource,
  batchTasksMax,
  entryDifferences,
  soundPart,
} from './batch/batch.js';
export type { BatchDocument, BatchEntry, EntryDifference } from './batch/batch.js';
export {
  checkIdSchema,
  checkIds,
  checkResultSchema,
  findingSchema,
  outcomeSchema,
  railIds,
  reasonIdSchema,
} from './check.js';
export type { CheckId, CheckResult, Finding, Outcome, RailId, ReasonId } from './check.js';
export {
  auditDocumentSchema,
  benchDocumentSchema,
  biteGradeSchema,
  checkDocumentSchema,
  deadDocumentSchema,
  demoDocumentSchema,
  doctorDocumentSchema,
  errorDocumentSchema,
  escalationDocumentSchema,
  escalationsDocumentSchema,
  eventDocumentSchema,
  publishedVerdictSchema,
  taskDocumentSchema,
  taskStateSchema,
  tasksDocumentSchema,
  whyDocumentSchema,
  whyReasonSchema,
} from './contracts.js';
export type {
  AuditDocument,
  BenchDocument,
  CheckDocument,
  DeadDocument,
  DemoDocument,
  DoctorDocument,
  ErrorDocument,
  EscalationDocument,
  EscalationsDocument,
  EventDocument,
  TaskDocument,
  TasksDocument,
  WhyDocument,
  WhyReason,
} from './contracts.js';
export { cut } from './cut.js';
export {
  appendRequestSchema,
  doorServices,
  doorSubject,
  leaseHeartbeatMs,
  leaseRequestSchema,
  leaseSelfAbortMs,
  leaseTtlMs,
  readRequestSchema,
} from './door.js';
export type {
  AppendReply,
  AppendRequest,
  ClaimReply,
  HeartbeatReply,
  LeaseRequest,
  ReadRequest,
  ReleaseReply,
  StreamPage,
  WireEvent,
} from './door.js';
export {
  cloudEventType,
  eventCatalogue,
  eventTypes,
  isEventType,
  logSubject,
  offeredModelSchema,
  poolSchema,
  seatedModelSchema,
} from './events/catalogue.js';
export type {
  EventData,
  EventType,
  OfferedModel,
  PlumblineEvent,
  Pool,
  RecordedEvent,
  SeatedModel,
} from './events/catalogue.js';
export { decodeEvent, upcasters } from './events/codec.js';
export type { Decoded, Schemas, Upcasters } from './events/codec.js';
export { faultCodeNames, faultCodes, retryDelayMs } from './faults.js';
export type { Fault, FaultAction, FaultCode, FaultRule } from './faults.js';
export { admit, evolveFleet, grantedBytes, initialFleet } from './fleet/fleet.js';
export type { Admission, FleetState, SeatNeed, WaitReason } from './fleet/fleet.js';
export {
  artifactDocumentSchema,
  fleetDocumentSchema,
  headDocumentSchema,
  logDocumentSchema,
  problemDocumentSchema,
  verdictDocumentSchema,
  verdictsDocumentSchema,
} from './ledger-documents.js';
export type {
  ArtifactDocument,
  FleetDocument,
  HeadDocument,
  LogDocument,
  ProblemDocument,
  VerdictDocument,
  VerdictsDocument,
} from './ledger-documents.js';
export { instantSchema } from './instant.js';
export type { Instant } from './instant.js';
export {
  cancellationSchema,
  intakeKinds,
  issueSchema,
  parseIntake,
  prioritySchema,
  problemSchema,
  problemsOf,
  refusalSchema,
  resolvePolicy,
  retrySchema,
  rulingSchema,
  submissionSchema,
} from './intake.js';
export type { IntakeKind, Issue, Problem, Refusal, Submission } from './intake.js';
export { namedPaths, scopeCheck } from './issue-paths.js';
export type { NamedPaths, ScopeResult } from './issue-paths.js';
export { issueProse, splitClauses } from './issue-clauses.js';
export type { Clause } from './issue-clauses.js';
export {
  artifactRefSchema,
  digestSchema,
  fleetStream,
  modelNameSchema,
  nodeIdSchema,
  nodeStream,
  objectIdSchema,
  parseStepId,
  serviceNameSchema,
  serviceNames,
  stepId,
  stepIdSchema,
  stepKinds,
  stepWorkers,
  streamEntity,
  taskIdSchema,
  taskStream,
} from './names.js';
export type { ArtifactRef, ServiceName, StepId, StepKind, StepName, TaskId } from './names.js';
export { noticeDocumentSchema, noticeKindOf, noticeKinds, noticeOf } from './notice/notice.js';
export type { NoticeDocument, NoticeKind } from './notice/notice.js';
export { webhookSchema, webhooksSchema } from './notice/webhooks.js';
export type { Webhook } from './notice/webhooks.js';
export { effectOf, policySchema, shippedPolicies } from './policy.js';
export type { Effect, Policy } from './policy.js';
export { evidenceRail, foldText, quoteProblem } from './rails/evidence.js';
export type { RailResult, ReviewContext } from './rails/evidence.js';
export { isGrounded, stoppingFindings } from './rails/grounding.js';
export { scopeOverlap } from './rails/scope.js';
export { reportDocumentSchema } from './report/document.js';
export type { ReportDocument, ReportSystem, ReportTask } from './report/document.js';
export { reportMarkdown } from './report/markdown.js';
export { reportOf } from './report/report.js';
export type { ReportInput } from './report/report.js';
export type { ReportEvent } from './report/task-report.js';
export { reportText } from './report/text.js';
export type { ReportLook, ReportTone } from './report/text.js';
export { parseRepositoryUrl, parseRevision } from './repository-address.js';
export type { AddressProblem, Parsed, RepositoryUrl } from './repository-address.js';
export { hunkRefSchema, reviewBrief, reviewSchema } from './review.js';
export type { ClauseAnswer, HunkRef, Review, ReviewBrief, ReviewFinding } from './review.js';
export { seededRandom } from './seeded.js';
export { decide } from './task/decide.js';
export type { Decision, TaskInput } from './task/decide.js';
export { effectsOf } from './task/effects.js';
export type { DecisionEffects } from './task/effects.js';
export { evolve } from './task/evolve.js';
export { explainWait, projectTask } from './task/project.js';
export { summariseEvent } from './task/summaries.js';
export { factsOf } from './task/react.js';
export { branchName, publishLabel } from './task/request.js';
export { currentAttempt, initialTask, latestStep, liveSteps, openEscalation, stepsOf } from './task/state.js';
export type { AttemptState, EscalationState, StepState, TaskPhase, TaskState } from './task/state.js';
export { redactor } from './redact.js';
export { architectures } from './sizing/architecture-table.js';
export { launchFlags } from './sizing/launch.js';
export type { Launch, LaunchOptions, SizingDevice } from './sizing/launch.js';
export type { MetadataValue, ModelHeader, TensorInfo } from './sizing/model-header.js';
export type { Sized, SizingRefusal, SizingRefusalCode } from './sizing/refusal.js';
export { sizeDocumentSchema } from './sizing/size-document.js';
export type { SizeDocument } from './sizing/size-document.js';
export { sizeModel, totalOf } from './sizing/size-model.js';
export type { Companions, ModelSize, SizeComponents } from './sizing/size-model.js';
export { sizeSafetensors } from './sizing/size-safetensors.js';
export type {
  SafetensorsModel,
  SafetensorsOptions,
  SafetensorsRuntime,
  SafetensorsSize,
} from './sizing/size-safetensors.js';
export { marginBytes, sizeSources } from './sizing/source-chain.js';
export type { ChainStep, Confidence, SizeSource } from './sizing/source-chain.js';
export { cacheTypeNames } from './sizing/tensor-types.js';
export type { CacheTypeName } from './sizing/tensor-types.js';
export { tensorStorage } from './sizing/weights.js';
export { StepFault } from './step-fault.js';
export { adjudicate, judgementSchema, reasonSchema, verdictSchema } from './verdict.js';
export type { Facts, Judgement, Reason, Verdict } from './verdict.js';
