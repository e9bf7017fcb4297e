import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Bytes } from './complete.js';
import { endpointUrls, guardedLookup, type Endpoint } from './endpoint.js';

/**
 * What a server's `/health` said. `unknown`: it answered, but not in a way that tells (many servers have no such
 * route).
 */
export interface Health {
  readonly state: 'ready' | 'loading' | 'unknown' | 'unreachable';
  readonly bytes: Bytes;
}

/**
 * Asks `/health` at the server's root once: 200 is `ready`, 503 `loading`, anything else `unknown`; no answer within
 * `timeoutMs`, an abort, or an address that is not allowed is `unreachable`. The body is not read.
 */
export function probeHealth(
  endpoint: Endpoint,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
): Promise<Health> {
  const urls = endpointUrls(endpoint);
  if (!urls.ok) return Promise.resolve({ state: 'unreachable', bytes: { sent: 0, received: 0 } });
  const signals = [AbortSignal.timeout(options.timeoutMs), ...(options.signal ? [options.signal] : [])];
  const secure = urls.root.protocol === 'https:';
  return new Promise((resolve) => {
    const exchange = (secure ? https : http).request(new URL('health', urls.root), {
      agent: secure ? new https.Agent({ keepAlive: false }) : new http.Agent({ keepAlive: false }),
      lookup: guardedLookup(urls.allowed),
      signal: AbortSignal.any(signals),
      ...(endpoint.apiKey !== undefined && { headers: { authorization: `Bearer ${endpoint.apiKey}` } }),
    });
    let connected: Socket | undefined;
    exchange.on('socket', (socket) => socket.once('connect', () => (connected = socket)));
    const settle = (state: Health['state']): void => {
      resolve({ state, bytes: { sent: connected?.bytesWritten ?? 0, received: connected?.bytesRead ?? 0 } });
      exchange.destroy();
    };
    exchange.on('response', ({ statusCode }) =>
      settle(statusCode === 200 ? 'ready' : statusCode === 503 ? 'loading' : 'unknown'),
    );
    exchange.on('error', () => settle('unreachable'));
    exchange.end();
  });
}
