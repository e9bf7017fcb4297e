import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { AnswerAssembler } from './assembler.js';
import type { Bytes, Completion, CompletionRequest } from './complete.js';
import { endpointUrls, ForeignAddressError, guardedLookup } from './endpoint.js';
import { classifyStatus, excerpt, type Failure } from './failure.js';
import { SseParser, type SseItem } from './sse.js';
import { Watchdog } from './watchdog.js';

/**
 * The longest answer that is read. A 100 000 token answer in llama.cpp's one-chunk-per-token framing is about 30 MB.
 */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
/** The longest single event: a whole file in one tool call fits, a stream without line ends does not. */
const MAX_EVENT_CHARS = 4 * 1024 * 1024;
const MAX_ERROR_BYTES = 64 * 1024;
/** How long the text of an error may take to arrive once its status is known. */
const ERROR_BODY_MS = 2_000;
/** How long to wait, after the finish, for usage that may never come. */
const FINISH_GRACE_MS = 1_000;
/** Finish reasons by which vLLM, SGLang and gateways say that the server, not the model, ended the answer. */
const ABANDONED = new Set(['abort', 'error']);

/** One HTTP exchange with a model server, from connect to outcome. Good for one `run`. */
export class Turn {
  readonly #request: CompletionRequest;
  readonly #body: string;
  readonly #assembler: AnswerAssembler;
  readonly #parser = new SseParser({ maxEventChars: MAX_EVENT_CHARS });
  readonly #received: Buffer[] = [];
  #receivedBytes = 0;
  readonly #watchdogs: Watchdog[] = [];
  readonly #startedAtMs = performance.now();
  readonly #done = Promise.withResolvers<Completion>();
  #settled = false;
  #http: http.ClientRequest | undefined;
  #socket: Socket | undefined;
  #connected = false;
  #connecting: Watchdog | undefined;
  #silence: Watchdog | undefined;
  #firstDeltaAtMs: number | undefined;
  #lastDeltaAtMs = 0;
  #maxGapMs = 0;

  constructor(request: CompletionRequest, body: string) {
    this.#request = request;
    this.#body = body;
    this.#assembler = new AnswerAssembler({ turn: request.messages.length });
  }

