import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@plumbline/embedded';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { runCli } from './program.js';

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'plumb-cli-'));
  for (const [name, value] of Object.entries({ PLUMB_HOME: home, PLUMB_API_URL: '', PLUMB_NATS_URL: '', NATS_URL: '' }))
    vi.stubEnv(name, value);
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(home, { recursive: true, force: true });
});

/** Runs the command line in this process and catches what it writes. */
async function plumb(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const written = { out: '', err: '' };
  const into = (key: 'out' | 'err') =>
    ((chunk: unknown) => {
      written[key] += String(chunk);
      return true;
    }) as typeof process.stdout.write;
  const spies = [
    vi.spyOn(process.stdout, 'write').mockImplementation(into('out')),
    vi.spyOn(process.stderr, 'write').mockImplementation(into('err')),
  ];
  try {
    return { code: await runCli(argv), ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A ledger for one test, as far as the command line sees it. */
async function withLedger<T>(answer: Answer, work: (requests: string[]) => Promise<T>): Promise<T> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.url ?? ''} ${request.headers.authorization ?? ''}`);
    answer(request, response);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  vi.stubEnv('PLUMB_API_URL', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  vi.stubEnv('PLUMB_API_TOKEN', 'secret');
  try {
    return await work(requests);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

const json = (response: ServerResponse, body: unknown, status = 200): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};

const id = `t-${'a'.repeat(26)}`;
const event = (position: number, type: string, data: unknown) => ({
  schema: 'plumbline.event/1',
  position,
  at: '2026-11-21T10:20:30.000Z',
  type,
  task: id,
  data,
});
const judged = (position: number, verdict: string) =>
  event(position, 'verdict.reached', {
    judgement: { verdict, reasons: verdict === 'GO' ? [] : [{ check: 'scope', summary: 'touches none' }] },
  });

/** A ledger with one task that has exactly these events. */
const withEvents =
  (events: { position: number }[]): Answer =>
  (request, response) => {
    const url = new URL(request.url ?? '', 'http://ledger');
    const after = Number(url.searchParams.get('after') ?? 0);
    const fresh = events.filter(({ position }) => position > after);
    if (url.pathname.endsWith('/events')) json(response, { events: fresh, head: events.length });
    else json(response, { message: 'there is no such thing' }, 404);
  };

describe('usage', () => {
  it.each([
    ['nonsense'],
    ['list', '--nonsense'],
    ['submit', '--repo', 'x'],
    ['up', '--api-port', '70000'],
    ['rule', id, '--why', 'x'],
    ['rule', id, '--go', '--no-go', '--why', 'x'],
    ['rule', id, '--no-go', '--go', '--why', 'x'],
    ['list', '--state', 'nonsense'],
    ['up', '--model-url', 'http://192.0.2.1:8080'],
    ['up', '--model-url', 'http://127.0.0.1:8080/v1?key=x'],
    ['show'],
    ['demo', 'extra'],
  ])('mistakes exit with 2 and one sentence each: %s %s %s %s', async (...argv) => {
    const { code, out, err } = await plumb(...argv);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/^✗ .+\n(?: {2}.+\n)*→ .+/);
    expect(err).not.toMatch(/\n {4}at /);
  });

  it('help and version exit with 0', async () => {
    expect((await plumb('--help')).code).toBe(0);
    expect((await plumb('demo', '--help')).code).toBe(0);
    expect(await plumb('--version')).toMatchObject({ code: 0, out: '0.1.0\n' });
  });

  it('no line of any help is wider than 100 columns', async () => {
    for (const name of [
      'demo',
      'up',
      'down',
      'doctor',
      'check',
      'submit',
      'watch',
      'show',
      'list',
      'why',
      'rule',
      'log',
      'audit',
      'dead',
    ]) {
      const { out } = await plumb(name, '--help');
      expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
    }
  });
});

describe('without a system', () => {
  it.each([
    ['list'],
    ['show', 't-a'],
    ['why', id],
    ['log'],
    ['audit'],
    ['escalations'],
    ['dead', 'list'],
    ['cancel', id, '--why', 'x'],
  ])('%s says in one sentence that none is up', async (...argv) => {
    const { code, err } = await plumb(...argv);
    expect(code).toBe(1);
    expect(err).toContain('No Plumbline system is up');
    expect(err).toContain('→ Start one with `plumb up`');
  });

  it('a stale one is told from none', async () => {
    writeFileSync(join(home, 'run.json'), '{"half": ');
    expect((await plumb('list')).err).toContain('No Plumbline system is up');
    const run = { schema: 'plumbline.run/1', state: 'up', startedAt: '2026-11-21T10:20:30.000Z', processes: [] };
    writeFileSync(
      join(home, 'run.json'),
      JSON.stringify({ ...run, supervisor: { pid: process.pid, started: 'another boot/1' } }),
    );
    expect((await plumb('list')).err).toContain('it ended without being stopped');
    expect(await plumb('down')).toMatchObject({ code: 0 });
  });

  it('--json still prints exactly one document', async () => {
    const { code, out } = await plumb('list', '--json');
    expect(JSON.parse(out)).toMatchObject({
      schema: 'plumbline.error/1',
      exitCode: code,
      mend: expect.any(String) as string,
    });
    expect(JSON.parse((await plumb('nonsense', '--json')).out)).toMatchObject({ exitCode: 2 });
  });
});

describe('the ledger', () => {
  it('gets the token and is asked for what was asked for', async () => {
    const tasks = {
      schema: 'plumbline.tasks/1',
      tasks: [{ id, state: 'closed', verdict: 'GO', title: 'A \u001b[2Jtitle' }],
    };
    await withLedger(
      (request, response) => json(response, request.url?.includes('state=coding') ? { ...tasks, tasks: [] } : tasks),
      async (requests) => {
        const { code, out } = await plumb('list');
        expect({ code, out }).toEqual({ code: 0, out: 't-aaaaaaaa  GO  closed  A title\n' });
        expect(requests[0]).toBe('/v1/tasks?limit=1000 Bearer secret');
        expect(JSON.parse((await plumb('list', '--json', '--state', 'coding')).out)).toEqual({ ...tasks, tasks: [] });
      },
    );
  });

  it.each<[string, Answer, RegExp]>([
    ['refuses the token', (_, response) => json(response, { detail: 'no' }, 401), /refused the token/],
    ['fails', (_, response) => json(response, { detail: 'disk full' }, 500), /answered 500: disk full\./],
    ['answers nonsense', (_, response) => json(response, { tasks: 'many' }), /cannot be read/],
    ['is no ledger', (_, response) => response.end('<html>'), /cannot be reached|cannot be read/],
    ['hangs up', (request) => request.socket.destroy(), /cannot be reached/],
  ])('that %s is told in one sentence', async (_, answer, message) => {
    await withLedger(answer, async () => {
      const { code, err } = await plumb('list');
      expect(code).toBe(1);
      expect(err.split('\n')[0]).toMatch(message);
      expect(err).not.toMatch(/\n {4}at /);
    });
  });

  it('that is not there is told in one sentence', async () => {
    vi.stubEnv('PLUMB_API_URL', `http://127.0.0.1:${await freePort()}`);
    expect((await plumb('list')).err).toMatch(
      /^✗ The ledger at http:\/\/127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED/,
    );
  });

  it('decides what a short id means', async () => {
    const found = [{ code: 'WAITS', message: 'for a model', numbers: { tier: 1 } }];
    const task = {
      schema: 'plumbline.task/1',
      task: { id, state: 'closed', repository: 'r', issue: { title: 't' } },
      attempts: [],
      escalations: [],
      timeline: [],
    };
    await withLedger(
      (request, response) => {
        if (request.url?.startsWith('/v1/tasks/zz') === true) json(response, { detail: 'no' }, 404);
        else if (request.url?.startsWith('/v1/tasks/t-?') === true) json(response, {}, 500);
        else if (request.url === '/v1/tasks/t-ab')
          json(response, { detail: 't-ab is the beginning of several task ids; give more of it' }, 400);
        else json(response, request.url?.endsWith('/why') === true ? found : task);
      },
      async (requests) => {
        expect((await plumb('why', 'T-AAA')).code).toBe(0);
        expect(requests.at(-1)).toContain(`/v1/tasks/${id}/why`);
        const document = JSON.parse((await plumb('why', id, '--json')).out) as unknown;
        expect(document).toEqual({ schema: 'plumbline.why/1', subject: id, state: 'closed', reasons: found });
        expect(await plumb('why', 'zz')).toMatchObject({
          code: 1,
          err: expect.stringContaining('There is no task zz') as string,
        });
        expect(await plumb('why', 't-ab')).toMatchObject({
          code: 2,
          err: expect.stringContaining('several task ids') as string,
        });
      },
    );
  });
});

