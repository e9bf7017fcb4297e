import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';

const MAX_BODY_BYTES = 32 * 1024 * 1024;

/**
 * A finished span as it was exported. Ids are lower-case hexadecimal; instants are Unix milliseconds with microseconds
 * behind the point.
 */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Absent for the root of a trace. */
  readonly parentSpanId?: string;
  readonly name: string;
  /** `service.name` of the exporting process; '' when it gave none. */
  readonly service: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly startMs: number;
  readonly endMs: number;
}

/** A running receiver of traces. */
export interface OtlpReceiver {
  /** Root of the receiver: the value for OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  /** Everything received so far, in order of arrival. */
  spans(): readonly ReceivedSpan[];
  /**
   * Resolves with the spans as soon as the predicate holds for them; rejects after `timeoutMs` or when stopped, and
   * names what came.
   */
  waitFor(predicate: (spans: readonly ReceivedSpan[]) => boolean, timeoutMs: number): Promise<readonly ReceivedSpan[]>;
  stop(): Promise<void>;
}

const nanos = z.union([z.string().regex(/^\d+$/), z.number().int().nonnegative()]).transform((value) => BigInt(value));
const hexId = z
  .string()
  .regex(/^[0-9a-fA-F]*$/)
  .transform((id) => id.toLowerCase());
const attributes = z.array(z.object({ key: z.string(), value: z.unknown() })).default([]);
const exported = z.object({
  resourceSpans: z.array(
    z.object({
      resource: z.object({ attributes }).optional(),
      scopeSpans: z
        .array(
          z.object({
            spans: z
              .array(
                z.object({
                  traceId: hexId.pipe(z.string().length(32)),
                  spanId: hexId.pipe(z.string().length(16)),
                  parentSpanId: hexId.optional(),
                  name: z.string(),
                  startTimeUnixNano: nanos,
                  endTimeUnixNano: nanos,
                  attributes,
                }),
              )
              .default([]),
          }),
        )
        .default([]),
    }),
  ),
});

/**
 * Starts a receiver for traces in OTLP/HTTP with JSON bodies (plain or gzip) on a free loopback port. Malformed bodies
 * are answered 400, protobuf 415; neither leaves a span behind.
 */
export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const inbox = new Inbox();
  const server = http.createServer((request, response) => {
    receive(request, inbox).then(
      ({ status, body }) => send(response, status, body),
      (error: unknown) => send(response, 400, { code: 3, message: String(error) }),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans: () => [...inbox.spans],
    waitFor: (predicate, timeoutMs) => inbox.waitFor(predicate, timeoutMs),
    stop: async () => {
      inbox.close();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

class Inbox {
  readonly spans: ReceivedSpan[] = [];
  readonly #waiting = new Set<{ look: () => void; fail: (why: string) => void }>();

  add(spans: readonly ReceivedSpan[]): void {
    this.spans.push(...spans);
    for (const waiter of [...this.#waiting]) waiter.look();
  }

  close(): void {
    for (const waiter of [...this.#waiting]) waiter.fail('the receiver was stopped');
  }

  waitFor(predicate: (spans: readonly ReceivedSpan[]) => boolean, timeoutMs: number): Promise<readonly ReceivedSpan[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly ReceivedSpan[]>();
    const timer = setTimeout(() => waiter.fail(`nothing fitting came within ${timeoutMs} ms`), timeoutMs);
    const leave = (): void => {
      clearTimeout(timer);
      this.#waiting.delete(waiter);
    };
    const waiter = {
      look: (): void => {
        try {
          if (!predicate(this.spans)) return;
          resolve([...this.spans]);
        } catch (error) {
          reject(error);
        }
        leave();
      },
      fail: (why: string): void => {
        leave();
        const names = this.spans.map(({ service, name }) => `${service}: ${name}`).join(', ');
        reject(new Error(`${why}; ${this.spans.length} spans received${names && `: ${names}`}`));
      },
    };
    this.#waiting.add(waiter);
    waiter.look();
    return promise;
  }
}

async function receive(request: IncomingMessage, inbox: Inbox): Promise<{ status: number; body: unknown }> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    sizeBytes += part.length;
    if (sizeBytes <= MAX_BODY_BYTES) parts.push(part);
  }
  if (sizeBytes > MAX_BODY_BYTES)
    return { status: 413, body: { code: 8, message: `more than ${MAX_BODY_BYTES} bytes` } };
  if (request.method !== 'POST' || request.url !== '/v1/traces') {
    return { status: 404, body: { code: 5, message: 'only POST /v1/traces is served' } };
  }
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    return { status: 415, body: { code: 3, message: 'only OTLP in JSON is read (http/json)' } };
  }
  const sent = Buffer.concat(parts);
  const plain =
    request.headers['content-encoding'] === 'gzip' ? gunzipSync(sent, { maxOutputLength: MAX_BODY_BYTES }) : sent;
  inbox.add(readSpans(JSON.parse(plain.toString('utf8'))));
  return { status: 200, body: {} };
}

function readSpans(body: unknown): ReceivedSpan[] {
  return exported.parse(body).resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = readAttributes(resource?.attributes ?? [])['service.name'];
    return scopeSpans
      .flatMap(({ spans }) => spans)
      .map((span) => ({
        traceId: span.traceId,
        spanId: span.spanId,
        ...(span.parentSpanId && { parentSpanId: span.parentSpanId }),
        name: span.name,
        service: typeof service === 'string' ? service : '',
        attributes: readAttributes(span.attributes),
        startMs: Number(span.startTimeUnixNano / 1_000n) / 1_000,
        endMs: Number(span.endTimeUnixNano / 1_000n) / 1_000,
      }));
  });
}

function readAttributes(pairs: z.output<typeof attributes>): Record<string, unknown> {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, readValue(value)]));
}

/** An OTLP AnyValue as a plain value; 64-bit integers come as decimal text and become numbers. */
function readValue(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  const any = value as Record<string, unknown>;
  if ('intValue' in any) return Number(any['intValue']);
  const { arrayValue, kvlistValue } = any as {
    arrayValue?: { values?: unknown[] };
    kvlistValue?: { values?: unknown };
  };
  if (arrayValue) return (arrayValue.values ?? []).map(readValue);
  if (kvlistValue) return readAttributes(attributes.parse(kvlistValue.values ?? []));
  return any['stringValue'] ?? any['boolValue'] ?? any['doubleValue'] ?? any['bytesValue'];
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
