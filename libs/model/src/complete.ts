import { Turn } from './turn.js';
import type { Delta, Usage } from './assembler.js';
import {
  historyProblem,
  requestBody,
  type ChatMessage,
  type Sampling,
  type ToolCall,
  type ToolDefinition,
} from './chat.js';
import type { Endpoint } from './endpoint.js';
import type { ModelFailureCode } from './failure.js';
import { MAX_TIMER_MS } from './watchdog.js';

/**
 * How long to wait, each in milliseconds. Only content, reasoning, tool calls and prompt progress count as a sign of
 * life.
 */
export interface Timers {
  /** Name resolution, TCP and TLS together. */
  readonly connectMs: number;
  /** From the connection to the first delta; prompt progress starts it anew. */
  readonly firstTokenMs: number;
  /** Between two deltas. */
  readonly stallMs: number;
  /** The whole call. */
  readonly turnMs: number;
}

/** One call of a model. */
export interface CompletionRequest {
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly ToolDefinition[];
  readonly sampling: Sampling;
  /** Fields only some servers know, sent as they are: `top_k`, `min_p`, `chat_template_kwargs`, `return_progress`, … */
  readonly serverOptions?: Readonly<Record<string, unknown>>;
  readonly timers: Timers;
  readonly signal?: AbortSignal;
  /** Called with each piece as it arrives, also of an answer that later fails. If it throws, so does the call. */
  readonly onDelta?: (delta: Delta) => void;
}

/** Bytes on the wire of one endpoint, headers included (inside TLS, if there is any). */
export interface Bytes {
  readonly sent: number;
  readonly received: number;
}

/**
 * An answer the server declared finished. With finishReason `length` it was cut by `maxTokens`, perhaps inside a tool
 * call.
 */
export interface CompletedCompletion {
  readonly outcome: 'complete';
  readonly finishReason: string;
  readonly content: string;
  readonly reasoning: string;
  readonly toolCalls: readonly ToolCall[];
  readonly usage?: Usage;
  /**
   * From the start of the call: to the first delta (or the finish, if there was none), to the end; the longest silence
   * between deltas.
   */
  readonly timings: { readonly ttftMs: number; readonly durationMs: number; readonly maxGapMs: number };
  readonly bytes: Bytes;
  /** The body as received, whole (a body over the size limit fails); invalid UTF-8 replaced, the key masked. */
  readonly raw: string;
}

/** A call without a usable answer, and the one reason. */
export interface FailedCompletion {
  readonly outcome: 'failed';
  readonly code: ModelFailureCode;
  readonly message: string;
  readonly retryAfterMs?: number;
  readonly overflow?: { readonly promptTokens?: number; readonly contextTokens?: number };
  /** What had arrived; never to be used as an answer. */
  readonly partial: { readonly content: string; readonly reasoning: string };
  readonly durationMs: number;
  readonly bytes: Bytes;
  readonly raw: string;
}

/** What became of one call. */
export type Completion = CompletedCompletion | FailedCompletion;

/**
 * Calls a model once, streaming, and returns what became of it. The answer is complete if and only if the server gave a
 * finish reason; every way to fall short of that has its code in `MODEL_FAILURES`. Never follows redirects, never goes
 * through a proxy, never leaves the house unless `allowHosts` names the host, and sends nothing of a conversation that
 * servers are known to reject (HISTORY_REJECTED). Rejects only for a mistake of the caller: timers that are no
 * timers, `serverOptions` that clash, an `onDelta` that throws.
 */
export async function complete(request: CompletionRequest): Promise<Completion> {
  for (const [name, value] of Object.entries(request.timers)) {
    if (!(value > 0 && value <= MAX_TIMER_MS)) {
      throw new RangeError(`timer ${name} is ${value}; expected more than 0 and at most ${MAX_TIMER_MS} ms`);
    }
  }
  const problem = historyProblem(request.messages);
  if (problem !== undefined) {
    return {
      outcome: 'failed',
      code: 'HISTORY_REJECTED',
      message: `not sent: ${problem}`,
      partial: { content: '', reasoning: '' },
      durationMs: 0,
      bytes: { sent: 0, received: 0 },
      raw: '',
    };
  }
  return new Turn(request, requestBody(request)).run();
}
