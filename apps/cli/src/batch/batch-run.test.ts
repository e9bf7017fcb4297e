import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { LedgerApi } from '../ledger/ledger-api.js';
import { BatchRun } from './batch-run.js';
import { Outage } from './outage.js';

const source = 'urn:plumbline:batch:night';
const server = createServer((request, response) => {
  const path = request.url ?? '';
  if (refuses) return void response.writeHead(401).end();
  if (path.startsWith('/v1/tasks?'))
    return void response.end(
      JSON.stringify({
        schema: 'plumbline.tasks/1',
        tasks: [{ id: 't-old', state: 'closed', title: 'Old', source, submissionId: 'old' }],
      }),
    );
  if (!path.startsWith('/v1/tasks/t-old/')) return void response.writeHead(404).end();
  const events = [{ position: 7, type: 'task.submitted', at: '2026-11-20T20:00:00.000Z', data: {} }];
  response.end(JSON.stringify({ events: path.includes('after=0') ? events : [], head: 7 }));
});
let refuses = false;
const listen = (port: number): Promise<void> => new Promise((done) => server.listen(port, '127.0.0.1', done));
const close = (): Promise<void> => {
  const closed = new Promise<void>((done) => server.close(() => done()));
  server.closeAllConnections();
  return closed;
};
afterEach(async () => {
  refuses = false;
  await close();
});

/** A batch of two entries, none of them submitted, and a ledger that is away until the command says that it waits. */
async function look(): Promise<{ run: BatchRun; said: string[]; looked: Promise<unknown> }> {
  await listen(0);
  const { port } = server.address() as AddressInfo;
  await close();
  const { signal } = new AbortController();
  const said: string[] = [];
  const outage = new Outage({
    signal,
    say: (line) => {
      if (said.push(line) === 1) void listen(port);
    },
  });
  const entries = ['a', 'b'].map((key) => ({
    key,
    taskId: `t-${key}`,
    submission: { issue: { title: key } } as never,
  }));
  const run = new BatchRun(
    { name: 'night', source, parallel: undefined, entries },
    {
      ledger: () => new LedgerApi({ url: `http://127.0.0.1:${port}`, token: 'x', signal }),
      onBus: () => Promise.reject(new Error('nothing is sent')),
      outage,
      signal,
      onNews: () => undefined,
    },
  );
  return { run, said, looked: run.look() };
}

describe('the first look of a batch', () => {
  it('waits for a ledger that is away, says so once, and then finds what is there', async () => {
    const { run, said, looked } = await look();
    expect(await looked).toEqual([]);
    expect(said).toEqual([expect.stringContaining('Waiting until it is back'), expect.stringContaining('Back after')]);
    expect(run.tracks.map(({ key, submitted }) => [key, submitted])).toEqual([
      ['a', false],
      ['b', false],
      ['old', true],
    ]);
  });

  it('ends with a refusal', async () => {
    refuses = true;
    await expect((await look()).looked).rejects.toThrow('refused the token');
  });
});
