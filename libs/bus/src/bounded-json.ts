/** How much of a stranger's JSON is read at all. */
export interface JsonLimits {
  readonly maxBytes: number;
  readonly maxDepth: number;
  /** Object keys that refuse the document wherever they stand. */
  readonly forbiddenKeys: readonly string[];
}

export type JsonResult =
  { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly problem: string };

/** Keys through which a careless merge would reach a prototype. */
export const PROTOTYPE_KEYS = ['__proto__', 'constructor', 'prototype'] as const;

const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** The deepest nesting of brackets outside strings, counted over raw bytes so that nothing is parsed before it is known. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i];
    if (inString) {
      if (byte === BACKSLASH) i += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) deepest = Math.max(deepest, (depth += 1));
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
  }
  return deepest;
}

function forbiddenKeyIn(value: unknown, forbidden: readonly string[]): string | undefined {
  const open: unknown[] = [value];
  while (open.length > 0) {
    const next = open.pop();
    if (Array.isArray(next)) for (const item of next) open.push(item);
    else if (next !== null && typeof next === 'object') {
      for (const [key, item] of Object.entries(next)) {
        if (forbidden.includes(key)) return key;
        open.push(item);
      }
    }
  }
  return undefined;
}

/**
 * Parses UTF-8 JSON from a stranger. Never throws: too large, too deep, not UTF-8, not JSON or a forbidden key are refusals
 * whose `problem` says what was found and what was expected.
 */
export function parseJson(bytes: Uint8Array, limits: JsonLimits): JsonResult {
  if (bytes.length > limits.maxBytes) {
    return { ok: false, problem: `${bytes.length} bytes, expected at most ${limits.maxBytes}` };
  }
  const depth = depthOf(bytes);
  if (depth > limits.maxDepth)
    return { ok: false, problem: `nested ${depth} deep, expected at most ${limits.maxDepth}` };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    return {
      ok: false,
      problem: error instanceof SyntaxError ? `not JSON: ${error.message.slice(0, 120)}` : 'not UTF-8',
    };
  }
  const key = forbiddenKeyIn(value, limits.forbiddenKeys);
  return key === undefined ? { ok: true, value } : { ok: false, problem: `forbidden key ${JSON.stringify(key)}` };
}
