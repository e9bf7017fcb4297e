import { BlockList, isIP } from 'node:net';
import type { IncomingMessage } from 'node:http';
import { ApiProblem } from './problems.js';
import { quoted } from './parameters.js';

/** Headers that decide something. Sent twice, one of them would be believed by us and the other by whoever stands before us. */
const single = new Set([
  'host',
  'authorization',
  'content-length',
  'content-type',
  'origin',
  'last-event-id',
  'transfer-encoding',
]);

/**
 * Refuses requests that were not meant for this API or that can be read in two ways. A page of the web reaches a ledger of this house by a
 * name of its own that suddenly means an address in here (DNS rebinding): its requests carry that name. Addresses cannot be rebound, nor
 * can names without dots; every other name has to be in `hosts`.
 */
export function checkAddressing(request: IncomingMessage, hosts: readonly string[]): void {
  const seen = new Set<string>();
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    const name = (request.rawHeaders[at] ?? '').toLowerCase();
    if (single.has(name) && seen.has(name))
      throw new ApiProblem('invalid-request', `the header ${name} was sent more than once`);
    seen.add(name);
  }
  const host = request.headers.host ?? '';
  if (!isOwnName(host, hosts)) throw new ApiProblem('misdirected', `the request is for the host ${quoted(host)}`);
  const { origin } = request.headers;
  const site = request.headers['sec-fetch-site'];
  const foreign = origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`;
  if (foreign || site === 'cross-site')
    throw new ApiProblem('foreign-origin', `a page of ${quoted(origin ?? 'another site')} sent the request`);
}

function isOwnName(host: string, hosts: readonly string[]): boolean {
  const name = /^(\[[0-9a-f:.]+\]|[a-z0-9_.-]+?)\.?(?::\d{1,5})?$/i.exec(host)?.[1]?.toLowerCase();
  if (name === undefined) return false;
  const bare = name.startsWith('[') ? name.slice(1, -1) : name;
  return isIP(bare) !== 0 || !bare.includes('.') || bare.endsWith('.localhost') || hosts.includes(bare);
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8);
loopback.addAddress('::1', 'ipv6');

/** Whether only this machine can reach what listens there. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  if (family === 0) return host === 'localhost';
  return loopback.check(host, family === 6 ? 'ipv6' : 'ipv4');
}

/** Why a token may not guard an API that other machines reach; undefined when it may. Drawn at random it passes. */
export function weakness(token: string): string | undefined {
  if (token.length < 32) return 'at least 32 characters';
  if (new Set(token).size < 10) return 'at least 10 different characters';
  if (/change|example|placeholder|password|secret|default|dummy|token|plumb/i.test(token))
    return 'one drawn at random, such as of: openssl rand -hex 32';
  return undefined;
}
