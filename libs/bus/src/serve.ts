import type { Msg, MsgHdrs, Subscription } from '@nats-io/transport-node';
import type { Context } from '@opentelemetry/api';
import { parseJson } from './bounded-json.js';
import type { Bus } from './connection.js';
import { describeError, retryOf } from './errors.js';
import { refuse, type Reply } from './reply.js';
import { isInbox } from './subject.js';
import { extractTrace } from './trace.js';

/** What a request handler knows besides the body. */
export interface RequestContext {
  /** The subject as sent; with a wildcard subscription its last token says who asks, and the broker enforces it. */
  readonly subject: string;
  readonly headers: MsgHdrs | undefined;
  readonly trace: Context;
}

export interface ServeOptions {
  /** Replicas with the same queue share the requests. */
  readonly queue: string;
  /** How many handlers run at once. */
  readonly concurrency: number;
  readonly maxPayloadBytes: number;
  /** Nesting that is still read (64). */
  readonly maxDepth?: number;
  /** Requests waiting for a handler before more are refused as `overloaded` (1000). */
  readonly maxWaiting?: number;
  /** Told about every throw that is a bug, and about requests that name no inbox to answer to. */
  readonly onError?: (error: unknown, subject: string) => void;
}

/** A running server of requests. */
export interface Serving {
  /** Takes nothing more, answers everything taken. After `deadlineMs` (10 s) returns all the same. Idempotent. */
  stop(deadlineMs?: number): Promise<void>;
}

/** Expected outcomes are returned, refusals too. */
export type RequestHandler = (body: unknown, context: RequestContext) => Promise<Reply>;

/**
 * Answers JSON requests on `subject`, so that any NATS client can ask. Malformed, too large or too deep bodies are refused;
 * a thrown operational error becomes a refusal with its `retry`, any other throw becomes `internal` without its text.
 * Resolves once the broker knows the subscription.
 */
export async function serve(
  bus: Bus,
  subject: string,
  options: ServeOptions,
  handler: RequestHandler,
): Promise<Serving> {
  const server = new Server(bus, subject, options, handler);
  await bus.nc.flush();
  return server;
}

class Server implements Serving {
  private readonly subscription: Subscription;
  private readonly waiting: Msg[] = [];
  private readonly running = new Set<Promise<void>>();
  private stopping: Promise<void> | undefined;

  constructor(
    private readonly bus: Bus,
    subject: string,
    private readonly options: ServeOptions,
    private readonly handler: RequestHandler,
  ) {
    this.subscription = bus.nc.subscribe(subject, {
      queue: options.queue,
      callback: (error, message) => {
        if (error) options.onError?.(error, subject);
        else this.accept(message);
      },
    });
  }

  stop(deadlineMs = 10_000): Promise<void> {
    this.stopping ??= this.stopOnce(deadlineMs);
    return this.stopping;
  }

  private async stopOnce(deadlineMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<void>((resolve) => (timer = setTimeout(resolve, deadlineMs)));
    const drained = async (): Promise<void> => {
      // What the broker had already sent still arrives during the drain.
      if (!this.subscription.isClosed()) await this.subscription.drain().catch(() => undefined);
      while (this.running.size > 0) await Promise.all(this.running);
      await this.bus.nc.flush().catch(() => undefined);
    };
    await Promise.race([drained(), deadline]);
    clearTimeout(timer);
  }

  private accept(message: Msg): void {
    // The requester chooses the reply subject but we publish to it: an answer must never become an event or a command.
    if (!isInbox(message.reply)) {
      this.options.onError?.(
        new Error(`no inbox to answer to: ${JSON.stringify(message.reply ?? '')}`),
        message.subject,
      );
      return;
    }
    if (this.running.size < this.options.concurrency) this.start(message);
    else if (this.waiting.length < (this.options.maxWaiting ?? 1_000)) this.waiting.push(message);
    else
      this.answer(
        message,
        refuse('overloaded', `${message.subject} has too many requests waiting; ask again`, 'later'),
      );
  }

  private start(message: Msg): void {
    const run = this.handle(message).finally(() => {
      this.running.delete(run);
      const next = this.waiting.shift();
      if (next) this.start(next);
    });
    this.running.add(run);
  }

  private async handle(message: Msg): Promise<void> {
    const { maxPayloadBytes, maxDepth } = this.options;
    const parsed = parseJson(message.data, {
      maxBytes: maxPayloadBytes,
      maxDepth: maxDepth ?? 64,
      forbiddenKeys: ['__proto__'],
    });
    if (!parsed.ok) {
      this.answer(message, refuse('bad-request', `request to ${message.subject}: ${parsed.problem}`, 'never'));
      return;
    }
    const { subject, headers } = message;
    try {
      this.answer(message, await this.handler(parsed.value, { subject, headers, trace: extractTrace(headers) }));
    } catch (error) {
      this.answer(message, this.refusalOfThrow(error, subject));
    }
  }

  private refusalOfThrow(error: unknown, subject: string): Reply {
    const retry = retryOf(error);
    if (retry === 'bug') {
      this.options.onError?.(error, subject);
      return refuse('internal', `${subject} failed; its log says why`, 'later');
    }
    const code = (error as { code?: unknown }).code;
    return refuse(typeof code === 'string' ? code : 'failed', describeError(error), retry);
  }

  private answer(message: Msg, reply: Reply): void {
    let bytes: Uint8Array;
    try {
      bytes = new TextEncoder().encode(JSON.stringify(reply.ok ? { ok: true, value: reply.value ?? null } : reply));
    } catch (error) {
      this.options.onError?.(error, message.subject);
      bytes = encodeRefusal('internal', `${message.subject} failed; its log says why`, 'later');
    }
    if (bytes.length > this.bus.maxPayloadBytes) {
      const limit = this.bus.maxPayloadBytes;
      bytes = encodeRefusal(
        'reply-too-large',
        `the reply has ${bytes.length} bytes, expected at most ${limit}`,
        'never',
      );
    }
    if (!this.bus.nc.isClosed()) message.respond(bytes);
  }
}

function encodeRefusal(code: string, message: string, retry: 'later' | 'never'): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(refuse(code, message, retry)));
}
