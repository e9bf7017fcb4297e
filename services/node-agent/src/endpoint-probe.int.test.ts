import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { probeEndpoint, type EndpointFinding } from './endpoint-probe.js';

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
});

async function serverOf(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Healthy, and answering `/v1/models` as given. */
const healthy =
  (models: RequestListener): RequestListener =>
  (request, response) =>
    request.url === '/health' ? response.end('{}') : models(request, response);

const list =
  (...ids: string[]): RequestListener =>
  (request, response) => {
    if (request.url !== '/v1/models') response.statusCode = 404;
    response.end(JSON.stringify({ object: 'list', data: ids.map((id) => ({ id })) }));
  };

const probe = (endpoint: string, allowHosts: string[] = [], timeoutMs = 500): Promise<EndpointFinding> =>
  probeEndpoint(endpoint, { timeoutMs, allowHosts, signal: new AbortController().signal });

describe('probeEndpoint', () => {
  it.each(['', '/', '/v1', '/v1/'])('finds what a server serves behind %j', async (path) => {
    const url = await serverOf(healthy(list('a', 'b')));
    expect(await probe(`${url}${path}`)).toEqual({ outcome: 'serves', names: ['a', 'b'] });
  });

  it('asks a server without /health for its models all the same', async () => {
    const url = await serverOf((request, response) => {
      if (request.url === '/health') response.writeHead(404).end();
      else list('a')(request, response);
    });
    expect(await probe(url)).toEqual({ outcome: 'serves', names: ['a'] });
  });

  it('connects by name to the address that was judged', async () => {
    const url = await serverOf(healthy(list('a')));
    expect(await probe(url.replace('127.0.0.1', 'localhost'))).toEqual({ outcome: 'serves', names: ['a'] });
  });

  it('tells a server that loads', async () => {
    const url = await serverOf((_request, response) => response.writeHead(503).end());
    expect(await probe(url)).toMatchObject({ outcome: 'loading' });
  });

  it.each<[string, RequestListener, RegExp]>([
    ['never answers', () => undefined, /no answer from .* within 500 ms/],
    ['never lists', healthy(() => undefined), /\/v1\/models gave no answer/],
    [
      'breaks off',
      healthy(
        (_q, response) => void response.writeHead(200, { 'content-length': '99' }).write('{', () => response.destroy()),
      ),
      /broke off/,
    ],
    [
      'sends without end',
      healthy((_q, response) => void setInterval(() => response.write(' '), 20).unref()),
      /gave no answer/,
    ],
    [
      'sends too much',
      healthy((_q, response) => response.end(`"${'x'.repeat(2 * 1024 * 1024)}"`)),
      /more than 1048576 bytes/,
    ],
    ['sends a page', healthy((_q, response) => response.end('<html>')), /not a list of models/],
    [
      'sends another document',
      healthy((_q, response) => response.end('{"data":[{"name":"a"}]}')),
      /not a list of models/,
    ],
    ['refuses', healthy((_q, response) => response.writeHead(401).end()), /answered 401, expected 200/],
    [
      'redirects',
      healthy((_q, response) => response.writeHead(302, { location: 'http://192.0.2.1/' }).end()),
      /answered 302, expected 200/,
    ],
  ])('does not reach a server that %s', async (_what, listener, why) => {
    const finding = await probe(await serverOf(listener));
    expect(finding).toMatchObject({ outcome: 'unreachable', why: expect.stringMatching(why) as string });
  });

  it('does not reach a closed port', async () => {
    const url = await serverOf(list());
    const [server] = servers.splice(0);
    server?.close();
    await once(server as Server, 'close');
    expect(await probe(url)).toMatchObject({ outcome: 'unreachable' });
  });

  it.each([
    'http://192.0.2.1:8080',
    'http://8.8.8.8',
    'http://[2001:db8::1]/v1',
    'ftp://127.0.0.1',
    'http://u:p@127.0.0.1',
  ])('refuses %s without connecting', async (endpoint) => {
    const startedAt = performance.now();
    expect(await probe(endpoint, [], 5_000)).toMatchObject({ outcome: 'refused' });
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it('tries a foreign host that is allowed by name', async () => {
    expect(await probe('http://192.0.2.1:8080', ['192.0.2.1'], 200)).toMatchObject({ outcome: 'unreachable' });
  });

  it('stops at once when told to', async () => {
    const url = await serverOf(() => undefined);
    const leave = new AbortController();
    const finding = probeEndpoint(url, { timeoutMs: 20_000, allowHosts: [], signal: leave.signal });
    const startedAt = performance.now();
    leave.abort();
    expect(await finding).toMatchObject({ outcome: 'unreachable' });
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });
});
