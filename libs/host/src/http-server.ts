import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Health } from './health.js';
import type { hostMetrics } from './host-metrics.js';
import type { MetricHandles, Metrics } from './metrics.js';
import { StartError } from './start-error.js';

/** Whatever answers the requests that are not about the service itself. */
export type RequestListener = (request: IncomingMessage, response: ServerResponse) => void;

export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly measures: MetricHandles<typeof hostMetrics>;
}

/** Whoever sends slowly, or more of a head than anybody needs, does not hold a connection for long. */
const BOUNDS = {
  headersTimeout: 10_000,
  requestTimeout: 300_000,
  connectionsCheckingInterval: 2_000,
  maxHeaderSize: 16_384,
};
const CONNECTIONS_MAX = 2_000;

const OWN_ROUTES = new Set(['/health', '/ready', '/metrics']);

/**
 * The HTTP side of a service. `/health`, `/ready` and `/metrics` answer from the first moment to the last, before Nest is up, while the
 * broker is away and while work is drained; everything else goes to the application once there is one.
 */
export class HttpServer {
  readonly #server: Server;
  #application: RequestListener | undefined;

  private constructor(private readonly options: HttpServerOptions) {
    this.#server = createServer(BOUNDS, (request, response) => this.#receive(request, response));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** @throws StartError if the address cannot be listened on */
  static async listen(options: HttpServerOptions): Promise<HttpServer> {
    const http = new HttpServer(options);
    const { host, port } = options;
    try {
      http.#server.listen({ host, port });
      await once(http.#server, 'listening');
    } catch (error) {
      throw listenError(error, host, port);
    }
    return http;
  }

  /** Where to reach it from this machine; a wildcard address is given as loopback. */
  get url(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    const host =
      address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '[::1]' : family === 'IPv6' ? `[${address}]` : address;
    return `http://${host}:${port}`;
  }

  /** From now on, requests go to this application. */
  serve(application: RequestListener): void {
    this.#application = application;
  }

  /** Takes no more connections and lets requests in flight finish; after `graceMs` they are cut (event streams never finish). */
  async close(graceMs: number): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), graceMs);
    await closed;
    clearTimeout(timer);
  }

  #receive(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    const startedAt = performance.now();
    response.once('close', () => {
      const labels = { method: request.method ?? '', route: routeOf(request, path) };
      this.options.measures.plumb_http_requests_total.inc(1, { ...labels, status: String(response.statusCode) });
      this.options.measures.plumb_http_request_duration_seconds.observe(
        (performance.now() - startedAt) / 1_000,
        labels,
      );
    });
    if (OWN_ROUTES.has(path)) void this.#answerOwn(request, response, path);
    else if (this.#application === undefined) send(response, 503, { message: 'the service is starting; ask again' });
    else traced(request, response, path, this.#application);
  }

  async #answerOwn(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    request.resume();
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD');
      return send(response, 405, { message: 'expected GET' });
    }
    if (path === '/health') return send(response, 200, { ok: true, state: this.options.health.state });
    if (path === '/ready') {
      const report = await this.options.health.report();
      return send(response, report.ready ? 200 : 503, report);
    }
    const { checks } = await this.options.health.report();
    for (const [dependency, { ok }] of Object.entries(checks))
      this.options.measures.plumb_dependency_ready.set(ok ? 1 : 0, { dependency });
    const page = await this.options.metrics.page();
    response.writeHead(200, { 'content-type': page.contentType, 'cache-control': 'no-store' });
    response.end(page.text);
  }
}

/** The route's pattern, never the path: paths hold ids, and every id would be a time series of its own. */
function routeOf(request: IncomingMessage, path: string): string {
  if (OWN_ROUTES.has(path)) return path;
  const { route, baseUrl } = request as { route?: { path?: unknown }; baseUrl?: unknown };
  if (typeof route?.path !== 'string') return 'other';
  return `${typeof baseUrl === 'string' ? baseUrl : ''}${route.path}`;
}

/** Runs the application inside a span when the caller handed on a trace; requests without one (a browser polling) make none. */
function traced(request: IncomingMessage, response: ServerResponse, path: string, application: RequestListener): void {
  const parent = propagation.extract(context.active(), request.headers);
  if (trace.getSpanContext(parent) === undefined) return application(request, response);
  const method = request.method ?? '';
  const attributes = { 'http.request.method': method, 'url.path': path };
  const span = trace.getTracer('@plumbline/host').startSpan(method, { kind: SpanKind.SERVER, attributes }, parent);
  response.once('close', () => {
    span.updateName(`${method} ${routeOf(request, path)}`);
    span.setAttributes({ 'http.route': routeOf(request, path), 'http.response.status_code': response.statusCode });
    if (response.statusCode >= 500 || !response.writableFinished) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end();
  });
  context.with(trace.setSpan(parent, span), () => application(request, response));
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' });
  response.end(`${JSON.stringify(body)}\n`);
}

function listenError(error: unknown, host: string, port: number): StartError {
  const { code } = error as NodeJS.ErrnoException;
  const why: Record<string, string> = {
    EADDRINUSE: 'is taken by another process; stop that, or set PLUMB_HTTP_PORT to a free port (0 takes any)',
    EACCES: 'is not allowed to this user; set PLUMB_HTTP_PORT to a port above 1023',
    EADDRNOTAVAIL: 'is not an address of this machine; correct PLUMB_HTTP_HOST',
    ENOTFOUND: 'does not resolve; correct PLUMB_HTTP_HOST',
  };
  return new StartError(
    `port ${port} of ${host} ${why[code ?? ''] ?? `cannot be listened on (${code ?? String(error)})`}`,
    error,
  );
}
