/**
 * The ways one model call can fail, with how often the identical request may be sent again; whose fault each
 * is stands in the domain's taxonomy.
 * The codes exclude each other. MODEL_LOADING is never final: it is waited out, or becomes MODEL_LOADING_TIMEOUT.
 */
export const MODEL_FAILURES = {
  CANCELLED: { retries: 0 },
  CONFIG_INVALID: { retries: 0 },
  ENDPOINT_UNREACHABLE: { retries: 5 },
  MODEL_LOADING: { retries: 0 },
  MODEL_LOADING_TIMEOUT: { retries: 0 },
  RATE_LIMITED: { retries: 5 },
  STREAM_BROKEN: { retries: 5 },
  FIRST_TOKEN_TIMEOUT: { retries: 1 },
  STREAM_STALL: { retries: 1 },
  SERVER_ERROR: { retries: 3 },
  SERVER_PARSE_ERROR: { retries: 1 },
  HISTORY_REJECTED: { retries: 0 },
  CONTEXT_OVERFLOW: { retries: 0 },
  TIME_BUDGET: { retries: 0 },
} as const satisfies Record<string, { readonly retries: number }>;

/** A code of {@link MODEL_FAILURES}. */
export type ModelFailureCode = keyof typeof MODEL_FAILURES;

/** A failure before it is joined with what had been received. */
export interface Failure {
  readonly code: ModelFailureCode;
  readonly message: string;
  /** How long the server asked to be left alone. */
  readonly retryAfterMs?: number;
  /** What the server said about a prompt that does not fit; either number may be missing. */
  readonly overflow?: { readonly promptTokens?: number; readonly contextTokens?: number };
}

const CONTEXT_TYPE = /exceed_context_size|context_length_exceeded/;
const CONTEXT_TEXT =
  /(?:exceeds?|larger than|longer than|over) (?:the )?(?:available |maximum |model'?s? )*context|maximum context length|context (?:size|length|window) (?:is )?exceeded|prompt is too long/i;
const UNKNOWN_MODEL = /model_not_found|model\b.{0,200}\b(?:not found|does not exist|is not served)/is;
const PARSE_FAILURE = /failed to parse|(?:tool[ _-]?call|arguments).{0,80}pars(?:e|ing)|parse_error/i;
const LOADING = /\bloading\b|still starting|model is being loaded/i;
const BUSY =
  /\bbusy\b|overload|no (?:available )?slots?|slots? (?:un)?available|queue is full|too many requests|capacity/i;

/**
 * The failure that an HTTP status other than 200 means, or an error event inside a 200 stream (give its code, or 500).
 * `body` is what the server said, `nowMs` the Unix time a Retry-After date is measured from.
 */
export function classifyStatus(
  status: number,
  body: string,
  options: { readonly retryAfter?: string | undefined; readonly nowMs: number },
): Failure {
  const said = `the model server answered ${status}: ${excerpt(serverMessage(body))}`;
  const retryAfterMs = parseRetryAfter(options.retryAfter, options.nowMs);
  const wait = retryAfterMs === undefined ? {} : { retryAfterMs };
  if (status === 429) return { code: 'RATE_LIMITED', message: said, ...wait };
  if (status === 503) {
    if (LOADING.test(body)) return { code: 'MODEL_LOADING', message: said, ...wait };
    const busy = BUSY.test(body) || retryAfterMs !== undefined;
    return { code: busy ? 'RATE_LIMITED' : 'SERVER_ERROR', message: said, ...wait };
  }
  if (CONTEXT_TYPE.test(body) || (status < 500 && CONTEXT_TEXT.test(body))) {
    return { code: 'CONTEXT_OVERFLOW', message: said, ...overflow(body) };
  }
  if (status >= 500) return { code: PARSE_FAILURE.test(body) ? 'SERVER_PARSE_ERROR' : 'SERVER_ERROR', message: said };
  if (status === 408) return { code: 'SERVER_ERROR', message: said, ...wait };
  if (status === 413) return { code: 'CONTEXT_OVERFLOW', message: said };
  if (status === 400 || status === 422) {
    return { code: UNKNOWN_MODEL.test(body) ? 'CONFIG_INVALID' : 'HISTORY_REJECTED', message: said };
  }
  return { code: 'CONFIG_INVALID', message: said };
}

/**
 * Milliseconds a Retry-After header asks for (seconds or an HTTP date; a past date is 0), or undefined if it says
 * nothing.
 */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  const text = value?.trim() ?? '';
  if (/^\d{1,9}(?:\.\d+)?$/.test(text)) return Math.ceil(Number(text) * 1000);
  const atMs = /[a-z]/i.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
}

/** Foreign text for a message: quoted, its control characters escaped, at most 300 characters of it. */
export function excerpt(text: string): string {
  return text.length <= 300
    ? JSON.stringify(text)
    : `${JSON.stringify(text.slice(0, 300))}… (${text.length} characters)`;
}

function serverMessage(body: string): string {
  const { error, message, detail } = readObject(body);
  const inner: unknown =
    typeof error === 'object' && error !== null ? (error as Record<string, unknown>)['message'] : error;
  return [inner, message, detail].find((text): text is string => typeof text === 'string') ?? body;
}

function overflow(body: string): Pick<Failure, 'overflow'> {
  const { error } = readObject(body);
  const fields = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  const { n_prompt_tokens: promptTokens, n_ctx: contextTokens } = fields;
  const found = {
    ...(typeof promptTokens === 'number' && { promptTokens }),
    ...(typeof contextTokens === 'number' && { contextTokens }),
  };
  return Object.keys(found).length > 0 ? { overflow: found } : {};
}

function readObject(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
