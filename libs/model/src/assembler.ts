import { z } from 'zod';
import type { ToolCall } from './chat.js';

/**
 * A piece of an answer as it arrives. Pieces of one tool call share its `index`; `name` and `arguments` are to be
 * appended.
 */
export type Delta =
  | { readonly kind: 'content' | 'reasoning'; readonly text: string }
  | { readonly kind: 'tool-call'; readonly index: number; readonly name: string; readonly arguments: string };

/** What a server counted; `cachedTokens` is the part of the prompt it did not have to read again, when it says so. */
export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly cachedTokens?: number;
}

/** What one data line of the stream was. `progressed`: the server reported that it read more of the prompt. */
export type ChunkReading =
  | { readonly outcome: 'read'; readonly deltas: readonly Delta[]; readonly progressed: boolean }
  | { readonly outcome: 'error'; readonly status: number; readonly body: string }
  | { readonly outcome: 'malformed'; readonly message: string };

const count = z.number().int().nonnegative();
const toolCallDelta = z.object({
  index: z.number().int().min(0).max(255).nullish(),
  id: z.string().nullish(),
  function: z
    .object({
      name: z.string().nullish(),
      arguments: z.union([z.string(), z.record(z.string(), z.unknown())]).nullish(),
    })
    .nullish(),
});
const delta = z.object({
  content: z.string().nullish(),
  reasoning_content: z.string().nullish(),
  reasoning: z.string().nullish(),
  tool_calls: z.array(toolCallDelta).nullish(),
});
const chunk = z.object({
  choices: z
    .array(z.object({ index: count.nullish(), delta: delta.nullish(), finish_reason: z.string().nullish() }))
    .nullish(),
  usage: z
    .object({
      prompt_tokens: count,
      completion_tokens: count,
      prompt_tokens_details: z.object({ cached_tokens: count.nullish() }).nullish().catch(undefined),
    })
    .nullish()
    .catch(undefined),
  timings: z.object({ cache_n: count, prompt_n: count, predicted_n: count }).nullish().catch(undefined),
  prompt_progress: z.object({ processed: count }).nullish().catch(undefined),
  error: z.unknown().optional(),
});

interface OpenCall {
  readonly id: string;
  name: string;
  readonly argumentParts: string[];
}

/**
 * Puts the chunks of one streamed answer together. Reads both names of the reasoning field. Keeps only choice 0.
 * Nothing of it touches the network or a clock.
 */
export class AnswerAssembler {
  readonly #turn: number;
  readonly #content: string[] = [];
  readonly #reasoning: string[] = [];
  readonly #calls: OpenCall[] = [];
  /** Server's index → place in #calls of the call it writes now. */
  readonly #places = new Map<number, number>();
  #processed = -1;
  #finishReason: string | undefined;
  #usage: Usage | undefined;
  #timings: Usage | undefined;

  /** `turn` numbers the answer in its conversation; it keeps made-up tool call ids apart from those of other turns. */
  constructor(options: { readonly turn: number }) {
    this.#turn = options.turn;
  }

  /** The reason the server gave for ending the answer, once it has. */
  get finishReason(): string | undefined {
    return this.#finishReason;
  }

  get content(): string {
    return this.#content.join('');
  }

  get reasoning(): string {
    return this.#reasoning.join('');
  }

