import { createServer, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { startTestNats, type TestNats } from '@plumbline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { onBusPatiently } from '../commands/submit-batch.js';
import { Interrupted } from '../failure.js';
import { LedgerApi } from '../ledger/ledger-api.js';
import { cloudEvent, publishIntake, type BusLogin } from '../system/bus-client.js';
import { Outage } from './outage.js';

const page = { schema: 'plumbline.events/1', events: [], head: 0 };
const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

/** A ledger that gives these answers in turn, and its last one ever after. */
async function ledgerOf(answers: ((response: ServerResponse) => void)[]): Promise<LedgerApi> {
  let asked = 0;
  const server = createServer((_request, response) => answers[Math.min(asked++, answers.length - 1)]?.(response));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return new LedgerApi({ url: `http://127.0.0.1:${port}`, token: 'x', signal: new AbortController().signal });
}
const answer =
  (status: number, body: string = JSON.stringify({ detail: 'No.' })) =>
  (response: ServerResponse): void =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(body);

function outage(): { said: string[]; outage: Outage } {
  const said: string[] = [];
  const { signal } = new AbortController();
  return { said, outage: new Outage({ signal, say: (line) => void said.push(line), pauseMaxMs: 10 }) };
}

/** `waited` as soon as it says so, or the message of the error it ended with. */
async function whatBecomesOf(work: () => Promise<unknown>): Promise<string> {
  const stop = new AbortController();
  const patience = new Outage({ signal: stop.signal, say: () => stop.abort() });
  return patience.through(work).then(
    () => 'worked',
    (error: unknown) => (error instanceof Interrupted ? 'waited' : (error as Error).message),
  );
}

describe('patience with the ledger', () => {
  it.each([408, 429, 500, 502, 503, 504])('waits for one that answers %i', async (status) => {
    const ledger = await ledgerOf([answer(status), answer(200, JSON.stringify(page))]);
    const { outage: patience, said } = outage();
    expect(await patience.through(() => ledger.taskEvents('t-a', { after: 0, waitMs: 0 }))).toMatchObject({ head: 0 });
    expect(said).toEqual([expect.stringContaining('Waiting until it is back'), expect.stringContaining('Back after')]);
  });

  it('waits for one that hangs up', async () => {
    const ledger = await ledgerOf([(response) => response.destroy(), answer(200, JSON.stringify(page))]);
    expect(await outage().outage.through(() => ledger.taskEvents('t-a', { after: 0, waitMs: 0 }))).toBeDefined();
  });

  it.each([
    [400, undefined, 'No.'],
    [401, undefined, 'refused the token'],
    [403, undefined, 'refused the token'],
    [421, undefined, 'answered 421'],
    [200, '{"schema":"another/1"}', 'cannot be read'],
    [200, '<html>', 'cannot be read'],
  ])('ends with the error of one that answers %i %s', async (status, body, message) => {
    const ledger = await ledgerOf([answer(status, body)]);
    const { outage: patience, said } = outage();
    const asked = patience.through(() => ledger.taskEvents('t-a', { after: 0, waitMs: 0 }), AbortSignal.timeout(5_000));
    await expect(asked).rejects.toThrow(message);
    expect(said).toEqual([]);
  });

  it('ends with a bug', async () => {
    await expect(outage().outage.through(() => Promise.reject(new TypeError('oops')))).rejects.toThrow('oops');
  });
});

describe('patience with the broker', () => {
  let nats: TestNats;
  beforeAll(async () => void (nats = await startTestNats()));
  afterAll(() => nats?.stop());
  const login = (change: Partial<BusLogin> = {}): BusLogin => ({
    url: nats.url,
    user: 'user',
    password: nats.passwords.user,
    ...change,
  });
  const submit = (halt = false) =>
    onBusPatiently(login(), async (nc) => {
      if (halt) await nats.halt('SIGKILL');
      await publishIntake(nc, 'submit', cloudEvent('submit', {}));
    });

  it('ends with a refused login, and with a bug', async () => {
    const wrong = () => onBusPatiently(login({ password: 'wrong' }), () => Promise.resolve());
    expect(await whatBecomesOf(wrong)).toContain('refused user "user" or its password');
    const bug = () => onBusPatiently(login(), () => Promise.reject(new TypeError('oops')));
    expect(await whatBecomesOf(bug)).toBe('oops');
  });

  it('waits for streams that a ledger has yet to make', async () => {
    expect(await whatBecomesOf(submit)).toBe('waited');
  });

  it.each([
    ['before it says anything', ''],
    [
      'after its first words',
      'INFO {"server_id":"A","version":"2.12.0","proto":1,"headers":true,"max_payload":1048576}\r\n',
    ],
  ])('waits for one that hangs up %s', async (_when, words) => {
    const server = createTcpServer((socket) => socket.on('error', () => undefined).end(words));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `nats://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect(await whatBecomesOf(() => onBusPatiently(login({ url }), () => Promise.resolve()))).toBe('waited');
    server.close();
  });

  it('waits for one that is gone, whether before or in the middle', async () => {
    const broken = await submit(true).catch((error: unknown) => error as Error);
    expect(broken, String((broken as Error).cause)).toMatchObject({ retry: 'later' });
    expect(await whatBecomesOf(submit)).toBe('waited');
    await nats.launch();
    const { outage: patience } = outage();
    expect(await patience.through(() => onBusPatiently(login(), () => Promise.resolve('there')))).toBe('there');
  });
});
