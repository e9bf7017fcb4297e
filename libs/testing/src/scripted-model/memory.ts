import { createHash } from 'node:crypto';
import type { Reply } from './script.js';
import type { ChatRequest, ReportedUsage } from './wire.js';

const CHARS_PER_TOKEN = 4;
const PROMPTS_KEPT = 64;

/**
 * The identity of a conversation so far: model, messages and tools. The same request has the same digest (hexadecimal
 * SHA-256).
 */
export function conversationDigest(request: ChatRequest): string {
  const { model, messages, tools } = request;
  return createHash('sha256')
    .update(JSON.stringify([model, tools ?? [], messages]))
    .digest('hex');
}

/**
 * What the server remembers between requests: how often a fault has struck, and earlier prompts, as a prefix cache
 * would. Neither changes what is answered, only whether it fails and what is reported as cached.
 */
export class Memory {
  readonly #strikes = new Map<string, number>();
  readonly #prompts: string[] = [];

  /** Counts a request of a conversation; true while it is among the first `times` (always, without `times`). */
  strikes(digest: string, times: number | undefined): boolean {
    if (times === undefined) return true;
    const before = this.#strikes.get(digest) ?? 0;
    this.#strikes.set(digest, before + 1);
    return before < times;
  }

  /**
   * Token counts of an answer: characters / 4, and as cached the longest prefix shared with one of the last 64 prompts.
   */
  usage(request: ChatRequest, reply: Reply): ReportedUsage {
    const prompt = [request.model, request.tools ?? [], ...request.messages]
      .map((part) => JSON.stringify(part))
      .join('\n');
    const cachedChars = Math.max(0, ...this.#prompts.map((earlier) => commonPrefix(earlier, prompt)));
    this.#prompts.push(prompt);
    if (this.#prompts.length > PROMPTS_KEPT) this.#prompts.shift();
    const written = [reply.reasoning, reply.content, ...reply.toolCalls.flatMap((call) => [call.name, call.arguments])];
    const promptTokens = tokens(prompt.length);
    const completionTokens = tokens(written.join('').length);
    return {
      prompt_tokens: promptTokens,
      completion_tokens: completionTokens,
      total_tokens: promptTokens + completionTokens,
      prompt_tokens_details: { cached_tokens: Math.floor(cachedChars / CHARS_PER_TOKEN) },
    };
  }
}

function tokens(chars: number): number {
  return Math.ceil(chars / CHARS_PER_TOKEN);
}

function commonPrefix(left: string, right: string): number {
  const end = Math.min(left.length, right.length);
  let at = 0;
  while (at < end && left.charCodeAt(at) === right.charCodeAt(at)) at += 1;
  return at;
}
