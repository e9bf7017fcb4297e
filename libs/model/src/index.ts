export { AnswerAssembler, type ChunkReading, type Delta, type Usage } from './assembler.js';
export { historyProblem, type ChatMessage, type Sampling, type ToolCall, type ToolDefinition } from './chat.js';
export {
  complete,
  type Bytes,
  type CompletedCompletion,
  type Completion,
  type CompletionRequest,
  type FailedCompletion,
  type Timers,
} from './complete.js';
export { checkEndpoint, ForeignAddressError, guardedLookup, type Endpoint, type EndpointCheck } from './endpoint.js';
export { MODEL_FAILURES, type ModelFailureCode } from './failure.js';
export { probeHealth, type Health } from './health.js';
export { isLocalAddress } from './local-address.js';
export {
  completeWithRetry,
  DEFAULT_RETRY_POLICY,
  type Attempt,
  type RetriedCompletion,
  type RetryClock,
  type RetryPolicy,
} from './retry.js';
export { SseParser, type SseItem } from './sse.js';
export {
  admitEndpoint,
  askModel,
  homeTimers,
  modelMetrics,
  type Answered,
  type ModelAccess,
  type ModelMeters,
} from './ask.js';
export { readPrompts, type Prompts } from './prompts.js';
