import http from 'node:http';
import { describe, expect, it } from 'vitest';
import { checkEndpoint, endpointUrls, ForeignAddressError, guardedLookup, type LookupAll } from './endpoint.js';

const resolving = (...addresses: string[]) => ({ resolve: () => Promise.resolve(addresses) });

describe('endpointUrls', () => {
  it.each([
    ['http://127.0.0.1:8080', 'http://127.0.0.1:8080/v1/', 'http://127.0.0.1:8080/'],
    ['http://127.0.0.1:8080/v1', 'http://127.0.0.1:8080/v1/', 'http://127.0.0.1:8080/'],
    ['http://127.0.0.1:8080/v1/', 'http://127.0.0.1:8080/v1/', 'http://127.0.0.1:8080/'],
    ['http://10.0.0.2/llm//api', 'http://10.0.0.2/llm/api/v1/', 'http://10.0.0.2/llm/api/'],
    ['https://mac.local/api/v1', 'https://mac.local/api/v1/', 'https://mac.local/api/'],
    ['http://[::1]:1/v1beta/openai', 'http://[::1]:1/v1beta/openai/', 'http://[::1]:1/'],
    // The URL parser makes these canonical before they are judged and before they are connected to.
    ['http://2130706433/', 'http://127.0.0.1/v1/', 'http://127.0.0.1/'],
    ['http://0x7f.1/', 'http://127.0.0.1/v1/', 'http://127.0.0.1/'],
  ])('%s', (baseUrl, versioned, root) => {
    expect(endpointUrls({ baseUrl })).toMatchObject({ ok: true, versioned: new URL(versioned), root: new URL(root) });
  });

  it.each([
    ['nonsense', /not a URL/],
    ['ftp://127.0.0.1', /ftp:/],
    ['http://user:secret@127.0.0.1', /carries credentials/],
    ['http://127.0.0.1/?key=secret', /a query/],
    ['http://8.8.8.8/v1', /8\.8\.8\.8, outside/],
    ['http://010.0.0.1/', /8\.0\.0\.1, outside/],
    ['http://134744072/', /8\.8\.8\.8, outside/],
    ['http://[::ffff:8.8.8.8]/', /outside/],
    ['http://0.0.0.0:8080/', /outside/],
  ])('refuses %s, without repeating what may be secret', (baseUrl, why) => {
    const urls = endpointUrls({ baseUrl });
    expect(urls).toMatchObject({ ok: false, message: expect.stringMatching(why) as string });
    expect(JSON.stringify(urls)).not.toContain('secret');
  });

  it.each(['', 'a b', 'key\r\nx-evil: 1'])('refuses the key %j', (apiKey) => {
    expect(endpointUrls({ baseUrl: 'http://127.0.0.1', apiKey })).toMatchObject({ ok: false });
  });
});

describe('checkEndpoint', () => {
  it('takes local addresses without asking anyone', async () => {
    const resolve = (): Promise<string[]> => Promise.reject(new Error('asked'));
    expect(await checkEndpoint('http://192.168.1.9:1/v1', { resolve })).toMatchObject({ outcome: 'local' });
  });

  it.each([
    ['all addresses local', ['10.0.0.1', 'fd00::1'], 'local'],
    ['one address foreign', ['10.0.0.1', '93.184.216.34'], 'refused'],
    ['a foreign IPv6', ['127.0.0.1', '2001:db8::1'], 'refused'],
    ['no address', [], 'unresolved'],
  ])('a name with %s', async (_name, addresses, outcome) => {
    expect(await checkEndpoint('http://models.example/', resolving(...addresses))).toMatchObject({ outcome });
    expect(await checkEndpoint('http://models.local/', resolving(...addresses))).toMatchObject({ outcome });
  });

  it('does not mistake a name that cannot be resolved for either', async () => {
    const resolve = (): Promise<string[]> => Promise.reject(new Error('ENOTFOUND'));
    expect(await checkEndpoint('http://models.example/', { resolve })).toMatchObject({ outcome: 'unresolved' });
  });

  it('allows by whole name only', async () => {
    const check = (url: string, ...allowHosts: string[]) => checkEndpoint(url, { allowHosts, ...resolving('1.2.3.4') });
    expect(await check('https://API.example.com./v1', 'api.example.com')).toMatchObject({ outcome: 'allowed' });
    expect(await check('https://1.2.3.4/v1', '1.2.3.4')).toMatchObject({ outcome: 'allowed' });
    expect(await check('https://[2001:db8::1]/v1', '2001:db8::1')).toMatchObject({ outcome: 'allowed' });
    expect(await check('https://evil-api.example.com', 'api.example.com')).toMatchObject({ outcome: 'refused' });
    expect(await check('https://api.example.com.evil.com', 'api.example.com')).toMatchObject({ outcome: 'refused' });
    expect(await check('https://example.com', '*', '*.com', '')).toMatchObject({ outcome: 'refused' });
  });

  it('resolves localhost for real', async () => {
    expect(await checkEndpoint('http://localhost:1/')).toMatchObject({ outcome: 'local' });
  });
});

describe('guardedLookup', () => {
  const lying =
    (...addresses: string[]): LookupAll =>
    (_host, _options, callback) =>
      callback(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
  const connect = (allowed: boolean, ...addresses: string[]): Promise<Error> =>
    new Promise((resolve, reject) => {
      const lookup = guardedLookup(allowed, lying(...addresses));
      const exchange = http.request({ host: 'models.local', port: 9, lookup, timeout: 500 });
      exchange.on('error', resolve).on('timeout', () => exchange.destroy(new Error('went out')));
      exchange.on('response', () => reject(new Error('an answer'))).end();
    });

  it('stops a connection whose name leads outside, even by one of its addresses', async () => {
    expect(await connect(false, '192.0.2.1')).toBeInstanceOf(ForeignAddressError);
    expect(await connect(false, '127.0.0.1', '192.0.2.1')).toBeInstanceOf(ForeignAddressError);
  });

  it('lets local names and allowed ones through', async () => {
    expect(await connect(false, '127.0.0.1')).not.toBeInstanceOf(ForeignAddressError);
    expect(await connect(true, '192.0.2.1')).not.toBeInstanceOf(ForeignAddressError);
  });
});
