import { lookup as systemLookup, type LookupAddress, type LookupAllOptions } from 'node:dns';
import { lookup as systemLookupAll } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { isLocalAddress } from './local-address.js';

/** Where a model is served, and what may be said to it. */
export interface Endpoint {
  /**
   * Root of the server, with or without its version segment: `http://host:8080` and `http://host:8080/v1` are the same.
   */
  readonly baseUrl: string;
  /** Sent as a bearer token; never appears in a result. */
  readonly apiKey?: string;
  /**
   * Host names or addresses outside the house that policy allows; compared whole, without port and without wildcards.
   */
  readonly allowHosts?: readonly string[];
}

/**
 * The addresses of one endpoint, or why it cannot be one. `versioned` ends in `/v1/` or the like, `root` is the
 * server's.
 */
export type EndpointUrls =
  | { readonly ok: true; readonly versioned: URL; readonly root: URL; readonly host: string; readonly allowed: boolean }
  | { readonly ok: false; readonly message: string };

/**
 * Takes an endpoint's URL apart without any I/O. Refuses what is not http or https, credentials, query and fragment in
 * the URL, and an address outside the house that is not in `allowHosts`. A name passes here: its addresses are judged
 * when it is resolved ({@link guardedLookup}).
 */
export function endpointUrls(endpoint: Endpoint): EndpointUrls {
  const url = URL.parse(endpoint.baseUrl);
  if (url === null) return refuse(`the model endpoint is not a URL; expected for example http://127.0.0.1:8080/v1`);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    return refuse(`the model endpoint uses ${url.protocol} where http: or https: was expected`);
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    return refuse(
      `the URL of model endpoint ${url.host} carries credentials, a query or a fragment; give the key apart from the URL`,
    );
  }
  if (endpoint.apiKey !== undefined && !/^[\x21-\x7e]+$/.test(endpoint.apiKey)) {
    return refuse(`the key for model endpoint ${url.host} is empty or holds spaces or control characters`);
  }
  const host = bareHost(url.hostname);
  const allowed = isAllowed(host, endpoint.allowHosts);
  if (!allowed && isIP(host) !== 0 && !isLocalAddress(host)) return refuse(notLocal(url.host, host));
  const segments = url.pathname.split('/').filter((segment) => segment !== '');
  const version = segments.findIndex((segment) => /^v\d/.test(segment));
  const rootPath = version < 0 ? segments : segments.slice(0, version);
  const apiPath = version < 0 ? [...segments, 'v1'] : segments;
  return {
    ok: true,
    versioned: new URL(`${url.origin}/${apiPath.map((segment) => `${segment}/`).join('')}`),
    root: new URL(`${url.origin}/${rootPath.map((segment) => `${segment}/`).join('')}`),
    host,
    allowed,
  };
}

/** What {@link checkEndpoint} found. `unresolved` may mend itself; `refused` needs the operator. */
export type EndpointCheck =
  | { readonly outcome: 'local'; readonly host: string; readonly addresses: readonly string[] }
  | { readonly outcome: 'allowed'; readonly host: string }
  | { readonly outcome: 'unresolved'; readonly host: string; readonly message: string }
  | { readonly outcome: 'refused'; readonly message: string };

/**
 * Says whether a model endpoint may be used: it is local when its address is, or when *all* addresses its name resolves
 * to are (`.local` names included: the suffix is a habit, not a proof); or it is allowed by name. For use when an
 * endpoint is configured; every connection is judged again, since a name may point elsewhere a moment later.
 */
export async function checkEndpoint(
  url: string,
  options: {
    readonly allowHosts?: readonly string[];
    readonly resolve?: (host: string) => Promise<readonly string[]>;
  } = {},
): Promise<EndpointCheck> {
  const urls = endpointUrls({ baseUrl: url, ...(options.allowHosts && { allowHosts: options.allowHosts }) });
  if (!urls.ok) return { outcome: 'refused', message: urls.message };
  if (urls.allowed) return { outcome: 'allowed', host: urls.host };
  if (isIP(urls.host) !== 0) return { outcome: 'local', host: urls.host, addresses: [urls.host] };
  let addresses: readonly string[];
  try {
    addresses = await (options.resolve ?? resolveAll)(urls.host);
  } catch (error) {
    return { outcome: 'unresolved', host: urls.host, message: `${urls.host} does not resolve: ${String(error)}` };
  }
  const foreign = addresses.find((address) => !isLocalAddress(address));
  if (foreign !== undefined) return { outcome: 'refused', message: notLocal(urls.host, foreign) };
  if (addresses.length === 0) {
    return { outcome: 'unresolved', host: urls.host, message: `${urls.host} resolves to no address` };
  }
  return { outcome: 'local', host: urls.host, addresses };
}

/** A name led outside the house although policy does not allow it. */
export class ForeignAddressError extends Error {
  readonly retry = 'never';
  override readonly name = 'ForeignAddressError';
}

/** Resolves a name to all its addresses, as `dns.lookup` does with `all`. */
export type LookupAll = (
  hostname: string,
  options: LookupAllOptions,
  callback: (error: Error | null, addresses: LookupAddress[]) => void,
) => void;

/**
 * A resolver for one connection that fails with {@link ForeignAddressError} when any address of the name is foreign.
 * The addresses judged are the addresses connected to, so a name cannot change between check and use.
 */
export function guardedLookup(allowed: boolean, lookup: LookupAll = systemLookup): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '', 0);
      const foreign = allowed ? undefined : addresses.find(({ address }) => !isLocalAddress(address));
      if (foreign !== undefined) return callback(new ForeignAddressError(notLocal(hostname, foreign.address)), '', 0);
      if (options.all === true) return callback(null, addresses);
      const first: LookupAddress | undefined = addresses[0];
      return callback(null, first?.address ?? '', first?.family ?? 0);
    });
  };
}

function bareHost(hostname: string): string {
  return hostname
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '');
}

function isAllowed(host: string, allowHosts: readonly string[] = []): boolean {
  return allowHosts.some((entry) => bareHost(entry) === host);
}

function refuse(message: string): EndpointUrls {
  return { ok: false, message };
}

function notLocal(host: string, address: string): string {
  return (
    `model endpoint ${host} is at ${address}, outside this machine's own networks; ` +
    `use an address of the house or allow the host by name in the policy`
  );
}

async function resolveAll(host: string): Promise<readonly string[]> {
  const found = await systemLookupAll(host, { all: true });
  return found.map(({ address }) => address);
}