  /**
   * Token counts as last reported; derived from llama.cpp's `timings` when there is no `usage`; undefined when neither
   * came.
   */
  get usage(): Usage | undefined {
    if (this.#usage === undefined) return this.#timings;
    if (this.#usage.cachedTokens !== undefined || this.#timings?.cachedTokens === undefined) return this.#usage;
    return { ...this.#usage, cachedTokens: this.#timings.cachedTokens };
  }

  /** Whether the server's own `usage` has come, after which nothing else is worth waiting for. */
  get hasUsage(): boolean {
    return this.#usage !== undefined;
  }

  /**
   * The calls in order. A call without an id, or with one already taken, is given nine characters made from its turn
   * and place: the same request and answer give the same ids, and templates that insist on nine alphanumerics accept
   * them.
   */
  get toolCalls(): ToolCall[] {
    const taken = new Set<string>();
    return this.#calls.map((call, place) => {
      const id = call.id !== '' && !taken.has(call.id) ? call.id : this.#madeUpId(place);
      taken.add(id);
      return { id, name: call.name, arguments: call.argumentParts.join('') };
    });
  }

  /** Reads the data of one event. Only a `read` changes the answer. */
  read(data: string): ChunkReading {
    let json: unknown;
    try {
      json = JSON.parse(data);
    } catch {
      return { outcome: 'malformed', message: 'a line that is not JSON' };
    }
    const parsed = chunk.safeParse(json);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      return { outcome: 'malformed', message: `a chunk with a bad ${issue?.path.join('.') || 'shape'}` };
    }
    const { error, choices, usage, timings, prompt_progress: progress } = parsed.data;
    if (error !== undefined && error !== null) return { outcome: 'error', status: statusOf(error), body: data };
    if (usage) {
      const cached = usage.prompt_tokens_details?.cached_tokens ?? undefined;
      this.#usage = {
        promptTokens: usage.prompt_tokens,
        completionTokens: usage.completion_tokens,
        ...(cached !== undefined && { cachedTokens: cached }),
      };
    }
    if (timings) {
      const { cache_n: cachedTokens, prompt_n: readTokens, predicted_n: completionTokens } = timings;
      this.#timings = { promptTokens: cachedTokens + readTokens, completionTokens, cachedTokens };
    }
    const processed = progress?.processed ?? -1;
    const progressed = processed > this.#processed;
    if (progressed) this.#processed = processed;
    const deltas: Delta[] = [];
    for (const choice of choices ?? []) {
      if ((choice.index ?? 0) !== 0) continue;
      if (choice.delta) this.#add(choice.delta, deltas);
      if (choice.finish_reason) this.#finishReason ??= choice.finish_reason;
    }
    return { outcome: 'read', deltas, progressed };
  }

  #add(piece: z.infer<typeof delta>, deltas: Delta[]): void {
    const reasoning = piece.reasoning_content || piece.reasoning;
    if (reasoning) {
      this.#reasoning.push(reasoning);
      deltas.push({ kind: 'reasoning', text: reasoning });
    }
    if (piece.content) {
      this.#content.push(piece.content);
      deltas.push({ kind: 'content', text: piece.content });
    }
    for (const call of piece.tool_calls ?? []) this.#addCall(call, deltas);
  }

  #addCall(piece: z.infer<typeof toolCallDelta>, deltas: Delta[]): void {
    const name = piece.function?.name ?? '';
    const written = piece.function?.arguments ?? '';
    const text = typeof written === 'string' ? written : JSON.stringify(written);
    const place = this.#placeOf(piece.index ?? undefined, piece.id ?? '', name);
    const call = this.#calls[place];
    if (call === undefined) throw new Error(`no tool call at place ${place}`);
    const newName = call.name === name ? '' : name;
    call.name += newName;
    call.argumentParts.push(text);
    if (newName !== '' || text !== '') deltas.push({ kind: 'tool-call', index: place, name: newName, arguments: text });
  }

  /**
   * Where a piece belongs. Servers without indexes, or with index 0 for every call, show a new call by a new id, or
   * by a name after arguments have begun.
   */
  #placeOf(index: number | undefined, id: string, name: string): number {
    const known = index === undefined ? this.#calls.length - 1 : this.#places.get(index);
    const call = known === undefined ? undefined : this.#calls[known];
    const otherId = call !== undefined && id !== '' && call.id !== '' && id !== call.id;
    const begunAnew = call !== undefined && id === '' && name !== '' && call.argumentParts.some((part) => part !== '');
    if (call !== undefined && known !== undefined && !otherId && !begunAnew) return known;
    const place = this.#calls.push({ id, name: '', argumentParts: [] }) - 1;
    if (index !== undefined) this.#places.set(index, place);
    return place;
  }

  #madeUpId(place: number): string {
    return `call${this.#turn.toString(36).padStart(3, '0')}${place.toString(36).padStart(2, '0')}`;
  }
}

function statusOf(error: unknown): number {
  const code: unknown =
    typeof error === 'object' && error !== null ? (error as Record<string, unknown>)['code'] : undefined;
  const status = Number(code);
  return Number.isInteger(status) && status >= 400 && status <= 599 ? status : 500;
}
