import { context, isSpanContextValid, trace } from '@opentelemetry/api';
import type { ServiceName } from '@plumbline/domain';
import { pino, type DestinationStream, type Logger } from 'pino';
import type { LogLevel } from './host-config.js';

/** A service's logger: one JSON object per line. `err` takes an error; `child` adds fields to every line. */
export type Log = Logger;

export interface LogOptions {
  readonly service: ServiceName;
  readonly level: LogLevel;
  /** Values that are blotted out wherever they turn up in a line. */
  readonly secrets: readonly string[];
  /** Standard output by default. */
  readonly destination?: DestinationStream;
}

/**
 * A logger that writes synchronously, so that the last words of a process are not lost, adds the ids of the active span, and blots out
 * secrets in the finished line, wherever they stand.
 */
export function createLog(options: LogOptions): Log {
  const blot = blotter(options.secrets);
  return pino(
    {
      level: options.level,
      base: { service: options.service },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (level) => ({ level }) },
      mixin: spanIds,
      hooks: { streamWrite: blot },
    },
    options.destination ?? pino.destination({ fd: 1, sync: true }),
  );
}

/** The logger of one step of one task. */
export function stepLog(log: Log, work: { readonly taskId: string; readonly step: string }): Log {
  return log.child({ taskId: work.taskId, step: work.step });
}

function spanIds(): Record<string, string> {
  const span = trace.getSpanContext(context.active());
  return span !== undefined && isSpanContextValid(span) ? { traceId: span.traceId, spanId: span.spanId } : {};
}

const BLOT = '[redacted]';
/** Shorter values would blot out half of the log, and protect nothing. */
const MIN_SECRET_LENGTH = 6;
const SECRET_FIELD =
  /(\\*")([\w-]*(?:password|passwd|secret|token|api_?-?key|authorization|cookie))\1:\s*(?:\1(?:(?!\1).)*\1|[\d.eE+-]+|\[[^\]]*\])/gi;
const URL_CREDENTIALS = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s/?#"'\\@:]*):[^\s"'\\]*?@(?=[^\s"'\\@/]*(?:[/:?#\s"'\\]|$))/gi;
const SECRET_PARAMETER = /([?&;](?:[\w-]*(?:token|secret|password|signature)|api_?-?key|key)=)[^\s&#"'\\]+/gi;
const BEARER = /\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}/gi;

/** A function that blots out secrets in a line of JSON: fields by name, URLs, credentials of HTTP, and the given values. */
export function blotter(secrets: readonly string[]): (line: string) => string {
  const literals = secrets
    .filter((secret) => secret.length >= MIN_SECRET_LENGTH)
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)])
    .sort((a, b) => b.length - a.length);
  return (line) => {
    let text = line;
    for (const literal of literals) text = text.replaceAll(literal, BLOT);
    return text
      .replace(SECRET_FIELD, (_all, quote: string, name: string) => `${quote}${name}${quote}:${quote}${BLOT}${quote}`)
      .replace(URL_CREDENTIALS, `$1:${BLOT}@`)
      .replace(SECRET_PARAMETER, `$1${BLOT}`)
      .replace(BEARER, `$1 ${BLOT}`);
  };
}