  run(): Promise<Completion> {
    const { endpoint, signal, timers } = this.#request;
    const urls = endpointUrls(endpoint);
    if (!urls.ok) {
      this.#fail({ code: 'CONFIG_INVALID', message: urls.message });
      return this.#done.promise;
    }
    if (signal?.aborted) {
      this.#onAbort();
      return this.#done.promise;
    }
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#watch(timers.turnMs, () =>
      this.#fail({ code: 'TIME_BUDGET', message: `the answer was not finished within ${timers.turnMs} ms` }),
    );
    this.#connecting = this.#watch(timers.connectMs, () =>
      this.#fail({
        code: 'ENDPOINT_UNREACHABLE',
        message: `no connection to ${urls.versioned.host} within ${timers.connectMs} ms`,
      }),
    );
    this.#open(new URL('chat/completions', urls.versioned), urls.allowed);
    return this.#done.promise;
  }

  #open(url: URL, allowed: boolean): void {
    const secure = url.protocol === 'https:';
    // A fresh agent: no pooled connection that died unnoticed, and no proxy taken from the environment.
    const agent = secure ? new https.Agent({ keepAlive: false }) : new http.Agent({ keepAlive: false });
    const { apiKey } = this.#request.endpoint;
    const exchange = (secure ? https : http).request(url, {
      method: 'POST',
      agent,
      lookup: guardedLookup(allowed),
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(this.#body),
        accept: 'text/event-stream',
        'accept-encoding': 'identity',
        ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
      },
    });
    this.#http = exchange;
    exchange.on('socket', (socket) => {
      this.#socket = socket;
      socket.once(secure ? 'secureConnect' : 'connect', () => this.#onConnected());
    });
    exchange.on('response', (response) => this.#guard(() => this.#onResponse(response)));
    exchange.on('error', (error) => this.#onError(error));
    exchange.on('close', () => this.#onError(new Error('the connection closed')));
    exchange.end(this.#body);
  }

  #onConnected(): void {
    this.#connected = true;
    this.#connecting?.stop();
    const { firstTokenMs } = this.#request.timers;
    if (this.#settled) return;
    this.#silence = this.#watch(firstTokenMs, () =>
      this.#fail({ code: 'FIRST_TOKEN_TIMEOUT', message: `no token and no prompt progress within ${firstTokenMs} ms` }),
    );
  }

  #onResponse(response: http.IncomingMessage): void {
    const status = response.statusCode ?? 0;
    const type = response.headers['content-type'] ?? 'text/event-stream';
    const encoding = response.headers['content-encoding'] ?? 'identity';
    if (status !== 200) {
      this.#onErrorBody(response, (body) => this.#statusFailure(response, status, body));
    } else if (!/^text\/event-stream\b/i.test(type) || encoding !== 'identity') {
      const what = `content type ${excerpt(type)}, encoding ${excerpt(encoding)}`;
      this.#onErrorBody(response, (body) => ({
        code: 'CONFIG_INVALID',
        message: `the endpoint answered 200 with ${what} where a plain event stream was expected: ${excerpt(body)}`,
      }));
    } else {
      response.on('data', (bytes: Buffer) => this.#guard(() => this.#onBytes(bytes)));
      response.on('end', () => this.#onEnd('the server closed the stream'));
      response.on('error', (error) => this.#onError(error));
    }
  }

  #statusFailure(response: http.IncomingMessage, status: number, body: string): Failure {
    if (status < 200 || status >= 300) {
      const location = response.headers.location;
      if (status < 400 && location !== undefined) {
        const message = `the endpoint redirects (${status}) to ${excerpt(location)}; redirects are not followed, give the final address`;
        return { code: 'CONFIG_INVALID', message };
      }
      return classifyStatus(status, body, { retryAfter: response.headers['retry-after'], nowMs: Date.now() });
    }
    return { code: 'STREAM_BROKEN', message: `the server answered ${status} without a stream` };
  }

  /** Reads the text of an error as far as it comes, within limits, and fails with what it means. */
  #onErrorBody(response: http.IncomingMessage, meaning: (body: string) => Failure): void {
    this.#silence?.stop();
    const conclude = (): void => this.#fail(meaning(this.#raw()));
    this.#watch(ERROR_BODY_MS, conclude);
    response.on('data', (bytes: Buffer) => {
      this.#keep(bytes.subarray(0, MAX_ERROR_BYTES - this.#receivedBytes));
      if (this.#receivedBytes >= MAX_ERROR_BYTES) conclude();
    });
    response.on('end', conclude);
    response.on('error', conclude);
  }

  #onBytes(bytes: Buffer): void {
    if (this.#settled) return;
    this.#keep(bytes.subarray(0, MAX_RESPONSE_BYTES - this.#receivedBytes));
    for (const item of this.#parser.push(bytes)) {
      this.#onItem(item);
      if (this.#settled) return;
    }
    if (this.#receivedBytes >= MAX_RESPONSE_BYTES) this.#break(`the answer is larger than ${MAX_RESPONSE_BYTES} bytes`);
  }

  #onItem(item: SseItem): void {
    if (item.kind === 'comment') return;
    if (item.kind === 'oversize')
      return this.#break(`the server sent an event of more than ${item.limitChars} characters`);
    const data = item.data.trim();
    if (data === '') return;
    if (data === '[DONE]') return this.#onEnd('the server sent [DONE]');
    const finished = this.#assembler.finishReason !== undefined;
    const reading = this.#assembler.read(data);
    if (reading.outcome !== 'read') {
      // The answer was already whole: what a server stumbles over afterwards takes nothing away from it.
      if (finished) return this.#complete();
      if (reading.outcome === 'malformed') return this.#break(`the server sent ${reading.message}: ${excerpt(data)}`);
      return this.#fail(classifyStatus(reading.status, reading.body, { nowMs: Date.now() }));
    }
    if (finished && reading.deltas.length > 0) {
      return this.#break(`the server went on after its finish reason: ${excerpt(data)}`);
    }
    if (reading.deltas.length > 0) this.#onDelta();
    else if (reading.progressed) this.#silence?.feed();
    for (const delta of reading.deltas) this.#request.onDelta?.(delta);
    if (this.#settled) return;
    if (!finished && this.#assembler.finishReason !== undefined) this.#onFinish(this.#assembler.finishReason);
    if (this.#assembler.finishReason !== undefined && this.#assembler.hasUsage) this.#complete();
  }

  #onDelta(): void {
    const nowMs = performance.now();
    if (this.#firstDeltaAtMs === undefined) {
      this.#firstDeltaAtMs = nowMs;
      this.#silence?.stop();
      const { stallMs } = this.#request.timers;
      this.#silence = this.#watch(stallMs, () =>
        this.#fail({ code: 'STREAM_STALL', message: `no token for ${stallMs} ms in the middle of the answer` }),
      );
    } else {
      this.#maxGapMs = Math.max(this.#maxGapMs, nowMs - this.#lastDeltaAtMs);
      this.#silence?.feed();
    }
    this.#lastDeltaAtMs = nowMs;
  }

  #onFinish(reason: string): void {
    if (ABANDONED.has(reason)) {
      return this.#fail({
        code: 'SERVER_ERROR',
        message: `the server gave up on the answer (finish reason ${excerpt(reason)})`,
      });
    }
    this.#silence?.stop();
    this.#watch(FINISH_GRACE_MS, () => this.#complete());
  }

  #onEnd(how: string): void {
    if (this.#assembler.finishReason !== undefined) return this.#complete();
    const rest = this.#parser.unfinished ? ', in the middle of an event' : '';
    this.#break(`${how} without a finish reason${rest}`);
  }

  #onError(error: Error): void {
    if (this.#settled) return;
    if (error instanceof ForeignAddressError) return this.#fail({ code: 'CONFIG_INVALID', message: error.message });
    if (!this.#connected)
      return this.#fail({ code: 'ENDPOINT_UNREACHABLE', message: `no connection: ${reasonOf(error)}` });
    this.#onEnd(`the connection broke (${reasonOf(error)})`);
  }

  readonly #onAbort = (): void => this.#fail({ code: 'CANCELLED', message: 'the call was cancelled' });

  #break(message: string): void {
    this.#fail({ code: 'STREAM_BROKEN', message });
  }

  #fail(failure: Failure): void {
    this.#settle(() => ({
      outcome: 'failed',
      ...failure,
      message: this.#masked(failure.message),
      partial: { content: this.#assembler.content, reasoning: this.#assembler.reasoning },
      durationMs: performance.now() - this.#startedAtMs,
      bytes: this.#bytes(),
      raw: this.#masked(this.#raw()),
    }));
  }

  #complete(): void {
    const endedAtMs = performance.now();
    const { usage } = this.#assembler;
    this.#settle(() => ({
      outcome: 'complete',
      finishReason: this.#assembler.finishReason ?? '',
      content: this.#assembler.content,
      reasoning: this.#assembler.reasoning,
      toolCalls: this.#assembler.toolCalls,
      ...(usage && { usage }),
      timings: {
        ttftMs: (this.#firstDeltaAtMs ?? endedAtMs) - this.#startedAtMs,
        durationMs: endedAtMs - this.#startedAtMs,
        maxGapMs: this.#maxGapMs,
      },
      bytes: this.#bytes(),
      raw: this.#masked(this.#raw()),
    }));
  }

  #settle(completion: () => Completion): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#done.resolve(completion());
    this.#close();
  }

  /** Runs a step in which the caller's code may throw; what it throws is the caller's to see. */
  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#settled = true;
      this.#done.reject(error);
      this.#close();
    }
  }

  #close(): void {
    for (const watchdog of this.#watchdogs) watchdog.stop();
    this.#request.signal?.removeEventListener('abort', this.#onAbort);
    this.#http?.destroy();
  }

  #watch(limitMs: number, onExpired: () => void): Watchdog {
    const watchdog = new Watchdog(limitMs, onExpired);
    this.#watchdogs.push(watchdog);
    return watchdog;
  }

  #keep(bytes: Buffer): void {
    this.#received.push(bytes);
    this.#receivedBytes += bytes.length;
  }

  #raw(): string {
    return Buffer.concat(this.#received).toString('utf8');
  }

  /** Servers quote a refused key back; a result must not hold it. */
  #masked(text: string): string {
    const { apiKey } = this.#request.endpoint;
    return apiKey === undefined ? text : text.replaceAll(apiKey, '[api key]');
  }

  #bytes(): Bytes {
    // Before there is a connection the socket already counts what waits to be written.
    if (!this.#connected || this.#socket === undefined) return { sent: 0, received: 0 };
    return { sent: this.#socket.bytesWritten, received: this.#socket.bytesRead };
  }
}

/** The code and text of a socket error; of several addresses tried, of each. */
function reasonOf(error: Error): string {
  const parts = error instanceof AggregateError ? (error.errors as Error[]) : [error];
  return parts.map((part) => part.message || ('code' in part ? String(part.code) : part.name)).join('; ');
}
