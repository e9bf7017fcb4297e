import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { startOtlpReceiver } from '@plumbline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, TestBroker } from '../../bus/src/nats.fixture.js';
import type { ReadinessReport } from './health.js';
import { ServiceUnderTest } from './service-under-test.fixture.js';

const main = new URL('tiny-service.fixture.ts', import.meta.url).href;
const token = 'tiny-token-4711';
let broker: TestBroker;
const started: ServiceUnderTest[] = [];

beforeAll(async () => {
  broker = await TestBroker.start();
});
afterAll(() => broker.close());
afterEach(async () => {
  await Promise.all(started.splice(0).map((service) => service.kill()));
});

function start(env: Record<string, string> = {}): ServiceUnderTest {
  const service = new ServiceUnderTest(main, {
    PLUMB_NATS_URL: `nats://${broker.url}`,
    PLUMB_NATS_PASSWORD: broker.passwords['node-agent'],
    PLUMB_TINY_TOKEN: token,
    ...env,
  });
  started.push(service);
  return service;
}

async function ready(url: string): Promise<{ status: number; report: ReadinessReport }> {
  const response = await fetch(`${url}/ready`);
  return { status: response.status, report: (await response.json()) as ReadinessReport };
}

const metric = async (url: string, name: string): Promise<string | undefined> =>
  (await (await fetch(`${url}/metrics`)).text()).split('\n').find((line) => line.startsWith(name));

describe('a service', () => {
  it('says ready once, with its address, after everything has booted, and answers for itself', async () => {
    const service = start({ TINY_BOOT_MS: '200' });
    const url = await service.ready();
    expect(service.lines.map(({ msg }) => msg).at(-1)).toBe('ready');
    expect(service.lines.some(({ msg }) => msg.startsWith('bootstrapped'))).toBe(true);
    expect(await (await fetch(`${url}/health`)).json()).toEqual({ ok: true, state: 'ready' });
    const { status, report } = await ready(url);
    expect(status).toBe(200);
    expect(report).toMatchObject({ ready: true, checks: { nats: { ok: true } } });
    expect((await fetch(`${url}/health`, { method: 'POST', body: '{}' })).status).toBe(405);
    expect((await fetch(`${url}/nothing/here`)).status).toBe(404);
    expect(await metric(url, 'plumb_nats_connected')).toBe('plumb_nats_connected 1');
    expect(await metric(url, 'plumb_nodejs_eventloop_lag_p99_seconds ')).toBeDefined();
    expect(await metric(url, 'plumb_http_requests_total{method="GET",route="/ready",status="200"}')).toMatch(/ 1$/);
    expect(await metric(url, 'plumb_http_requests_total{method="GET",route="other",status="404"}')).toMatch(/ 1$/);
    expect(service.lines.filter(({ msg }) => msg === 'ready')).toHaveLength(1);
    expect(service.stderr).toBe('');
  });

  it('says ready at any log level, and then nothing below it', async () => {
    const service = start({ PLUMB_LOG_LEVEL: 'fatal' });
    await service.ready();
    expect(service.lines).toHaveLength(1);
  });

  it('says aloud that failpoints are armed, and ends at a name it does not know', async () => {
    const service = start({ PLUMB_FAILPOINTS: 'step.worked=kill, step.recorded=stop@3' });
    const url = await service.ready();
    expect(await metric(url, 'plumb_failpoints_armed')).toBe('plumb_failpoints_armed 2');
    expect(service.lines.filter(({ level }) => level === 'warn')).toMatchObject([
      { failpoints: [{ name: 'step.worked' }, { name: 'step.recorded' }] },
    ]);
    const quiet = await start().ready();
    expect(await metric(quiet, 'plumb_failpoints_armed')).toBe('plumb_failpoints_armed 0');
    const wrong = start({ PLUMB_FAILPOINTS: 'step.workt=kill' });
    expect(await wrong.exit).toBe(2);
    expect(wrong.stderr).toMatch(/^[^\n]*PLUMB_FAILPOINTS is not usable: there is no failpoint step\.workt[^\n]*\n$/);
  });

  it('writes no secret of its configuration', async () => {
    const service = start();
    await service.ready();
    const line = await service.line('bootstrapped with [redacted]');
    expect(line['apiToken']).toBe('[redacted]');
    expect(JSON.stringify(service.lines)).not.toContain(token);
  });

  it('counts routes by their pattern, so that ids make no time series', async () => {
    const service = start();
    const url = await service.ready();
    const job = fetch(`${url}/jobs/one`);
    await service.line('job started');
    expect((await service.line('job started'))['step']).toBe('one');
    await fetch(`${url}/finish/one`);
    expect((await job).status).toBe(200);
    await eventually(
      'counted',
      async () => (await metric(url, 'plumb_http_requests_total{method="GET",route="/jobs/:id"')) !== undefined,
    );
    expect(await metric(url, 'plumb_tiny_jobs_total')).toBe('plumb_tiny_jobs_total{outcome="done"} 1');
  });
});

