import { createHash } from 'node:crypto';
import type { ChatMessage } from '@plumbline/model';
import { z } from 'zod';

/** How one tool call of a turn ended, as far as the rules on progress look at it. */
export const callOutcomes = [
  'ok',
  'error',
  'unknown-tool',
  'invalid-arguments',
  'undone',
  'not-run',
  'empty-submission',
  'red-gate',
  'accepted',
  'declined',
] as const;
export type CallOutcome = (typeof callOutcomes)[number];

const digest = z.string().regex(/^[0-9a-f]{64}$/);
const toolCall = z.object({ id: z.string(), name: z.string(), arguments: z.string() });
const message = z.discriminatedUnion('role', [
  z.object({ role: z.literal('system'), content: z.string() }),
  z.object({ role: z.literal('user'), content: z.string() }),
  z.object({ role: z.literal('assistant'), content: z.string(), toolCalls: z.array(toolCall).optional() }),
  z.object({ role: z.literal('tool'), toolCallId: z.string(), content: z.string() }),
]);

const factsSchema = z.object({
  treeBefore: z.string(),
  treeAfter: z.string(),
  finish: z.string(),
  calls: z.array(
    z.object({
      tool: z.string(),
      outcome: z.enum(callOutcomes),
      /** Digest of tool, arguments, tree and answer together: the same again is proof of no progress. */
      signature: digest,
    }),
  ),
  /** The summary of an accepted submission, or the reason of a declined attempt: the turn was the last. */
  ending: z.object({ kind: z.enum(['submit', 'decline']), text: z.string() }).optional(),
});
/** What one turn did, as far as the rules on progress look at it. Recorded, so that a resumed run goes on with the same counts. */
export type TurnFacts = z.infer<typeof factsSchema>;

/**
 * One turn as evidence, and all that is needed to go on after it: a conversation only grows, so the messages as sent are the opening
 * of turn 1 followed by `said` and `replied` of every turn before.
 */
export const turnRecordSchema = z.object({
  format: z.literal('plumbline.turn/1'),
  taskId: z.string(),
  step: z.string(),
  epoch: z.int(),
  attempt: z.int(),
  turn: z.int(),
  model: z.object({ name: z.string(), family: z.string(), node: z.string(), endpoint: z.string() }),
  prompts: z.record(z.string(), digest),
  isolation: z.string(),
  request: z.object({
    messages: z.int(),
    /** Of the messages as stored, i.e. with secrets masked. */
    digest,
    toolsDigest: digest,
    opening: z.array(message).optional(),
    sampling: z.object({ temperature: z.number(), topP: z.number(), seed: z.int(), maxTokens: z.int() }),
  }),
  answer: z.object({
    finishReason: z.string(),
    content: z.string(),
    reasoning: z.string(),
    toolCalls: z.array(toolCall),
    usage: z.object({ promptTokens: z.int(), completionTokens: z.int(), cachedTokens: z.int().optional() }).optional(),
    timings: z.object({ ttftMs: z.number(), durationMs: z.number(), maxGapMs: z.number() }),
    bytes: z.object({ sent: z.int(), received: z.int() }),
    raw: z.string(),
    /** Characters of the stream that are not kept: beyond the limit, or all of it when the answer holds a secret, which the stream's framing may have split so that no rule finds it. */
    rawLeftOut: z.int(),
    tries: z.array(z.object({ outcome: z.string(), message: z.string(), waitMs: z.number().optional() })),
  }),
  said: message,
  replied: z.array(message),
  results: z.array(
    z.object({
      callId: z.string(),
      tool: z.string(),
      outcome: z.enum(callOutcomes),
      full: z.string(),
      shown: z.string(),
      durationMs: z.number(),
    }),
  ),
  facts: factsSchema,
  /** Commit that holds `facts.treeAfter`, when this turn stored one. */
  workspaceHead: z.string().optional(),
  startedAt: z.string(),
  durationMs: z.number(),
});
export type TurnRecord = z.infer<typeof turnRecordSchema>;

/** SHA-256 of a value's JSON; keys in the order given, since everything digested here is built by one piece of code. */
export const digestOf = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex');

/** A call's arguments in one spelling: the order in which a model writes keys means nothing. */
export function canonical(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, canonical(inner)]));
}

/** Stored messages as the model client takes them. */
export const asMessages = (messages: TurnRecord['replied']): ChatMessage[] => messages as ChatMessage[];
