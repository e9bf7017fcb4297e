import {
  ClosedConnectionError,
  DrainingConnectionError,
  headers as natsHeaders,
  NoRespondersError,
  PermissionViolationError,
  RequestError,
  TimeoutError,
} from '@nats-io/transport-node';
import { context as contextApi, type Context } from '@opentelemetry/api';
import { parseJson } from './bounded-json.js';
import type { Bus } from './connection.js';
import { BusError, describeError } from './errors.js';
import { readReply, type Reply } from './reply.js';
import { injectTrace } from './trace.js';

export interface RequestOptions {
  readonly timeoutMs: number;
  /** The trace to hand on; by default the active one. */
  readonly trace?: Context;
}

/**
 * Sends a JSON request and returns the reply, refusals included.
 * @throws BusError `no-responders`, `timeout`, `disconnected` (later; after a timeout the request may have been carried out),
 *   `forbidden`, `too-large`, `not-serialisable`, `bad-reply`, `closed` (never)
 */
export async function request(bus: Bus, subject: string, body: unknown, options: RequestOptions): Promise<Reply> {
  const bytes = encode(subject, body);
  if (bytes.length > bus.maxPayloadBytes) {
    throw new BusError(
      'too-large',
      `request to ${subject}: ${bytes.length} bytes, the broker takes ${bus.maxPayloadBytes}`,
      {
        retry: 'never',
        mend: 'send large things as artifacts',
      },
    );
  }
  const headers = injectTrace(natsHeaders(), options.trace ?? contextApi.active());
  let data: Uint8Array;
  try {
    data = (await bus.nc.request(subject, bytes, { timeout: options.timeoutMs, headers })).data;
  } catch (error) {
    throw failureOf(error, subject, options.timeoutMs);
  }
  const parsed = parseJson(data, { maxBytes: bus.maxPayloadBytes, maxDepth: 64, forbiddenKeys: ['__proto__'] });
  const reply = parsed.ok ? readReply(parsed.value) : undefined;
  if (reply) return reply;
  throw new BusError('bad-reply', `reply from ${subject}: ${parsed.ok ? 'no {ok, value | error}' : parsed.problem}`, {
    retry: 'never',
    mend: 'check that both sides run the same version',
  });
}

function encode(subject: string, body: unknown): Uint8Array {
  try {
    return new TextEncoder().encode(JSON.stringify(body ?? null));
  } catch (error) {
    throw new BusError('not-serialisable', `request to ${subject}: ${describeError(error)}`, {
      retry: 'never',
      mend: 'send plain JSON',
      cause: error,
    });
  }
}

function failureOf(error: unknown, subject: string, timeoutMs: number): BusError {
  const cause = error instanceof RequestError && error.cause ? error.cause : error;
  if (cause instanceof NoRespondersError) {
    return new BusError('no-responders', `nobody answers on ${subject}`, {
      retry: 'later',
      mend: 'start the service that serves it',
      cause,
    });
  }
  if (cause instanceof TimeoutError) {
    return new BusError('timeout', `no reply from ${subject} within ${timeoutMs} ms`, {
      retry: 'later',
      mend: 'ask again; the request may have been carried out',
      cause,
    });
  }
  if (cause instanceof PermissionViolationError) {
    return new BusError('forbidden', `the broker does not let this identity publish to ${subject}`, {
      retry: 'never',
      mend: 'use the identity that owns the subject',
      cause,
    });
  }
  if (cause instanceof ClosedConnectionError || cause instanceof DrainingConnectionError) {
    return new BusError('closed', `request to ${subject}: the connection is closed`, {
      retry: 'never',
      mend: 'send nothing after the drain has begun',
      cause,
    });
  }
  return new BusError('disconnected', `request to ${subject}: ${describeError(cause)}`, {
    retry: 'later',
    mend: 'the client is reconnecting; ask again',
    cause,
  });
}
