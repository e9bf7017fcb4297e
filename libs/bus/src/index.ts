export { backoffMs, type Backoff } from './backoff.js';
export { parseJson, PROTOTYPE_KEYS, type JsonLimits, type JsonResult } from './bounded-json.js';
export { atLeast, capabilities, MINIMUM_SERVER, parseVersion, type Capabilities } from './capabilities.js';
export { parseCloudEvent, type CloudEvent, type CloudEventProblem, type CloudEventResult } from './cloudevents.js';
export { toBinaryHeaders, toStructured } from './cloudevents-write.js';
export { connectBus, type Bus, type BusOptions, type BusStatus } from './connection.js';
export {
  consume,
  type BusMessage,
  type ConsumeOptions,
  type ConsumeSettings,
  type Consumption,
  type Handler,
  type Origin,
  type Outcome,
} from './consume.js';
export { consumeService, type ConsumeServiceOptions, type DurableHandler } from './consume-service.js';
export { originalBody, parseDeadLetter, type DeadLetter } from './dead-letter.js';
export { dropDead, listDead, retryDead, type DeadEntry, type DeadPage } from './dead-letter-admin.js';
export {
  ensureDurables,
  ensureStreams,
  ensureTopology,
  epochOf,
  recreateLog,
  type TopologyChange,
  type TopologyOptions,
} from './ensure-topology.js';
export { BusError, describeError, retryOf, type BusErrorCode, type Retry } from './errors.js';
export { headerValue, headerValues, type HeaderSource } from './headers.js';
export { IDENTITIES, inboxPrefixOf, type Identity, type IdentityName } from './identities.js';
export { publishLive } from './live.js';
export { natsConfig, type NatsConfigOptions } from './nats-config.js';
export { type BindingState } from './pull-session.js';
export {
  logMessageId,
  logState,
  publishLog,
  verifyLog,
  type CopiedEvent,
  type LogMessage,
  type LogOutcome,
  type LogState,
  type LogVerification,
} from './relay.js';
export { refuse, type Reply, type ReplyError } from './reply.js';
export { request, type RequestOptions } from './request.js';
export { serve, type RequestContext, type RequestHandler, type ServeOptions, type Serving } from './serve.js';
export { isInbox, isToken } from './subject.js';
export {
  DURABLES,
  findDurable,
  MAX_MESSAGE_BYTES,
  MAX_PAYLOAD_BYTES,
  STREAMS,
  type Durable,
  type StreamName,
  type StreamSpec,
} from './topology.js';
export { contextFromTraceparent, extractTrace, injectTrace, traceparentOf, withSpan } from './trace.js';
export { ArtifactClient, ArtifactError, mediaTypeHeader } from './artifact-client.js';
export { Evidence, type ArtifactDoor } from './evidence.js';
export { commandId } from './command-id.js';
export { taskIdOf } from './task-identity.js';
export { LedgerClient, LedgerRefusal, UnreadableHistory, type OpenTask, type TaskHistory } from './ledger-client.js';
export { StepStopped, StepWorker, type HeldStep, type StepReport, type StepWorkerOptions } from './step-worker.js';
