import { StepFault, type FaultCode, type SeatedModel } from '@plumbline/domain';
import type { Delta } from './assembler.js';
import type { ChatMessage, Sampling, ToolDefinition } from './chat.js';
import type { CompletedCompletion, Timers } from './complete.js';
import { checkEndpoint } from './endpoint.js';
import { completeWithRetry, type Attempt, type RetryPolicy } from './retry.js';

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

/** What a service that asks models measures; registered with its own metrics. */
export const modelMetrics = [
  {
    kind: 'counter',
    name: 'plumb_model_calls_total',
    help: 'Requests to model servers by how they ended.',
    labels: ['outcome'],
  },
  {
    kind: 'counter',
    name: 'plumb_model_tokens_total',
    help: 'Tokens as model servers counted them.',
    labels: ['kind'],
  },
  {
    kind: 'counter',
    name: 'plumb_model_bytes_total',
    help: 'Bytes to and from each model endpoint.',
    labels: ['endpoint', 'direction'],
  },
  {
    kind: 'histogram',
    name: 'plumb_model_first_token_seconds',
    help: 'From a request to its first token.',
    labels: [],
    buckets: [0.1, 0.3, 1, 3, 10, 30, 100, 300],
  },
] as const;

/** The handles of {@link modelMetrics}. */
export interface ModelMeters {
  readonly plumb_model_calls_total: { inc(by: number, labels: { outcome: string }): void };
  readonly plumb_model_tokens_total: { inc(by: number, labels: { kind: string }): void };
  readonly plumb_model_bytes_total: { inc(by: number, labels: { endpoint: string; direction: string }): void };
  readonly plumb_model_first_token_seconds: { observe(value: number): void };
}

/** Refuses an endpoint outside the house before a word of the issue is sent. @throws StepFault CONFIG_INVALID, ENDPOINT_UNREACHABLE */
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

/** Asks a seated model once, with the client's retries. Ends in a complete answer or in a StepFault with the client's code. */
export async function askModel(request: {
  readonly model: SeatedModel;
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly ToolDefinition[];
  readonly sampling: Sampling;
  readonly access: ModelAccess;
  readonly meters: ModelMeters;
  readonly signal: AbortSignal;
  readonly onDelta?: (delta: Delta) => void;
}): Promise<Answered> {
  const { model, messages, tools, sampling, access, meters, signal, onDelta } = request;
  const promptChars = messages.reduce((sum, { content }) => sum + content.length, 0);
  const endpoint = { baseUrl: model.endpoint, allowHosts: access.allowHosts };
  const { completion, attempts, bytes } = await completeWithRetry(
    {
      ...{ endpoint, model: model.name, messages, sampling, timers: access.timers(promptChars), signal },
      ...(tools === undefined ? {} : { tools }),
      ...(onDelta === undefined ? {} : { onDelta }),
    },
    access.retryPolicy === undefined ? {} : { policy: access.retryPolicy },
  );
  const host = new URL(model.endpoint).host;
  meters.plumb_model_bytes_total.inc(bytes.sent, { endpoint: host, direction: 'sent' });
  meters.plumb_model_bytes_total.inc(bytes.received, { endpoint: host, direction: 'received' });
  for (const { completion: each } of attempts)
    meters.plumb_model_calls_total.inc(1, { outcome: each.outcome === 'complete' ? 'complete' : each.code });
  signal.throwIfAborted();
  if (completion.outcome === 'failed')
    throw new StepFault(faultOf(completion.code), completion.message.slice(0, 1_900));
  const size = sizeOf(completion);
  if (size > answerCharsMax)
    throw new StepFault('DEGENERATE_OUTPUT', `the answer has ${size} characters, far beyond the output limit`);
  meters.plumb_model_first_token_seconds.observe(completion.timings.ttftMs / 1_000);
  meters.plumb_model_tokens_total.inc(completion.usage?.promptTokens ?? 0, { kind: 'prompt' });
  meters.plumb_model_tokens_total.inc(completion.usage?.completionTokens ?? 0, { kind: 'completion' });
  return { completion, tries: attempts };
}

/** An answer is held, stored and parsed whole; a server that ignores the output limit must not decide how much that is. */
const answerCharsMax = 4 << 20;
const sizeOf = ({ content, reasoning, toolCalls }: CompletedCompletion): number =>
  toolCalls.reduce((sum, call) => sum + call.arguments.length, content.length + reasoning.length);

/** The client's codes are codes of the taxonomy, but for the one that it never ends with. */
const faultOf = (code: Exclude<Attempt['completion'], CompletedCompletion>['code']): FaultCode =>
  code === 'MODEL_LOADING' ? 'MODEL_LOADING_TIMEOUT' : code;
