import { context, isSpanContextValid, trace } from '@opentelemetry/api';
import type { ServiceName } from '@plumbline/domain';
import { pino, type DestinationStream, type Logger } from 'pino';
import type { LogLevel } from './host-config.js';
import { blotter } from './redaction.js';

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
