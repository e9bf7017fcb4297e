import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, startNats, startPostgres } from '@plumbline/embedded';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkout } from '../system/checkout.js';
import { homeAt, makeHome } from '../system/home.js';
import { identityOf } from '../system/process-identity.js';
import { writeRunFile } from '../system/run-file.js';
import { writeSettings } from '../system/settings.js';
import { build, dependencies, disk, git, node } from './checkout-looks.js';
import { examine } from './examine.js';
import type { Finding, Look } from './finding.js';
import { nats, postgres, sandbox } from './server-looks.js';
import { system } from './system-looks.js';

let folder: string;
const closing: (() => Promise<unknown> | unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'plumb-doctor-'));
});
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

const look = (at: Look, env: NodeJS.ProcessEnv = {}, root = checkout): Promise<Finding[]> =>
  at({ root, env: { PATH: process.env['PATH'], PLUMB_HOME: join(folder, 'home'), ...env } });

/** One sentence on what is wrong, one on how to mend it. */
function expectBroken([finding]: Finding[], what: RegExp, mend: RegExp): void {
  expect(finding).toMatchObject({ state: 'broken' });
  expect(finding?.what).toMatch(what);
  expect(finding?.mend).toMatch(mend);
  expect(finding?.what).not.toContain('\n');
}

async function squat(port: number): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(port, '127.0.0.1', resolve));
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  return server;
}

describe('the checkout', () => {
  it('has what it needs here', async () => {
    const findings = await Promise.all([node, dependencies, git, disk].map((at) => look(at)));
    expect(findings.flat().map(({ state }) => state)).toEqual(['ok', 'ok', 'ok', 'ok']);
  });

  it('says which dependencies and builds are missing', async () => {
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ dependencies: { pg: '8.23.1', zod: '4.6.7' } }));
    mkdirSync(join(folder, 'node_modules', 'zod'), { recursive: true });
    writeFileSync(join(folder, 'node_modules', 'zod', 'package.json'), JSON.stringify({ version: '4.6.7' }));
    expectBroken(await look(dependencies, {}, folder), /^pg is not installed\.$/, /npm run setup/);
    mkdirSync(join(folder, 'libs', 'bus'), { recursive: true });
    mkdirSync(join(folder, 'services', 'gate', 'dist'), { recursive: true });
    writeFileSync(join(folder, 'services', 'gate', 'dist', 'main.js'), '');
    expectBroken(await look(build, {}, folder), /^Not built: libs\/bus\/dist\/index\.js\.$/, /npm run setup/);
  });

  it('is examined whole even where nothing can be looked at', async () => {
    const findings = await examine({ root: join(folder, 'nowhere'), env: { PATH: '/nowhere', PLUMB_HOME: folder } });
    expect(findings.length).toBeGreaterThanOrEqual(9);
    for (const { state, mend } of findings) expect(mend === undefined).toBe(state === 'ok');
    expect(
      findings
        .filter(({ state }) => state === 'broken')
        .map(({ what }) => what)
        .join('\n'),
    ).toMatch(/git was not found/);
  });
});

