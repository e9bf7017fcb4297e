import { StepFault } from '@plumbline/bus';
import type { FaultCode, SeatedModel } from '@plumbline/domain';
import {
  checkEndpoint,
  completeWithRetry,
  type Attempt,
  type ChatMessage,
  type CompletedCompletion,
  type RetryPolicy,
  type Sampling,
  type Timers,
} from '@plumbline/model';
import type { ReviewerMetrics } from './metrics.js';

/** How models are reached: which hosts outside the house are allowed by name, and how patient to be. */
export interface ModelAccess {
  readonly allowHosts: readonly string[];
  readonly timers: (promptChars: number) => Timers;
  /** Default: that of the model client. */
  readonly retryPolicy?: RetryPolicy;
}

/** Timers for models on hardware of the house: a long prompt may be read at 50 tokens a second before the first token comes. */
export function homeTimers(promptChars: number): Timers {
  const readingMs = (promptChars / 4 / 50) * 1_000;
  return { connectMs: 10_000, firstTokenMs: Math.round(120_000 + readingMs), stallMs: 180_000, turnMs: 3_600_000 };
}

/** Refuses an endpoint outside the house before a word of the issue is sent. @throws StepFault */
export async function admitEndpoint(model: SeatedModel, access: ModelAccess): Promise<void> {
  const check = await checkEndpoint(model.endpoint, { allowHosts: access.allowHosts });
  if (check.outcome === 'refused') throw new StepFault('CONFIG_INVALID', check.message);
  if (check.outcome === 'unresolved') throw new StepFault('ENDPOINT_UNREACHABLE', check.message);
}

/** A complete answer, and the tries it took. */
export interface Answered {
  readonly completion: CompletedCompletion;
  readonly tries: readonly Attempt[];
}

/** Asks the seated model once, with the client's retries. Ends in a complete answer or in a StepFault with the client's code. */
export async function askModel(request: {
  readonly model: SeatedModel;
  readonly messages: readonly ChatMessage[];
  readonly sampling: Sampling;
  readonly access: ModelAccess;
  readonly metrics: ReviewerMetrics;
  readonly signal: AbortSignal;
}): Promise<Answered> {
  const { model, messages, sampling, access, metrics, signal } = request;
  const promptChars = messages.reduce((sum, { content }) => sum + content.length, 0);
  const endpoint = { baseUrl: model.endpoint, allowHosts: access.allowHosts };
  const { completion, attempts, bytes } = await completeWithRetry(
    { endpoint, model: model.name, messages, sampling, timers: access.timers(promptChars), signal },
    access.retryPolicy === undefined ? {} : { policy: access.retryPolicy },
  );
  const host = new URL(model.endpoint).host;
  metrics.plumb_model_bytes_total.inc(bytes.sent, { endpoint: host, direction: 'sent' });
  metrics.plumb_model_bytes_total.inc(bytes.received, { endpoint: host, direction: 'received' });
  for (const { completion: each } of attempts)
    metrics.plumb_model_calls_total.inc(1, { outcome: each.outcome === 'complete' ? 'complete' : each.code });
  signal.throwIfAborted();
  if (completion.outcome === 'failed')
    throw new StepFault(faultOf(completion.code), completion.message.slice(0, 1_900));
  if (sizeOf(completion) > answerCharsMax)
    throw new StepFault(
      'DEGENERATE_OUTPUT',
      `the answer has ${sizeOf(completion)} characters, far beyond the output limit`,
    );
  metrics.plumb_model_first_token_seconds.observe(completion.timings.ttftMs / 1_000);
  metrics.plumb_model_tokens_total.inc(completion.usage?.promptTokens ?? 0, { kind: 'prompt' });
  metrics.plumb_model_tokens_total.inc(completion.usage?.completionTokens ?? 0, { kind: 'completion' });
  return { completion, tries: attempts };
}

/** An answer is held, stored and parsed whole; a server that ignores the output limit must not decide how much that is. */
const answerCharsMax = 4 << 20;
const sizeOf = ({ content, reasoning, toolCalls }: CompletedCompletion): number =>
  toolCalls.reduce((sum, call) => sum + call.arguments.length, content.length + reasoning.length);

/** The client's codes are codes of the taxonomy, but for the one that it never ends with. */
const faultOf = (code: Exclude<Attempt['completion'], CompletedCompletion>['code']): FaultCode =>
  code === 'MODEL_LOADING' ? 'MODEL_LOADING_TIMEOUT' : code;
