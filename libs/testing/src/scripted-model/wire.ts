import { z } from 'zod';
import type { PromptMessage, Reply } from './script.js';

/** A chat request, as far as the scripted server reads it; whatever else a client sends is recorded and ignored. */
export const chatRequest = z.looseObject({
  model: z.string(),
  stream: z.boolean().default(false),
  stream_options: z.looseObject({ include_usage: z.boolean().default(false) }).optional(),
  messages: z.array(z.looseObject({ role: z.string(), content: z.unknown().optional() })).min(1),
  tools: z.array(z.unknown()).optional(),
});
/** See {@link chatRequest}. */
export type ChatRequest = z.output<typeof chatRequest>;

/** The messages with their text: a string, or the text parts of a list joined. */
export function promptMessages(request: ChatRequest): PromptMessage[] {
  return request.messages.map(({ role, content }) => ({ role, text: textOf(content) }));
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content
    .map((part: unknown) =>
      typeof part === 'object' && part !== null && 'text' in part && typeof part.text === 'string' ? part.text : '',
    )
    .join('');
}

/** Token counts as servers report them; here characters / 4, rounded up. */
export interface ReportedUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

interface Identity {
  readonly id: string;
  readonly model: string;
}

// The instant is fixed so that the same request gets the same bytes.
function envelope({ id, model }: Identity, object: string): Record<string, unknown> {
  return { id, object, created: 0, model, system_fingerprint: 'plumbline-scripted' };
}

/** The reply as the data of stream chunks: role, reasoning, content, tool calls; without the finish. */
export function replyChunks(identity: Identity, reply: Reply, chunkChars: number): string[] {
  const chunk = (delta: unknown): string =>
    JSON.stringify({
      ...envelope(identity, 'chat.completion.chunk'),
      choices: [{ index: 0, delta, finish_reason: null }],
    });
  return [
    ...pieces(reply.reasoning, chunkChars).map((text) => chunk({ reasoning_content: text })),
    ...pieces(reply.content, chunkChars).map((content) => chunk({ content })),
    ...reply.toolCalls.flatMap(({ id, name, arguments: written }, index) => [
      chunk({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] }),
      ...pieces(written, chunkChars).map((text) => chunk({ tool_calls: [{ index, function: { arguments: text } }] })),
    ]),
  ];
}

/** The chunk that opens an answer: a role, no text. */
export function openingChunk(identity: Identity): string {
  const choices = [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }];
  return JSON.stringify({ ...envelope(identity, 'chat.completion.chunk'), choices });
}

/** The chunk that carries the finish reason. */
export function finishChunk(identity: Identity, reply: Reply): string {
  const choices = [{ index: 0, delta: {}, finish_reason: reply.finish }];
  return JSON.stringify({ ...envelope(identity, 'chat.completion.chunk'), choices });
}

/** The chunk after the finish that carries the usage. */
export function usageChunk(identity: Identity, usage: ReportedUsage): string {
  return JSON.stringify({ ...envelope(identity, 'chat.completion.chunk'), choices: [], usage });
}

/** The reply as one document, for a request without `stream`. */
export function wholeReply(identity: Identity, reply: Reply, usage: ReportedUsage): string {
  const message = {
    role: 'assistant',
    content: reply.content,
    ...(reply.reasoning !== '' && { reasoning_content: reply.reasoning }),
    ...(reply.toolCalls.length > 0 && {
      tool_calls: reply.toolCalls.map(({ id, name, arguments: written }) => ({
        id,
        type: 'function',
        function: { name, arguments: written },
      })),
    }),
  };
  const choices = [{ index: 0, message, finish_reason: reply.finish }];
  return JSON.stringify({ ...envelope(identity, 'chat.completion'), choices, usage });
}

function pieces(text: string, chunkChars: number): string[] {
  const points = Array.from(text);
  const found: string[] = [];
  for (let at = 0; at < points.length; at += chunkChars) found.push(points.slice(at, at + chunkChars).join(''));
  return found;
}