describe('tools', () => {
  it('says that nats-server is missing and how to get it', async () => {
    expectBroken(await look(nats, { PATH: '/nowhere' }, folder), /nats-server was found neither/, /NATS_URL/);
    expectBroken(
      await look(nats, { NATS_SERVER_BIN: '/nowhere/nats' }, folder),
      /NATS_SERVER_BIN is \/nowhere\/nats/,
      /unset NATS_SERVER_BIN/,
    );
  });

  it('says that bubblewrap is missing and how to get it', async () => {
    expectBroken(await look(sandbox, { PATH: '/nowhere' }, folder), /bwrap was found neither/, /bubblewrap/);
  });

  it('finds what this machine has, with what an old server lacks', async () => {
    const [found] = await look(nats);
    expect(found).toMatchObject({
      state: 'ok',
      what: expect.stringMatching(/^nats-server \d+\.\d+\.\d+ \(/) as string,
    });
  });
});

describe('servers of others', () => {
  it('a database that answers, one with another password, one that is away', async () => {
    const server = await startPostgres({
      dataDir: join(folder, 'pg'),
      superuserPassword: 'right-password',
      ephemeral: true,
    });
    closing.push(() => server.stop());
    const [good] = await look(postgres, { PLUMB_DATABASE_URL: server.url });
    expect(good).toMatchObject({ state: 'ok', what: expect.stringMatching(/^postgres \d+\.\d+ answers/) as string });
    expect(good?.what).not.toContain('right-password');
    const wrong = server.url.replace('right-password', 'wrong-password');
    const refused = await look(postgres, { PLUMB_DATABASE_URL: wrong });
    expectBroken(refused, /refused the user or the password\.$/, /Correct both in PLUMB_DATABASE_URL/);
    expect(JSON.stringify(refused)).not.toContain('wrong-password');
    const away = `postgres://u:p@127.0.0.1:${await freePort()}/d`;
    expectBroken(
      await look(postgres, { PLUMB_DATABASE_ADMIN_URL: away }),
      /does not answer/,
      /PLUMB_DATABASE_ADMIN_URL/,
    );
    expectBroken(await look(postgres, { PLUMB_DATABASE_URL: 'nonsense' }), /./, /PLUMB_DATABASE_URL/);
  });

  it('a broker that answers, one with another password, one that is away', async () => {
    const configText = 'authorization { user: "one", password: "right-password" }';
    const server = await startNats({ storeDir: join(folder, 'nats'), configText });
    closing.push(() => server.stop());
    const at = server.url.replace('nats://', '');
    expect(await look(nats, { NATS_URL: `nats://one:right-password@${at}` })).toMatchObject([{ state: 'ok' }]);
    const refused = await look(nats, { NATS_URL: `nats://one:wrong-password@${at}` });
    expectBroken(refused, /refused user "one" or its password/, /NATS_URL/);
    expect(JSON.stringify(refused)).not.toContain('wrong-password');
    expectBroken(
      await look(nats, { NATS_URL: `nats://127.0.0.1:${await freePort()}` }),
      /No NATS server answers/,
      /NATS_URL/,
    );
    expectBroken(await look(nats, { NATS_URL: 'http://nonsense' }), /not the address of a NATS server/, /NATS_URL/);
  });
});

describe('the system', () => {
  it('a taken port is named with who has it: broken when it was asked for, else a warning', async () => {
    const home = homeAt(join(folder, 'home'));
    makeHome(home);
    const port = await freePort();
    writeSettings(home, { ports: { nats: { port, asked: true }, api: { port: await freePort(), asked: false } } });
    expect((await look(system)).map(({ state }) => state)).toEqual(['ok', 'ok', 'ok']);
    await squat(port);
    const taken = (await look(system)).filter(({ state }) => state !== 'ok');
    const who =
      process.platform === 'linux'
        ? new RegExp(`^Port ${port} for nats is taken by .+ \\(process ${process.pid}\\)\\.$`)
        : /is taken/;
    expectBroken(taken, who, /plumb up --nats-port/);
    writeSettings(home, { ports: { nats: { port, asked: false } } });
    expect((await look(system)).filter(({ state }) => state === 'warning')).toHaveLength(1);
  });

  it('that runs is asked whether each of its services is ready', async () => {
    const home = homeAt(join(folder, 'home'));
    makeHome(home);
    const { createServer: createHttp } = await import('node:http');
    const unready = createHttp((_, response) => response.writeHead(503).end('{"nats":"down"}'));
    await new Promise<void>((resolve) => void unready.listen(0, '127.0.0.1', resolve));
    closing.push(() => unready.close());
    const http = `http://127.0.0.1:${(unready.address() as { port: number }).port}`;
    writeRunFile(home, {
      schema: 'plumbline.run/1',
      state: 'up',
      supervisor: identityOf(process.pid)!,
      startedAt: '2026-11-21T10:20:30.000Z',
      processes: [
        { name: 'gate', state: 'running', http, restarts: 0 },
        { name: 'coder', state: 'waiting', restarts: 3 },
        { name: 'ledger', state: 'running', http: `http://127.0.0.1:${await freePort()}`, restarts: 0 },
      ],
    });
    const sick = (await look(system)).filter(({ state }) => state === 'broken').map(({ what }) => what);
    expect(sick).toEqual([
      expect.stringMatching(/^gate is not ready: it answers 503, \{"nats":"down"\}\.$/),
      'coder is not running (waiting, restarted 3 times).',
      expect.stringMatching(/^ledger is not ready: .*ECONNREFUSED/),
    ]);
  });
});
