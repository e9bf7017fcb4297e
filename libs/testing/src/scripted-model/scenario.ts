import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { templateNames } from './template.js';

/** Model ids of the scripted server all begin so; nobody can take it for a model. */
export const SCRIPTED_PREFIX = 'scripted/';

/** How scenario patterns are compiled: ^ and $ match at lines, and patterns are read as Unicode. */
export const PATTERN_FLAGS = 'mu';

const pattern = z.string().refine((text) => groups(text) >= 0, { error: 'is not a valid regular expression' });
const capturing = pattern.refine((text) => groups(text) === 1, { error: 'must have exactly one capturing group' });
const captures = z
  .record(z.string(), capturing)
  .refine((found) => Object.keys(found).every((name) => /^[a-z][A-Za-z0-9]*$/.test(name) && name !== 'item'), {
    error: 'names must be letters and digits, beginning with a small letter; item is reserved',
  })
  .default({});
const scriptedModel = z.string().startsWith(SCRIPTED_PREFIX);
const count = z.number().int().nonnegative();
const durationMs = z.number().int().min(0).max(3_600_000);

/** Only the first `times` requests of a conversation meet the fault; without it, all do. Counted in memory. */
const times = { times: z.number().int().positive().optional() };
/** How many chunks of the reply are sent before it happens. */
const afterChunks = { afterChunks: count.default(1) };

const fault = z.discriminatedUnion('kind', [
  /** The body ends cleanly, without finish reason. */
  z.strictObject({ kind: z.literal('eof'), ...times, ...afterChunks }),
  /** TCP reset; before the headers with afterChunks 0. */
  z.strictObject({ kind: z.literal('rst'), ...times, ...afterChunks }),
  /** Nothing more is sent, the connection stays open. */
  z.strictObject({ kind: z.literal('silent'), ...times, ...afterChunks }),
  /** Nothing but SSE comments more, every `everyMs`. */
  z.strictObject({ kind: z.literal('pings'), ...times, ...afterChunks, everyMs: durationMs.min(1).default(50) }),
  /** An HTTP error in place of the reply: 503 "Loading model", 429 with Retry-After, 500, … */
  z.strictObject({
    kind: z.literal('status'),
    ...times,
    status: z.number().int().min(400).max(599),
    message: z.string().optional(),
    type: z.string().optional(),
    retryAfterSeconds: count.optional(),
  }),
  /** The whole reply, `everyMs` between chunks. */
  z.strictObject({ kind: z.literal('slow'), ...times, everyMs: durationMs.min(1) }),
  /** A data line that is not JSON, after which the reply goes on as if nothing had happened. */
  z.strictObject({
    kind: z.literal('garbage'),
    ...times,
    ...afterChunks,
    text: z.string().default('{"choices":[{"del'),
  }),
  /** `data: {"error": …}` inside a 200 stream. */
  z.strictObject({
    kind: z.literal('error-event'),
    ...times,
    ...afterChunks,
    message: z.string().default('scripted failure'),
  }),
  /** The arguments of the last tool call are cut after `keepChars`; the finish reason stays. */
  z.strictObject({ kind: z.literal('truncated-arguments'), ...times, keepChars: count.default(8) }),
  /** Finish reason and usage, but neither [DONE] nor the end of the body. */
  z.strictObject({ kind: z.literal('no-done'), ...times }),
]);

const turn = z.strictObject({
  /** All conditions must hold. `turn` is the number of assistant messages in the request. */
  when: z
    .strictObject({ lastMessageMatches: pattern.optional(), turn: count.optional() })
    .refine((when) => Object.keys(when).length > 0, { error: 'must hold a condition' })
    .optional(),
  /** The group of the first match in the text of all messages. */
  capture: captures,
  /** The group of every match, without repetitions, in order; `${name}` joins them with ", ". */
  captureAll: captures,
  reply: z.strictObject({
    reasoning: z.string().optional(),
    /** An object or list is rendered and sent as its JSON text. */
    content: z.union([z.string(), z.record(z.string(), z.json()), z.array(z.json())]).optional(),
    toolCalls: z
      .array(z.strictObject({ name: z.string().min(1), arguments: z.record(z.string(), z.json()) }))
      .default([]),
    finish: z.enum(['stop', 'tool_calls', 'length']).optional(),
  }),
  fault: fault.optional(),
  /** Before the first byte of the answer. */
  delayMs: durationMs.default(0),
  /** Code points per chunk. */
  chunkChars: z.number().int().positive().default(24),
});

