import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Artifacts } from '@plumbline/event-log';
import { startTestSystem, type TestSystem } from '@plumbline/testing';
import { Validator } from '@seriousme/openapi-schema-validator';
import fc from 'fast-check';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  Contract,
  operationsOf,
  send,
  type Answer,
  type ApiDocument,
  type Call,
  type Operation,
} from './contract.fixture.js';
import { strangersPerMinute } from './front-door.js';
import { History, newTaskId } from './history.fixture.js';
import { openApiDocument } from './openapi.js';
import { allows, badValues, goodValues } from './parameter-values.fixture.js';

const seed = 17;
const document = openApiDocument() as unknown as ApiDocument;
const operations = operationsOf(document);
const contract = new Contract(document);
const bytesMax = 100_000;
const stored = randomBytes(500);
const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

let system: TestSystem;
let known: { id: string; escalation: string; digest: string; pruned: string };

beforeAll(async () => {
  const env = { PLUMB_ARTIFACT_BYTES_MAX: String(bytesMax), PLUMB_API_REQUESTS_PER_MINUTE: '10000000' };
  system = await startTestSystem({ services: ['ledger'], env });
  const history = new History(system);
  const { taskId, escalation } = await history.judged();
  await history.queued();
  const old = randomBytes(100);
  known = { id: taskId, escalation, digest: digestOf(stored), pruned: digestOf(old) };
  for (const bytes of [stored, old]) await put(digestOf(bytes), bytes);
  await new Artifacts(system.database.admin).prune({ digests: [known.pruned] });
  const projected = async () => {
    expect((await call(operation('getEscalation'))).status).toBe(200);
    expect(JSON.parse((await call(operation('getFleet'))).body)).toMatchObject({ queue: [{}], grants: [{}] });
    expect(JSON.parse((await call(operation('listVerdicts'))).body)).toMatchObject({ verdicts: [{}] });
  };
  await vi.waitFor(projected, { timeout: 15_000, interval: 100 });
});
afterAll(() => system?.stop());

const operation = (id: string): Operation => {
  const found = operations.find(({ operationId }) => operationId === id);
  if (found === undefined) throw new Error(`there is no operation ${id}`);
  return found;
};
const authorized = (): Record<string, string> => ({ authorization: `Bearer ${system.apiToken}` });
const put = (digest: string, body: Uint8Array): Promise<Answer> =>
  send(system.ledgerUrl, { method: 'PUT', path: `/v1/artifacts/${digest}`, headers: authorized(), body });

/** A path of an operation: real things in its parameters, or what is given instead. */
const pathOf = ({ path }: Operation, given: Record<string, string> = {}): string =>
  path.replace(/\{(\w+)\}/g, (_, name: string) => given[name] ?? known[name as keyof typeof known]);

/** Sends a request to an operation and holds the answer against the document. */
async function call(
  target: Operation,
  change: Partial<Call> & { given?: Record<string, string> } = {},
): Promise<Answer> {
  const { given, ...rest } = change;
  const body = target.requestBody === undefined ? {} : { body: stored };
  const request = {
    method: target.method,
    path: pathOf(target, given),
    headers: authorized(),
    firstPart: true,
    ...body,
    ...rest,
  };
  const answer = await send(system.ledgerUrl, request);
  expect(contract.complaints(target, answer), `${request.method} ${request.path.slice(0, 300)}`).toEqual([]);
  return answer;
}

const each = operations.map((target) => [target.operationId, target] as const);

describe('the document', () => {
  it('is valid OpenAPI 3.1, is what is served without a token, and what is published', async () => {
    const result = await new Validator().validate(structuredClone(document) as unknown as Record<string, unknown>);
    expect(result).toEqual({ valid: true });
    const { status, body } = await send(system.ledgerUrl, { method: 'GET', path: '/v1/openapi.json' });
    expect({ status, document: JSON.parse(body) as unknown }).toEqual({ status: 200, document });
    const published = readFileSync(new URL('../../../../docs/openapi.json', import.meta.url), 'utf8');
    expect(JSON.parse(published)).toEqual(document);
  });
});

