import {
  context as contextApi,
  createTraceState,
  isSpanContextValid,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Attributes,
  type Context,
  type Span,
  type SpanKind,
} from '@opentelemetry/api';
import type { MsgHdrs } from '@nats-io/transport-node';
import { describeError } from './errors.js';
import { headerValue, type HeaderSource } from './headers.js';

/**
 * W3C trace context over message headers. It is written here instead of through the global propagator, so that a service
 * without a telemetry SDK still hands the trace on.
 */
const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** A context whose parent is the remote span of `traceparent`; the root context if that is absent or malformed. */
export function contextFromTraceparent(traceparent: string | undefined, tracestate?: string): Context {
  const match = traceparent === undefined ? null : TRACEPARENT.exec(traceparent.trim());
  const [, version, traceId, spanId, flags, rest] = match ?? [];
  if (version === undefined || traceId === undefined || spanId === undefined || flags === undefined)
    return ROOT_CONTEXT;
  // Version 00 ends after the flags, later versions may go on; ff is not a version (W3C Trace Context, section 3.2.2).
  if (version === 'ff' || (version === '00' && rest !== undefined)) return ROOT_CONTEXT;
  const spanContext = {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED,
    isRemote: true,
    ...(tracestate !== undefined && tracestate.length <= 512 ? { traceState: createTraceState(tracestate) } : {}),
  };
  return isSpanContextValid(spanContext) ? trace.setSpanContext(ROOT_CONTEXT, spanContext) : ROOT_CONTEXT;
}

/** The `traceparent` of the span in `ctx`, to be kept in an event's meta; undefined if there is none. */
export function traceparentOf(ctx: Context): string | undefined {
  const span = trace.getSpanContext(ctx);
  if (!span || !isSpanContextValid(span)) return undefined;
  return `00-${span.traceId}-${span.spanId}-${span.traceFlags.toString(16).padStart(2, '0')}`;
}

/** The context that the sender of a message put into its headers, else that of an event's meta, else the root context. */
export function extractTrace(headers: HeaderSource, meta?: { readonly traceparent?: unknown }): Context {
  const traceparent = headerValue(headers, 'traceparent');
  if (traceparent !== undefined) return contextFromTraceparent(traceparent, headerValue(headers, 'tracestate'));
  return contextFromTraceparent(typeof meta?.traceparent === 'string' ? meta.traceparent : undefined);
}

/** Writes the span of `ctx` into `headers` (lower-case names); leaves them alone if there is no span. Returns `headers`. */
export function injectTrace(headers: MsgHdrs, ctx: Context = contextApi.active()): MsgHdrs {
  const traceparent = traceparentOf(ctx);
  if (traceparent === undefined) return headers;
  headers.set('traceparent', traceparent);
  const state = trace.getSpanContext(ctx)?.traceState?.serialize();
  if (state !== undefined && state !== '') headers.set('tracestate', state);
  return headers;
}

/**
 * Runs `fn` inside a new span below `ctx` and ends the span with it. A throw marks the span as failed and goes on to the
 * caller. `fn` gets the context to inject into what it sends.
 */
export async function withSpan<T>(
  name: string,
  kind: SpanKind,
  ctx: Context,
  attributes: Attributes,
  fn: (span: Span, ctx: Context) => Promise<T>,
): Promise<T> {
  const span = trace.getTracer('@plumbline/bus').startSpan(name, { kind, attributes }, ctx);
  const inner = trace.setSpan(ctx, span);
  try {
    return await contextApi.with(inner, () => fn(span, inner));
  } catch (error) {
    span.recordException(error instanceof Error ? error : String(error));
    span.setStatus({ code: SpanStatusCode.ERROR, message: describeError(error) });
    throw error;
  } finally {
    span.end();
  }
}