/**
 * A scripted conversation. Strings of a reply may hold `${name}` of a capture (`$${` is a literal `${`), and a list in
 * it may hold `{"$each": "name", "item": …}`, which becomes one item per value of that captureAll, with `${item}`
 * inside.
 *
 * Token counts the server reports are characters / 4, rounded up: no tokenizer is involved and they measure nothing but
 * length.
 */
export const scenarioSchema = z
  .strictObject({
    name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/),
    describes: z.string().min(1),
    /**
     * Which requests it answers; by default those for model `scripted/<name>`. Patterns look at what comes before the
     * first answer.
     */
    select: z.strictObject({ model: scriptedModel.optional(), promptMatches: pattern.optional() }).default({}),
    turns: z.array(turn).min(1),
  })
  .superRefine((scenario, context) => {
    for (const [at, { reply, capture, captureAll }] of scenario.turns.entries()) {
      for (const name of templateNames(reply)) {
        if (Object.hasOwn(capture, name) || Object.hasOwn(captureAll, name)) continue;
        const message = `uses \${${name}}, which this turn does not capture; write $\${ for a literal \${`;
        context.addIssue({ code: 'custom', path: ['turns', at, 'reply'], message });
      }
    }
  });

/** A scenario as written. */
export type ScenarioInput = z.input<typeof scenarioSchema>;
/** A scenario with its defaults filled in. */
export type Scenario = z.output<typeof scenarioSchema>;
/** One answer of a scenario. */
export type ScriptedTurn = Scenario['turns'][number];
/** What goes wrong with an answer. */
export type Fault = NonNullable<ScriptedTurn['fault']>;

/** A scenario that cannot be played, with the file and the fields at fault. */
export class ScenarioError extends Error {
  readonly retry = 'never';
  override readonly name = 'ScenarioError';
}

/** Checks scenarios; throws {@link ScenarioError} that names what is wrong, also for two of the same name. */
export function parseScenarios(inputs: readonly { readonly source: string; readonly value: unknown }[]): Scenario[] {
  const seen = new Map<string, string>();
  return inputs.map(({ source, value }) => {
    const parsed = scenarioSchema.safeParse(value);
    if (!parsed.success) throw new ScenarioError(`${source} is not a scenario:\n${z.prettifyError(parsed.error)}`);
    const other = seen.get(parsed.data.name);
    if (other !== undefined) throw new ScenarioError(`${source} and ${other} are both named ${parsed.data.name}`);
    seen.set(parsed.data.name, source);
    return parsed.data;
  });
}

/**
 * Reads one scenario file, or all `*.json` of a directory in the order of their names; throws {@link ScenarioError},
 * also when there are none.
 */
export function loadScenarios(path: string): Scenario[] {
  const files = statSync(path, { throwIfNoEntry: false })?.isDirectory()
    ? readdirSync(path)
        .filter((name) => name.endsWith('.json'))
        .sort()
        .map((name) => join(path, name))
    : [path];
  if (files.length === 0) throw new ScenarioError(`${path} holds no *.json scenario`);
  return parseScenarios(files.map((source) => ({ source, value: readJson(source) })));
}

function readJson(source: string): unknown {
  try {
    return JSON.parse(readFileSync(source, 'utf8'));
  } catch (error) {
    throw new ScenarioError(`${source} cannot be read as JSON: ${String(error)}`);
  }
}

/** The number of capturing groups, or -1 when the text is no pattern. */
function groups(text: string): number {
  try {
    return (new RegExp(`${text}|`, PATTERN_FLAGS).exec('')?.length ?? 0) - 1;
  } catch {
    return -1;
  }
}