describe('watch', () => {
  const human = event(9, 'escalation.opened', {
    to: 'human',
    reasons: ['it is NO-GO'],
    escalationId: 'e',
    attempt: 1,
    tried: [],
  });
  it.each<[string, number, unknown[]]>([
    [
      'GO',
      0,
      [
        judged(1, 'GO'),
        event(2, 'change.published', { branch: 'b', head: 'abc' }),
        event(3, 'task.closed', { outcome: 'go' }),
      ],
    ],
    ['NO-GO', 1, [judged(1, 'NO-GO'), human]],
    ['INCOMPLETE', 3, [judged(1, 'INCOMPLETE'), human]],
    ['no verdict', 3, [human]],
    [
      'NO-GO that was ruled GO',
      0,
      [
        judged(1, 'NO-GO'),
        human,
        event(10, 'escalation.resolved', { how: 'ruled', by: 'me' }),
        event(11, 'task.closed', { outcome: 'go-waived' }),
      ],
    ],
    [
      'cancelled',
      1,
      [event(1, 'task.cancelled', { by: 'me', why: 'x' }), event(2, 'task.closed', { outcome: 'cancelled' })],
    ],
    [
      'retried, then GO',
      0,
      [
        judged(1, 'NO-GO'),
        human,
        event(10, 'escalation.resolved', { how: 'retried', by: 'me' }),
        judged(11, 'GO'),
        event(12, 'task.closed', { outcome: 'go' }),
      ],
    ],
  ])('%s exits with %i', async (_, code, events) => {
    await withLedger(withEvents(events as { position: number }[]), async () => {
      const human = await plumb('watch', id);
      expect(human.code).toBe(code);
      for (const line of human.out.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
      const machine = await plumb('watch', id, '--json');
      const lines = machine.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { schema: string });
      expect(lines).toHaveLength(events.length);
      expect(lines.every(({ schema }) => schema === 'plumbline.event/1')).toBe(true);
    });
  });

  it('goes on when the ledger was away for a moment, but not when it never answered', async () => {
    const events = [judged(1, 'GO'), event(2, 'task.closed', { outcome: 'go' })];
    let reads = 0;
    const flaky: Answer = (request, response) => {
      reads += 1;
      if (reads === 2) request.socket.destroy();
      else withEvents(reads === 1 ? events.slice(0, 1) : events)(request, response);
    };
    await withLedger(flaky, async () => {
      expect((await plumb('watch', id)).code).toBe(0);
      expect(reads).toBeGreaterThan(2);
    });
    await withLedger(
      (request) => request.socket.destroy(),
      async (requests) => {
        expect((await plumb('watch', id)).code).toBe(1);
        expect(requests.length).toBeLessThanOrEqual(2);
      },
    );
  });

  it('does not take an escalation that was resolved for rest', async () => {
    const history = [judged(1, 'NO-GO'), human, event(10, 'escalation.resolved', { how: 'retried', by: 'me' })];
    const rest = [judged(11, 'GO'), event(12, 'task.closed', { outcome: 'go' })];
    const answer: Answer = (request, response) => {
      const { searchParams } = new URL(request.url ?? '', 'http://ledger');
      // What comes after the resolution comes only to those who wait for it.
      const waits = searchParams.get('after') === '10' && searchParams.get('waitMs') !== '0';
      const known = waits || searchParams.get('after') === '12' ? [...history, ...rest] : history;
      withEvents(known)(request, response);
    };
    await withLedger(answer, async () => expect((await plumb('watch', id)).code).toBe(0));
  });

  it('an unknown task exits with 1', async () => {
    await withLedger(
      (_, response) => json(response, { detail: 'no' }, 404),
      async () => {
        expect(await plumb('watch', id)).toMatchObject({
          code: 1,
          err: expect.stringContaining('There is no task') as string,
        });
      },
    );
  });
});

describe('audit', () => {
  const report = { schema: 'plumbline.audit/1', events: 12, headPosition: 12 };
  it('exits with 0 for a sound log and with 1 for another, naming the first bad position', async () => {
    await withLedger(
      (_, response) => json(response, { ...report, ok: true }),
      async () => {
        expect(await plumb('audit')).toMatchObject({ code: 0, out: expect.stringContaining('12 events') as string });
      },
    );
    await withLedger(
      (_, response) => json(response, { ...report, ok: false, firstBad: { position: 7, what: 'hash differs' } }),
      async () => {
        expect(await plumb('audit')).toMatchObject({
          code: 1,
          out: expect.stringContaining('position is 7: hash differs') as string,
        });
        expect(JSON.parse((await plumb('audit', '--json')).out)).toMatchObject({
          ok: false,
          firstBad: { position: 7 },
        });
      },
    );
  });
});
