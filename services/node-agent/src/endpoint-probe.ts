import http from 'node:http';
import https from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { checkEndpoint, probeHealth, type EndpointCheck } from '@plumbline/model';
import { z } from 'zod';

/** What an endpoint said of itself. `why` is a sentence for the operator. */
export type EndpointFinding =
  | { readonly outcome: 'serves'; readonly names: readonly string[] }
  | { readonly outcome: 'loading' | 'unreachable' | 'refused'; readonly why: string };

export interface EndpointProbeOptions {
  readonly timeoutMs: number;
  readonly allowHosts: readonly string[];
  readonly signal: AbortSignal;
}

const MAX_BODY_BYTES = 1024 * 1024;

/**
 * Asks a model server how it is (`/health`) and what it serves (`/v1/models`), once, each within `timeoutMs`. Only addresses of the house,
 * or hosts allowed by name, are ever connected to. Never throws.
 */
export async function probeEndpoint(endpoint: string, options: EndpointProbeOptions): Promise<EndpointFinding> {
  const { timeoutMs, allowHosts, signal } = options;
  const check = await resolved(endpoint, allowHosts, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
  if (check.outcome === 'refused') return { outcome: 'refused', why: check.message };
  if (check.outcome === 'unresolved') return { outcome: 'unreachable', why: check.message };
  const health = await probeHealth({ baseUrl: endpoint, allowHosts }, { timeoutMs, signal });
  if (health.state === 'loading') return { outcome: 'loading', why: `the server at ${endpoint} is still loading` };
  if (health.state === 'unreachable') {
    return { outcome: 'unreachable', why: `no answer from ${endpoint} within ${timeoutMs} ms` };
  }
  const addresses = check.outcome === 'local' ? check.addresses : undefined;
  return listModels(modelsUrl(endpoint), addresses, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
}

/** A name server may be silent for longer than anybody wants to wait, and a lookup cannot be broken off. */
function resolved(endpoint: string, allowHosts: readonly string[], signal: AbortSignal): Promise<EndpointCheck> {
  const { promise: late, resolve } = Promise.withResolvers<EndpointCheck>();
  const giveUp = (): void =>
    resolve({ outcome: 'unresolved', host: '', message: `${endpoint} does not resolve in time` });
  if (signal.aborted) giveUp();
  signal.addEventListener('abort', giveUp, { once: true });
  return Promise.race([checkEndpoint(endpoint, { allowHosts }), late]);
}

const modelList = z.object({ data: z.array(z.object({ id: z.string() })) });

/** `/v1/models`, whether or not the endpoint carries its version segment. */
function modelsUrl(endpoint: string): URL {
  const { origin, pathname } = new URL(endpoint);
  const segments = pathname.split('/').filter((segment) => segment !== '');
  const versioned = segments.some((segment) => /^v\d/.test(segment)) ? segments : [...segments, 'v1'];
  return new URL(`${origin}/${[...versioned, 'models'].join('/')}`);
}

/** Connects to the judged addresses and no others: the name may point elsewhere by now. Redirects are not followed. */
function listModels(url: URL, addresses: readonly string[] | undefined, signal: AbortSignal): Promise<EndpointFinding> {
  const secure = url.protocol === 'https:';
  return new Promise((resolve) => {
    const unreachable = (why: string): void => resolve({ outcome: 'unreachable', why: `${url.href} ${why}` });
    const exchange = (secure ? https : http).get(
      url,
      {
        agent: false,
        signal,
        headers: { accept: 'application/json' },
        ...(addresses && { lookup: pinned(addresses) }),
      },
      (response) => {
        const parts: Buffer[] = [];
        let sizeBytes = 0;
        response.on('data', (part: Buffer) => {
          sizeBytes += part.length;
          if (sizeBytes <= MAX_BODY_BYTES) parts.push(part);
          else exchange.destroy(new Error(`more than ${MAX_BODY_BYTES} bytes`));
        });
        response.on('error', (error) => unreachable(`broke off: ${error.message}`));
        response.on('end', () => {
          if (response.statusCode !== 200) return unreachable(`answered ${response.statusCode}, expected 200`);
          const names = namesIn(Buffer.concat(parts).toString('utf8'));
          if (names === undefined) return unreachable('answered something that is not a list of models');
          resolve({ outcome: 'serves', names });
        });
      },
    );
    exchange.on('error', (error) => unreachable(`gave no answer: ${error.message}`));
  });
}

function namesIn(text: string): string[] | undefined {
  try {
    return modelList.parse(JSON.parse(text)).data.map(({ id }) => id);
  } catch {
    return undefined;
  }
}

function pinned(addresses: readonly string[]): LookupFunction {
  const all = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_hostname, options, callback) => {
    if (options.all === true) return callback(null, all);
    callback(null, all[0]?.address ?? '', all[0]?.family ?? 0);
  };
}
