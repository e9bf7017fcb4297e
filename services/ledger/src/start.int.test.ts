import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, startPostgres, type PostgresServer } from '@plumbline/embedded';
import { startTestNats, type TestNats } from '@plumbline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ServiceUnderTest } from '../../../libs/host/src/service-under-test.fixture.js';
import { DatabaseLink } from './database-link.js';

let nats: TestNats;
let folder: string;
let server: PostgresServer | undefined;
let ledger: ServiceUnderTest | undefined;
beforeAll(async () => {
  nats = await startTestNats();
  folder = mkdtempSync(join(tmpdir(), 'plumb-ledger-start-'));
});
afterAll(async () => {
  await nats?.stop();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(() => ledger?.kill());

/** Against hanging: services that run from their sources start slowly on a busy machine. */
const patienceMs = 90_000;
const password = 'superuser-password';
const admin = (port: number, as = `postgres:${password}`, database = 'postgres'): string =>
  `postgres://${as}@127.0.0.1:${port}/${database}`;

async function start(env: Record<string, string>): Promise<{ service: ServiceUnderTest; url: string }> {
  const port = await freePort();
  const service = new ServiceUnderTest(new URL('main.ts', import.meta.url).href, {
    PLUMB_NATS_URL: nats.url,
    PLUMB_NATS_PASSWORD: nats.passwords.ledger,
    PLUMB_API_TOKEN: 'a-token-of-the-api',
    PLUMB_HTTP_PORT: String(port),
    ...env,
  });
  ledger = service;
  return { service, url: `http://127.0.0.1:${port}` };
}

describe('a ledger whose Postgres is away at its start', () => {
  it('says so, is not ready, and goes on when it comes', async () => {
    const port = await freePort();
    const { service, url } = await start({
      PLUMB_DATABASE_URL: admin(port, 'plumb_ledger:ledger-password'),
      PLUMB_DATABASE_ADMIN_URL: admin(port),
    });
    const line = await service.line('waiting for Postgres', patienceMs);
    expect(line.msg).toContain(`127.0.0.1:${port}/postgres`);
    const before = await fetch(`${url}/ready`);
    expect([before.status, await before.json()]).toMatchObject([
      503,
      { state: 'starting', checks: { postgres: { ok: false, detail: expect.stringContaining('ECONNREFUSED') } } },
    ]);
    server = await startPostgres({ dataDir: join(folder, 'data'), superuserPassword: password, port, ephemeral: true });
    await service.line('ready', patienceMs);
    const after = await fetch(`${url}/ready`);
    expect([after.status, await after.json()]).toMatchObject([
      200,
      { checks: { postgres: { ok: true, detail: 'the log is at position 0' } } },
    ]);
    expect(JSON.stringify(service.lines)).not.toContain(password);
  });

  it('leaves on a signal while it waits', async () => {
    const { service } = await start({ PLUMB_DATABASE_URL: admin(await freePort()) });
    await service.line('waiting for Postgres', patienceMs);
    service.signal('SIGTERM');
    expect(await service.exit).toBe(0);
  });

  it.each([
    ['the password', 'postgres:wrong', 'postgres', /password authentication failed/],
    ['the database', `postgres:${password}`, 'nowhere', /database "nowhere" does not exist/],
  ])('ends at once with one sentence where %s is wrong', async (_, as, database, problem) => {
    const { service } = await start({ PLUMB_DATABASE_URL: admin(server?.port ?? 0, as, database) });
    expect(await service.exit).toBe(1);
    expect(service.stderr).toMatch(/^ledger: Postgres at 127\.0\.0\.1:\d+\/\w+: [^\n]*; correct PLUMB_DATABASE_URL\n$/);
    expect(service.stderr).toMatch(problem);
    expect(service.stderr).not.toContain(password);
    expect(service.lines.map(({ msg }) => msg).filter((msg) => msg.startsWith('waiting'))).toEqual([]);
  });

  it('gives up with one sentence when patience is over', async () => {
    const warned: string[] = [];
    const link = new DatabaseLink({ warn: ((_: unknown, text: string) => void warned.push(text)) as never }, 1_000);
    const port = await freePort();
    await expect(link.reached([admin(port)])).rejects.toMatchObject({
      name: 'StartError',
      message: expect.stringMatching(
        /^no Postgres within 1 s \(Postgres at .*ECONNREFUSED.*\); start it, or correct PLUMB_DATABASE_URL$/,
      ),
    });
    expect(warned).toHaveLength(1);
    expect((await link.readiness()).ok).toBe(false);
  });
});
