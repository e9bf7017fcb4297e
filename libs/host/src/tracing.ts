import { context, diag, DiagLogLevel, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import type { ServiceName } from '@plumbline/domain';
import type { Log } from './log.js';

/** Tracing of one process; `stop` sends what is left, or gives up after `timeoutMs`. */
export interface Tracing {
  stop(timeoutMs: number): Promise<void>;
}

export interface TracingOptions {
  readonly service: ServiceName;
  readonly instance: string;
  /** Root of an OTLP/HTTP collector, e.g. `http://127.0.0.1:4318`. Absent: nothing is exported. */
  readonly endpoint?: string;
  readonly log: Log;
}

/**
 * Makes the active span follow asynchronous code and the W3C headers travel, always; exports spans only to a given collector. Nothing
 * is instrumented by patching: spans are made where the work is. The SDK is loaded only when it is needed (some 150 ms).
 */
export async function startTracing(options: TracingOptions): Promise<Tracing> {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  logTracingProblems(options.log);
  if (options.endpoint === undefined) return { stop: () => Promise.resolve() };
  const [{ BatchSpanProcessor, TracerProvider }, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all(
    [
      import('@opentelemetry/sdk-trace'),
      import('@opentelemetry/exporter-trace-otlp-http'),
      import('@opentelemetry/resources'),
    ],
  );
  const exporter = new OTLPTraceExporter({ url: `${options.endpoint.replace(/\/+$/, '')}/v1/traces` });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': options.service,
      'service.namespace': 'plumbline',
      'service.instance.id': options.instance,
    }),
    spanProcessors: [new BatchSpanProcessor({ exporter })],
  });
  trace.setGlobalTracerProvider(provider);
  return {
    async stop(timeoutMs) {
      const { promise: late, resolve: giveUp } = Promise.withResolvers<void>();
      const timer = setTimeout(giveUp, timeoutMs);
      await Promise.race([provider.shutdown().catch(() => undefined), late]);
      clearTimeout(timer);
    },
  };
}

/** How often the SDK's complaints are repeated in the log: a collector that is away fails every batch. */
const COMPLAINT_INTERVAL_MS = 60_000;

/** Sends the SDK's own warnings to the log, at most one a minute. */
function logTracingProblems(log: Log): void {
  let nextAt = Number.NEGATIVE_INFINITY;
  const complain = (message: string, ...details: unknown[]): void => {
    if (performance.now() < nextAt) return;
    nextAt = performance.now() + COMPLAINT_INTERVAL_MS;
    log.warn({ detail: details.map(String).join(' ').slice(0, 500) || undefined }, `tracing: ${message.slice(0, 500)}`);
  };
  const ignore = (): void => undefined;
  diag.setLogger(
    { error: complain, warn: complain, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}