describe('every operation', () => {
  it.each(each)('%s answers valid calls as documented', async (_, target) => {
    const optional = (target.parameters ?? []).filter(({ in: where, name }) => where === 'query' && name !== 'cursor');
    const query = fc.record(Object.fromEntries(optional.map((parameter) => [parameter.name, goodValues(parameter)])), {
      requiredKeys: [],
    });
    const check = async (given: Record<string, string | undefined>): Promise<void> => {
      const text = Object.entries(given)
        .map(([name, value]) => `${name}=${value}`)
        .join('&');
      const { status } = await call(target, { path: `${pathOf(target)}?${text}` });
      // A stream may be asked to go on where the log never was.
      const ahead = Number(given['after'] ?? 0) > 0 && /^follow/.test(target.operationId);
      expect(status).toBe(ahead && status === 409 ? 409 : 200);
    };
    await check({});
    if (optional.length > 0) await fc.assert(fc.asyncProperty(query, check), { seed, numRuns: 25 });
  });

  const parameters = operations.flatMap((target) =>
    (target.parameters ?? []).map(
      (parameter) => [`${target.operationId} ${parameter.name}`, target, parameter] as const,
    ),
  );
  it.each(parameters)('%s refuses what its schema does not allow', async (_, target, parameter) => {
    const before = (await system.log.head()).pos;
    const refused = async (raw: string): Promise<void> => {
      const { name, in: where } = parameter;
      if (where === 'header') {
        if (!/^[\x21-\x7e]+$/.test(raw) || allows(parameter.schema, encodeURIComponent(raw))) return;
        const { status } = await call(target, { headers: { ...authorized(), [name]: raw } });
        expect(status, raw).toBe(400);
        return;
      }
      if (where === 'path') {
        const { status, body } = await send(system.ledgerUrl, {
          method: target.method,
          path: pathOf(target, { [name]: raw }),
          headers: authorized(),
          ...(target.requestBody === undefined ? {} : { body: stored }),
        });
        expect([400, 404, 405, 414], `${raw} ${body}`).toContain(status);
        return;
      }
      const { status } = await call(target, { path: `${pathOf(target)}?${name}=${raw}` });
      expect([400, 414], raw).toContain(status);
    };
    await fc.assert(fc.asyncProperty(badValues(parameter), refused), { seed, numRuns: 40 });
    expect((await system.log.head()).pos).toBe(before);
  });

  it.each(each)('%s refuses parameters that are repeated, unknown or meant to break in', async (_, target) => {
    const [parameter] = (target.parameters ?? []).filter(({ in: where }) => where === 'query');
    const name = parameter?.name ?? 'nothing';
    const value = parameter === undefined ? 'x' : fc.sample(goodValues(parameter), { seed, numRuns: 1 })[0];
    const queries = [
      `${name}=${value}&${name}=${value}`,
      `${name}[]=${value}`,
      `${name}[__proto__]=x`,
      '__proto__=x',
      '__proto__[polluted]=x',
      'constructor.prototype.polluted=x',
      'toString=x',
      'token=x',
      '=',
      '&&',
      `%=x`,
      Array.from({ length: 60 }, (_nothing, at) => `p${at}=1`).join('&'),
    ];
    for (const query of queries) {
      const { status, body } = await call(target, { path: `${pathOf(target)}?${query}` });
      expect([query, status]).toEqual([query, 400]);
      if (target.method !== 'HEAD') expect(JSON.parse(body)).toMatchObject({ code: 'invalid-request' });
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it.each(each)('%s refuses foreign hosts and origins, bodies, long URLs and strangers', async (_, target) => {
    const path = pathOf(target);
    const headers = authorized();
    for (const host of ['evil.example', 'evil.example:80', 'a b', '127.0.0.1.evil.example', 'x@127.0.0.1', '[::1'])
      expect([host, (await call(target, { headers: { ...headers, host } })).status]).toEqual([host, 421]);
    for (const host of ['localhost', 'ledger:8080', '[::1]:99', '10.1.2.3', 'ledger.localhost'])
      expect([host, (await call(target, { headers: { ...headers, host } })).status]).toEqual([host, 200]);
    for (const foreign of [
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
    ]) {
      const { status, headers: answered } = await call(target, { headers: { ...headers, ...foreign } });
      expect(status).toBe(403);
      expect(Object.keys(answered).filter((name) => name.startsWith('access-control'))).toEqual([]);
    }
    expect((await call(target, { path: `${path}?x=${'x'.repeat(9_000)}` })).status).toBe(414);
    if (target.requestBody === undefined)
      expect(
        (await call(target, { headers: { ...headers, 'content-length': '3' }, body: Buffer.from('abc') })).status,
      ).toBe(400);
    if (target.security?.length === 0) return;
    for (const stranger of [{}, { authorization: 'Bearer wrong' }, { authorization: system.apiToken }] as Record<
      string,
      string
    >[])
      expect((await call(target, { headers: stranger, path: `${path}?token=${system.apiToken}` })).status).toBe(401);
  });

  it.each(each)('%s answers as documented for what does not exist', async (_, target) => {
    const absent = { id: newTaskId(), escalation: 'none.1', digest: 'ab'.repeat(32) };
    if (/\{/.test(target.path) && target.method !== 'PUT')
      expect((await call(target, { given: absent })).status).toBe(404);
    if (/Artifact$/.test(target.operationId) && target.method !== 'PUT')
      expect((await call(target, { given: { digest: known.pruned } })).status).toBe(410);
    if (target.method === 'PUT') {
      expect((await call(target, { given: absent })).status).toBe(409);
      const large = randomBytes(bytesMax + 1);
      expect((await call(target, { given: { digest: digestOf(large) }, body: large })).status).toBe(413);
      const chunked = { ...authorized(), 'transfer-encoding': 'chunked' };
      const { status } = await call(target, { given: { digest: digestOf(large) }, body: large, headers: chunked });
      expect(status).toBe(413);
    }
    if (/^follow/.test(target.operationId)) {
      const headers = { ...authorized(), 'last-event-id': '999999999' };
      expect((await call(target, { headers })).status).toBe(409);
    }
  });
});

describe('what is not documented', () => {
  const problem = (answer: Answer): void => {
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(JSON.parse(answer.body)).toMatchObject({ schema: 'plumbline.problem/1', status: answer.status });
  };

  it('is no method of a documented path', async () => {
    for (const path of Object.keys(document.paths)) {
      const documented = Object.keys(document.paths[path] ?? {}).map((method) => method.toUpperCase());
      for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND']) {
        if (documented.includes(method)) continue;
        const answer = await send(system.ledgerUrl, {
          method,
          path: pathOf({ path } as Operation),
          headers: authorized(),
        });
        expect([method, path, answer.status]).toEqual([method, path, 405]);
        expect(answer.headers.allow?.split(', ').sort()).toEqual(documented.sort());
        problem(answer);
      }
    }
  });

  it('is no path', async () => {
    const segment = fc.oneof(
      fc.constantFrom('v1', 'v2', 'tasks', 'log', '..', '.', '', 'artifacts', '%2e%2e', 'V1'),
      fc.webSegment(),
    );
    const paths = fc.array(segment, { minLength: 1, maxLength: 6 }).map((parts) => `/${parts.join('/')}`);
    const own = /^\/(health|ready|metrics)$/;
    const check = async (path: string): Promise<void> => {
      const answer = await send(system.ledgerUrl, { method: 'GET', path, headers: authorized(), firstPart: true });
      const reads = operations.some((each) =>
        new RegExp(`^${each.path.replace(/\{\w+\}/g, '[^/]*')}$`).test(decodeURI(path)),
      );
      if (own.test(path) || reads) return;
      expect([path, answer.status]).toEqual([path, 404]);
      problem(answer);
    };
    for (const path of [
      '/v1/tasks/',
      '//v1/tasks',
      '/V1/tasks',
      '/tasks',
      '/v1',
      '/',
      '/v1/artifacts/',
      '/v1/tasks/a/b/c',
    ])
      await check(path);
    await fc.assert(fc.asyncProperty(paths, check), { seed, numRuns: 200 });
  });
});

describe('last of all, for it takes the system down or shuts the door', () => {
  it('every operation says so while the database takes no connections, and recovers', async () => {
    const server = new URL(system.database.adminUrl);
    server.pathname = '/postgres';
    const admin = new Pool({ connectionString: server.href, max: 1 });
    const name = decodeURIComponent(new URL(system.database.adminUrl).pathname.slice(1));
    await admin.query(`ALTER DATABASE "${name}" WITH ALLOW_CONNECTIONS false`);
    try {
      const drop = () =>
        admin.query(
          'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()',
          [name],
        );
      for (const target of operations.filter(({ security }) => security?.length !== 0)) {
        await drop();
        expect([target.operationId, (await call(target)).status]).toEqual([target.operationId, 503]);
      }
    } finally {
      await admin.query(`ALTER DATABASE "${name}" WITH ALLOW_CONNECTIONS true`);
      await admin.end();
    }
    await vi.waitFor(async () => expect((await call(operation('listTasks'))).status).toBe(200), { timeout: 15_000 });
  });

  it('every operation refuses an address that asks too often without the token, and nobody else', async () => {
    const stranger = { headers: {} };
    for (let n = 0; n < strangersPerMinute; n++)
      await send(system.ledgerUrl, { method: 'GET', path: '/v1/openapi.json' });
    for (const target of operations) {
      const answer = await call(target, stranger);
      expect(answer.status).toBe(429);
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
      expect(answer.headers).toMatchObject({
        'ratelimit-limit': String(strangersPerMinute),
        'ratelimit-remaining': '0',
      });
    }
    expect((await call(operation('listTasks'))).status).toBe(200);
  });

  it('every documented operation and status was seen', () => {
    expect(contract.unseen()).toEqual([]);
  });
});