describe('leaving', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'on %s finishes what is in flight, unready meanwhile, and exits with 0',
    async (signal) => {
      const service = start();
      const url = await service.ready();
      const job = fetch(`${url}/jobs/one`);
      await service.line('job started');
      service.signal(signal);
      await service.line('draining');
      expect(await ready(url)).toMatchObject({
        status: 503,
        report: { ready: false, state: 'draining', checks: { nats: { ok: true } } },
      });
      expect((await fetch(`${url}/health`)).status).toBe(200);
      await fetch(`${url}/finish/one`);
      const answer = await job;
      expect([answer.status, await answer.json()]).toEqual([200, { id: 'one' }]);
      expect(await service.exit).toBe(0);
      const said = service.lines.map(({ msg }) => msg);
      const order = ['leaving', 'draining', 'job finished', 'drained', 'hooks ran', 'left'];
      expect(said.filter((msg) => order.includes(msg))).toEqual(order);
    },
  );

  it('lets a request in flight finish, then closes NATS before the hooks run', async () => {
    const service = start();
    const url = await service.ready();
    const slow = fetch(`${url}/slow`);
    await service.line('slow request');
    service.signal('SIGTERM');
    expect(await (await slow).text()).toBe('done');
    expect(await service.exit).toBe(0);
    expect((await service.line('hooks ran'))['natsClosed']).toBe(true);
  });

  it('at once on the second signal', async () => {
    const service = start();
    const url = await service.ready();
    void fetch(`${url}/jobs/one`).catch(() => undefined);
    await service.line('job started');
    service.signal('SIGTERM');
    await service.line('draining');
    service.signal('SIGTERM');
    expect(await service.exit).toBe(143);
    expect(service.lines.map(({ msg }) => msg)).not.toContain('drained');
  });

  it('with 1 after an exception that nobody caught, and says which', async () => {
    const service = start({ TINY_FAIL: 'uncaught' });
    expect(await service.exit).toBe(1);
    expect((await service.line('uncaught exception'))['err']).toMatchObject({ message: 'nobody caught this' });
  });
});

describe('a start that cannot succeed', () => {
  it('exits with 2 and one sentence per problem of the configuration', async () => {
    const service = start({ PLUMB_NATS_URL: 'http://x', PLUMB_HTTP_PORT: '1e3', PLUMB_TINY_TOKEN: '' });
    expect(await service.exit).toBe(2);
    expect(service.stderr.trim().split('\n')).toEqual([
      'node-agent: PLUMB_NATS_URL is not usable: expected a URL like nats://127.0.0.1:4222.',
      'node-agent: PLUMB_HTTP_PORT is not usable: expected a whole number from 0 to 65535.',
      'node-agent: PLUMB_TINY_TOKEN is not set; give it the token of the tiny service.',
    ]);
    expect(service.lines).toEqual([]);
  });

  it('exits with 1 and one sentence when the port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const service = start({ PLUMB_HTTP_PORT: String(port) });
    expect(await service.exit).toBe(1);
    other.close();
    expect(service.stderr.trim()).toBe(
      `node-agent: port ${port} of 127.0.0.1 is taken by another process; stop that, or set PLUMB_HTTP_PORT to a free port (0 takes any)`,
    );
  });

  it('exits with 1 and one sentence when the broker refuses the password: waiting would not mend it', async () => {
    const service = start({ PLUMB_NATS_PASSWORD: 'not-the-password' });
    expect(await service.exit).toBe(1);
    expect(service.stderr.trim().split('\n')).toHaveLength(1);
    expect(service.stderr).toMatch(/refused user "node-agent"; check user and password/);
    expect(service.stderr).not.toContain('not-the-password');
  });

  it.each(['module', 'bootstrap'])('exits with 1 when the %s fails, without saying ready', async (where) => {
    const service = start({ TINY_FAIL: where });
    expect(await service.exit).toBe(1);
    expect(service.lines.map(({ msg }) => msg)).not.toContain('ready');
    expect(service.lines.find(({ level }) => level === 'fatal')?.['err']).toBeDefined();
    expect(service.stderr.trim().split('\n')).toHaveLength(1);
    expect(service.stderr).not.toContain(token);
  });
});

