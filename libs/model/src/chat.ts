/** A call of a tool as the model wrote it: `arguments` is its raw text, which need not be valid JSON. */
export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly arguments: string;
}

/**
 * A tool offered to the model; `parameters` is a JSON Schema. Keep list and key order frozen over a run: servers cache
 * by prefix.
 */
export interface ToolDefinition {
  readonly name: string;
  readonly description: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/**
 * One message of a conversation. `reasoning` is sent back only when it is given: whether it should be depends on the
 * model's family.
 */
export type ChatMessage =
  | { readonly role: 'system' | 'user'; readonly content: string }
  | {
      readonly role: 'assistant';
      readonly content: string;
      readonly reasoning?: string;
      readonly toolCalls?: readonly ToolCall[];
    }
  | { readonly role: 'tool'; readonly toolCallId: string; readonly content: string };

/** How the model is to sample. All set explicitly, since servers fill in defaults of their own. */
export interface Sampling {
  readonly temperature: number;
  readonly topP: number;
  readonly seed: number;
  readonly maxTokens: number;
}

/**
 * What servers are known to reject, or to answer with a repeatable 500, in a conversation; undefined when nothing is
 * wrong. Found before sending, so that the fault is booked on the harness with its place and not on the server.
 */
export function historyProblem(messages: readonly ChatMessage[]): string | undefined {
  if (messages.length === 0) return 'the conversation has no messages';
  let open = new Set<string>();
  for (const [at, message] of messages.entries()) {
    if (message.role === 'tool') {
      if (!open.delete(message.toolCallId)) {
        return `message ${at} answers tool call ${JSON.stringify(message.toolCallId)}, which is not open there`;
      }
      continue;
    }
    if (open.size > 0) return `message ${at} comes before the reply to tool call ${JSON.stringify([...open][0])}`;
    if (message.role !== 'assistant') continue;
    const problem = assistantProblem(message);
    if (problem !== undefined) return `message ${at} ${problem}`;
    open = new Set(message.toolCalls?.map((call) => call.id));
  }
  return open.size > 0 ? `tool call ${JSON.stringify([...open][0])} has no reply` : undefined;
}

function assistantProblem(message: ChatMessage & { readonly role: 'assistant' }): string | undefined {
  const calls = message.toolCalls ?? [];
  if (message.content.trim() === '' && calls.length === 0) return 'is an assistant turn without content or tool call';
  if (new Set(calls.map((call) => call.id)).size < calls.length) return 'has two tool calls of the same id';
  const broken = calls.find((call) => !isJsonObject(call.arguments));
  return broken && `replays tool call ${JSON.stringify(broken.id)} whose arguments are not a JSON object`;
}

function isJsonObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

/**
 * The request body of the OpenAI chat protocol, always streaming and asking for usage. `serverOptions` are added as
 * they are (`top_k`, `min_p`, `chat_template_kwargs`, …); one that would replace a field of the client's own throws a
 * TypeError.
 */
export function requestBody(request: {
  readonly model: string;
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly ToolDefinition[] | undefined;
  readonly sampling: Sampling;
  readonly serverOptions?: Readonly<Record<string, unknown>> | undefined;
}): string {
  const { model, messages, tools, sampling, serverOptions = {} } = request;
  const own = {
    model,
    messages: messages.map(wireMessage),
    ...(tools && tools.length > 0 && { tools: tools.map((tool) => ({ type: 'function', function: tool })) }),
    temperature: sampling.temperature,
    top_p: sampling.topP,
    seed: sampling.seed,
    max_tokens: sampling.maxTokens,
    stream: true,
    stream_options: { include_usage: true },
  };
  const clash = Object.keys(serverOptions).find((key) => key in own || key === 'tools');
  if (clash !== undefined) throw new TypeError(`serverOptions may not set ${clash}: the client does`);
  return JSON.stringify({ ...own, ...serverOptions });
}

function wireMessage(message: ChatMessage): unknown {
  if (message.role === 'tool') {
    return { role: 'tool', tool_call_id: message.toolCallId, content: message.content };
  }
  if (message.role !== 'assistant') return { role: message.role, content: message.content };
  const calls = message.toolCalls ?? [];
  return {
    role: 'assistant',
    content: message.content,
    ...(message.reasoning !== undefined && { reasoning_content: message.reasoning }),
    ...(calls.length > 0 && {
      tool_calls: calls.map((call) => ({
        id: call.id,
        type: 'function',
        function: { name: call.name, arguments: call.arguments },
      })),
    }),
  };
}