describe('the broker', () => {
  it('may be away at the start: the service says so, waits, and is ready when it comes', async () => {
    const own = await TestBroker.start();
    try {
      await own.halt('SIGTERM');
      const { port } = await freeAddress();
      const service = start({
        PLUMB_NATS_URL: `nats://${own.url}`,
        PLUMB_NATS_PASSWORD: own.passwords['node-agent'],
        PLUMB_HTTP_PORT: String(port),
      });
      const warning = await service.line('waiting for NATS');
      expect(warning).toMatchObject({ level: 'warn', mend: expect.stringContaining('nats-server') as string });
      const url = `http://127.0.0.1:${port}`;
      expect((await fetch(`${url}/health`)).status).toBe(200);
      const { status, report } = await ready(url);
      expect(status).toBe(503);
      expect(report).toMatchObject({ state: 'starting', checks: { nats: { ok: false } } });
      expect(report.checks['nats']?.detail).toMatch(/connecting to nats:.* tries so far: .*no broker/);
      expect((await fetch(`${url}/jobs/one`)).status).toBe(503);
      expect(await metric(url, 'plumb_nats_connected')).toBe('plumb_nats_connected 0');
      await own.launch();
      await service.ready();
      expect((await ready(url)).status).toBe(200);
      expect(service.lines.filter(({ msg }) => msg.startsWith('waiting for NATS'))).toHaveLength(1);
    } finally {
      await own.close();
    }
  });

  it('need not come: a service that waits for it leaves on a signal', async () => {
    const { port } = await freeAddress();
    const service = start({ PLUMB_NATS_URL: `nats://127.0.0.1:${port}` });
    await service.line('waiting for NATS');
    service.signal('SIGTERM');
    expect(await service.exit).toBe(0);
  });

  it('may go and come back: readiness follows, liveness does not care', async () => {
    const own = await TestBroker.start();
    try {
      const service = start({ PLUMB_NATS_URL: `nats://${own.url}`, PLUMB_NATS_PASSWORD: own.passwords['node-agent'] });
      const url = await service.ready();
      await own.halt('SIGKILL');
      await eventually('unready', async () => (await ready(url)).status === 503);
      expect((await ready(url)).report.checks['nats']).toMatchObject({ ok: false });
      expect((await fetch(`${url}/health`)).status).toBe(200);
      expect(await metric(url, 'plumb_nats_connected')).toBe('plumb_nats_connected 0');
      await own.launch();
      await eventually('ready again', async () => (await ready(url)).status === 200);
      expect(await metric(url, 'plumb_nats_connected')).toBe('plumb_nats_connected 1');
    } finally {
      await own.close();
    }
  });

  it('may be gone when the service leaves', async () => {
    const own = await TestBroker.start();
    try {
      const service = start({ PLUMB_NATS_URL: `nats://${own.url}`, PLUMB_NATS_PASSWORD: own.passwords['node-agent'] });
      await service.ready();
      await own.halt('SIGKILL');
      await service.line('NATS disconnected');
      service.signal('SIGTERM');
      expect(await service.exit).toBe(0);
    } finally {
      await own.close();
    }
  });
});

describe('tracing', () => {
  it('continues the trace of the caller, names it in the log and exports it before leaving', async () => {
    const receiver = await startOtlpReceiver();
    try {
      const service = start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, PLUMB_INSTANCE: 'one' });
      const url = await service.ready();
      const traceId = '0af7651916cd43dd8448eb211c80319c';
      await fetch(`${url}/finish/none`, { headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` } });
      await fetch(`${url}/finish/none`);
      const told = service.lines.filter(({ msg }) => msg === 'told to finish');
      expect(told.map((line) => line['traceId'])).toEqual([traceId, undefined]);
      service.signal('SIGTERM');
      expect(await service.exit).toBe(0);
      const spans = receiver.spans();
      expect(spans).toHaveLength(1);
      expect(spans[0]).toMatchObject({
        traceId,
        parentSpanId: 'b7ad6b7169203331',
        spanId: told[0]?.['spanId'],
        name: 'GET /finish/:id',
        service: 'node-agent',
      });
    } finally {
      await receiver.stop();
    }
  });

  it('never keeps a service from leaving: the collector may be away', async () => {
    const { port } = await freeAddress();
    const service = start({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` });
    const url = await service.ready();
    await fetch(`${url}/finish/none`, { headers: { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` } });
    const leftAt = performance.now();
    service.signal('SIGTERM');
    expect(await service.exit).toBe(0);
    expect(performance.now() - leftAt).toBeLessThan(5_000);
  });
});

async function freeAddress(): Promise<{ port: number }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return { port };
}
