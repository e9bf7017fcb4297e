import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { ArtifactClient, LedgerClient, request, type DeadPage, type Reply } from '@plumbline/bus';
import {
  doorServices,
  eventCatalogue,
  eventTypes,
  type AppendReply,
  type EventType,
  type ServiceName,
} from '@plumbline/domain';
import { Projector, tableHash } from '@plumbline/event-log';
import { startTestSystem, StepDouble, type TestSystem } from '@plumbline/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { escalationsProjection } from './projections/escalations.js';
import { queueProjection } from './projections/queue.js';
import { tasksProjection } from './projections/tasks.js';
import { verdictsProjection } from './projections/verdicts.js';

type Caller = Exclude<ServiceName, 'ledger'>;
let system: TestSystem;

beforeAll(async () => {
  system = await startTestSystem({ services: ['ledger'], env: { PLUMB_ARTIFACT_BYTES_MAX: '50000000' } });
});
afterAll(() => system?.stop());

const newTask = (): string => `t-${randomBytes(13).toString('hex')}`;
const artifact = { digest: 'ab'.repeat(32), sizeBytes: 10, mediaType: 'text/plain' };
const door = async (service: Caller, body: unknown, as: Caller = service, name = 'append'): Promise<Reply> =>
  request(await system.client(service), `plumb.ledger.${name}.${as}`, body, { timeoutMs: 5_000 });
const batch = (streamId: string, type: string, data: unknown, more: object = {}): Record<string, unknown> => ({
  commandId: randomUUID(),
  streams: [{ streamId, events: [{ type, data }] }],
  ...more,
});
const codeOf = (reply: Reply): string => (reply.ok ? `taken: ${JSON.stringify(reply.value)}` : reply.error.code);
const head = async (): Promise<number> => (await system.log.head()).pos;

/** A task with one open step; returns its id. */
async function openStep(step: string): Promise<string> {
  const taskId = newTask();
  const data = { step: 'snapshot.0.1', dispatch: 1 };
  const reply = await door(
    'scheduler',
    batch(`task-${taskId}`, 'task.snapshot-requested', data, { steps: { open: [{ taskId, step }] } }),
  );
  expect(reply).toMatchObject({ ok: true, value: { outcome: 'appended' } });
  return taskId;
}
const claim = async (service: Caller, taskId: string, step: string, holder = `${service}/a`) =>
  new LedgerClient(await system.client(service), service).claim({ taskId, step, holder });

describe('the append door', () => {
  it('takes no event from a service that does not own it', async () => {
    const before = await head();
    const taskId = newTask();
    const streamOf = (type: EventType): string =>
      type.startsWith('grant') ? 'fleet' : /^(node|model)\./.test(type) ? 'node-n' : `task-${taskId}`;
    const codes = new Map<string, string>();
    for (const service of doorServices as Caller[])
      for (const type of eventTypes.filter((each) => eventCatalogue[each].owner !== service))
        codes.set(`${service} ${type}`, codeOf(await door(service, batch(streamOf(type), type, {}))));
    expect(codes.size).toBe(
      eventTypes.length * doorServices.length -
        eventTypes.filter((type) => eventCatalogue[type].owner !== 'ledger').length,
    );
    expect([...codes].filter(([, code]) => code !== 'not-your-event')).toEqual([]);
    expect(await head()).toBe(before);
  });

  it('believes the subject, which the broker guards, and not the caller', async () => {
    const bus = await system.nats.connect('reviewer');
    const refused = request(
      bus,
      'plumb.ledger.append.scheduler',
      batch(`task-${newTask()}`, 'task.retried', { by: 'a', why: 'b' }),
      { timeoutMs: 1_000 },
    );
    await expect(refused).rejects.toMatchObject({ name: 'BusError' });
  });

  it('refuses what is in the wrong stream, without a lease, too large, unknown or malformed, and records nothing', async () => {
    const before = await head();
    const taskId = newTask();
    const step = 'coding.1.1';
    const fence = { taskId, step, epoch: 1 };
    const ended = (detail: string) => ({ step, attempt: 1, code: 'EMPTY_DIFF', detail });
    const cases: [string, Caller, unknown][] = [
      ['not-your-stream', 'scheduler', batch('fleet', 'task.retried', { by: 'a', why: 'b' })],
      [
        'not-your-stream',
        'node-agent',
        batch('node-other', 'model.unreachable', { node: 'mine', model: 'm', why: 'w' }),
      ],
      ['lease-required', 'coder', batch(`task-${taskId}`, 'attempt.ended', ended('x'))],
      ['lease-required', 'coder', batch(`task-${newTask()}`, 'attempt.ended', ended('x'), { fence })],
      [
        'lease-required',
        'coder',
        batch(`task-${taskId}`, 'attempt.ended', { ...ended('x'), step: 'coding.2.1' }, { fence }),
      ],
      [
        'not-your-step',
        'reviewer',
        batch(`task-${taskId}`, 'review.failed', { ...ended('x'), seat: 'a' }, { fence: { ...fence, release: true } }),
      ],
      [
        'not-your-step',
        'node-agent',
        batch(
          'node-n',
          'model.unreachable',
          { node: 'n', model: 'm', why: 'w' },
          { fence: { ...fence, release: true } },
        ),
      ],
      ['event-too-large', 'coder', batch(`task-${taskId}`, 'attempt.ended', ended('x'.repeat(300_000)), { fence })],
      ['invalid-event', 'coder', batch(`task-${taskId}`, 'attempt.ended', ended('x'.repeat(2_001)), { fence })],
      ['unknown-event-type', 'coder', batch(`task-${taskId}`, 'task.blessed', {}, { fence })],
      ['unknown-event-type', 'coder', batch(`task-${taskId}`, 'constructor', {}, { fence })],
      [
        'not-your-part',
        'coder',
        batch(`task-${taskId}`, 'attempt.ended', ended('x'), { fence, steps: { open: [{ taskId, step }] } }),
      ],
      [
        'not-your-part',
        'coder',
        batch(`task-${taskId}`, 'attempt.ended', ended('x'), { fence, timers: { cancelTask: taskId } }),
      ],
      ['invalid-request', 'coder', { ...batch(`task-${taskId}`, 'attempt.ended', ended('x')), commandId: 'mine' }],
      ['invalid-request', 'coder', batch('task-../../etc', 'attempt.ended', ended('x'))],
      ['invalid-request', 'coder', null],
      ['invalid-request', 'coder', { ...batch(`task-${taskId}`, 'attempt.ended', ended('x')), surprise: 1 }],
    ];
    for (const [code, service, body] of cases) expect([code, codeOf(await door(service, body))]).toEqual([code, code]);
    expect(await head()).toBe(before);
  });

  it('keeps the command ids of each caller apart: nobody can use up what another is going to need', async () => {
    const taskId = newTask();
    const decision = batch(`task-${taskId}`, 'task.retried', { by: 'a', why: 'b' });
    const squatted = batch('node-squatter', 'model.unreachable', { node: 'squatter', model: 'm', why: 'w' });
    squatted['commandId'] = decision['commandId'];
    expect(await door('node-agent', squatted)).toMatchObject({ ok: true, value: { outcome: 'appended' } });
    expect(await door('scheduler', decision)).toMatchObject({
      ok: true,
      value: { outcome: 'appended', duplicate: false },
    });
    expect(await door('scheduler', decision)).toMatchObject({
      ok: true,
      value: { outcome: 'appended', duplicate: true },
    });
    const other = { ...squatted, commandId: decision['commandId'], causationId: 'x', streams: decision['streams'] };
    expect(codeOf(await door('node-agent', other))).toBe('not-your-event');
  });

  it('answers a repeated command as the first time, and another one under its id with a refusal', async () => {
    const taskId = newTask();
    const body = batch(`task-${taskId}`, 'task.retried', { by: 'a', why: 'b' });
    expect(await door('scheduler', body)).toMatchObject({ ok: true, value: { outcome: 'appended', duplicate: false } });
    expect(await door('scheduler', body)).toMatchObject({ ok: true, value: { outcome: 'appended', duplicate: true } });
    const other = {
      ...body,
      streams: [{ streamId: `task-${taskId}`, events: [{ type: 'task.retried', data: { by: 'a', why: 'c' } }] }],
    };
    expect(await door('scheduler', other)).toMatchObject({ ok: true, value: { outcome: 'command-reused' } });
    expect(await system.log.readStream(`task-${taskId}`)).toHaveLength(1);
  });
});

describe('leases', () => {
  it('go to the worker of the step alone, one at a time, and pass on when their holder goes silent', async () => {
    const step = 'snapshot.0.1';
    const taskId = await openStep(step);
    await expect(claim('coder', taskId, step)).rejects.toMatchObject({ code: 'not-your-step' });
    const claims = await Promise.all(
      ['a', 'b', 'c', 'd'].map((name) => claim('code-host', taskId, step, `code-host/${name}`)),
    );
    expect(claims.map(({ outcome }) => outcome).sort()).toEqual(['granted', 'held', 'held', 'held']);
    await system.database.admin.query(
      "UPDATE es.step_lease SET expires_at = clock_timestamp() - interval '1 s' WHERE task_id = $1",
      [taskId],
    );
    await system.watch.event(taskId, 'lease.expired');
    expect(await claim('code-host', taskId, step, 'code-host/e')).toMatchObject({ outcome: 'granted', epoch: 2 });

    const zombie = batch(
      `task-${taskId}`,
      'snapshot.failed',
      { step, code: 'WORKSPACE_SETUP', detail: 'late' },
      { fence: { taskId, step, epoch: 1, release: true } },
    );
    for (let i = 0; i < 3; i++) {
      const late = await door('code-host', { ...zombie, commandId: randomUUID() });
      expect((late as { value: AppendReply }).value).toMatchObject({
        outcome: 'fenced',
        current: { state: 'held', epoch: 2 },
      });
    }
    const future = { ...zombie, commandId: randomUUID(), fence: { taskId, step, epoch: 99, release: true } };
    expect(await door('code-host', future)).toMatchObject({ ok: true, value: { outcome: 'fenced' } });
    await system.watch.event(taskId, 'lease.result-refused');
    const done = batch(
      `task-${taskId}`,
      'snapshot.failed',
      { step, code: 'WORKSPACE_SETUP', detail: 'real' },
      { fence: { taskId, step, epoch: 2, release: true } },
    );
    expect(await door('code-host', done)).toMatchObject({ ok: true, value: { outcome: 'appended' } });
    await system.watch.event(taskId, 'snapshot.failed');
    // Refused once for each kind of result, however often it is sent; and never for an epoch nobody was granted.
    expect(system.watch.of(taskId).filter(({ type }) => type === 'lease.result-refused')).toHaveLength(1);
    expect(system.watch.of(taskId).filter(({ type }) => type === 'snapshot.failed')).toHaveLength(1);
    expect(await claim('code-host', taskId, step)).toEqual({ outcome: 'done' });
  });

  it('lists as idle only what is due, and open tasks with their versions', async () => {
    const taskId = await openStep('gating.1.1');
    const request = batch(`task-${taskId}`, 'task.gating-requested', { step: 'gating.1.1', attempt: 1, dispatch: 1 });
    await door('scheduler', request);
    const ledger = new LedgerClient(await system.client('scheduler'), 'scheduler');
    const isIdle = async (ms: number): Promise<boolean> =>
      (await ledger.idleSteps(ms)).some((idle) => idle.taskId === taskId);
    expect(await isIdle(60_000)).toBe(false);
    expect(await isIdle(0)).toBe(true);
    await system.watch.event(taskId, 'task.gating-requested');
    expect((await ledger.openTasks()).filter((task) => task.taskId === taskId)).toEqual([{ taskId, version: 2 }]);
    await door('scheduler', batch(`task-${taskId}`, 'task.closed', { outcome: 'cancelled', verdict: null }));
    await system.watch.event(taskId, 'task.closed');
    expect((await ledger.openTasks()).filter((task) => task.taskId === taskId)).toEqual([]);
  });
});

describe('the HTTP API', () => {
  it('asks for the token, and refuses what it cannot read in a sentence', async () => {
    const bad = [
      {},
      { authorization: 'Bearer wrong' },
      { authorization: `Basic ${system.apiToken}` },
      { authorization: system.apiToken },
    ];
    for (const path of ['/v1/tasks', '/v1/log', '/v1/audit', '/v1/head', `/v1/artifacts/${artifact.digest}`]) {
      for (const headers of bad) expect((await fetch(system.ledgerUrl + path, { headers })).status).toBe(401);
    }
    for (const path of [
      '/v1/log?after=-1',
      '/v1/log?limit=0',
      '/v1/log?waitMs=1e9',
      '/v1/tasks?limit=x',
      '/v1/tasks/..%2f',
      '/v1/artifacts/AB',
    ]) {
      const { status, body } = await system.api(path);
      expect([path, status]).toEqual([path, 400]);
      expect((body as { detail: string }).detail.length).toBeGreaterThan(10);
    }
    expect((await system.api(`/v1/tasks/${newTask()}`)).status).toBe(404);
  });

  it('finds a task by the beginning of its id, and says when that is not enough', async () => {
    const prefix = `t-zz${randomBytes(10).toString('hex')}`;
    for (const end of ['aaaa', 'aaab'])
      await door('scheduler', batch(`task-${prefix}${end}`, 'task.retried', { by: 'a', why: 'b' }));
    expect((await system.api(`/v1/tasks/${prefix}/events`)).status).toBe(400);
    expect((await system.api(`/v1/tasks/${prefix.slice(2)}aaab/events`)).status).toBe(200);
  });

  it('lets readers wait for news and answers as soon as there are some', async () => {
    const before = await head();
    const waiting = Array.from({ length: 20 }, () => system.api(`/v1/log?after=${before}&waitMs=20000`));
    // Asked last and answered with nothing: by then all the others wait.
    const idle = await system.api(`/v1/log?after=${before}&waitMs=300`);
    expect(idle.body).toMatchObject({ events: [] });
    const taskId = newTask();
    await door('scheduler', batch(`task-${taskId}`, 'task.retried', { by: 'a', why: 'b' }));
    for (const { status, body } of await Promise.all(waiting)) {
      expect(status).toBe(200);
      expect((body as { events: { type: string }[] }).events[0]?.type).toBe('task.retried');
    }
    const { body } = await system.api(`/v1/tasks/${taskId}/events?after=0`);
    expect((body as { events: { chainHash: string; position: number }[] }).events).toMatchObject([
      { position: before + 1 },
    ]);
    expect((body as { events: { chainHash: string }[] }).events[0]?.chainHash).toMatch(/^[0-9a-f]{64}$/);
  });

  it('stores what has the digest it claims, and nothing else', async () => {
    const client = new ArtifactClient(system.ledgerUrl, system.apiToken);
    const bytes = randomBytes(3_000_000);
    const ref = await client.put(bytes, 'application/x-test');
    expect((await client.get(ref, 4_000_000)).equals(bytes)).toBe(true);
    await expect(client.get(ref, 10)).rejects.toMatchObject({ name: 'ArtifactError', retry: 'never' });
    const lie = createHash('sha256').update('something else').digest('hex');
    const put = (path: string, body: Uint8Array) =>
      system.api(path, { method: 'PUT', body: body as Uint8Array<ArrayBuffer> });
    expect((await put(`/v1/artifacts/${lie}`, bytes)).status).toBe(409);
    expect((await system.api(`/v1/artifacts/${lie}`)).status).toBe(404);
    const large = randomBytes(50_000_001);
    await expect(client.put(large, 'x')).rejects.toMatchObject({
      retry: 'never',
      message: expect.stringContaining('413') as string,
    });
  });

  it('keeps nothing of an upload that is cut off, and stays small while it takes large ones', async () => {
    const bytes = randomBytes(40_000_000);
    const digest = createHash('sha256').update(bytes).digest('hex');
    await new Promise<void>((resolve) => {
      const upload = httpRequest(`${system.ledgerUrl}/v1/artifacts/${digest}`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${system.apiToken}`, 'content-length': bytes.length },
      });
      upload.once('error', () => resolve());
      upload.write(bytes.subarray(0, 20_000_000), () => upload.destroy());
      upload.once('close', () => resolve());
    });
    expect((await system.api(`/v1/artifacts/${digest}`)).status).toBe(404);
    const rss = async (): Promise<number> =>
      Number(/^plumb_process_resident_memory_bytes (\S+)/m.exec((await system.api('/metrics')).body as string)?.[1]);
    const before = await rss();
    const client = new ArtifactClient(system.ledgerUrl, system.apiToken);
    await Promise.all([1, 2, 3, 4].map((n) => client.put(Buffer.concat([bytes, Buffer.from([n])]), 'x')));
    expect((await rss()) - before).toBeLessThan(130_000_000);
    const { rows } = await system.database.admin.query<{ orphans: string }>(
      'SELECT count(*) AS orphans FROM es.artifact_chunk c WHERE NOT EXISTS (SELECT FROM es.artifact a WHERE a.content_id = c.content_id)',
    );
    expect(rows[0]?.orphans).toBe('0');
  });
});

describe('dead letters', () => {
  it('are listed, retried and dropped by an operator alone', async () => {
    const operator = await system.client('operator');
    const ask = (body: unknown): Promise<Reply> =>
      request(operator, 'plumb.request.ledger.dead', body, { timeoutMs: 5_000 });
    const gate = new StepDouble(await system.client('gate'), 'gate', {
      plays: {
        gating: ({ id: step }) => [
          { type: 'gate.failed', data: { step, attempt: 1, code: 'GATE_ERROR', detail: 'played' } },
        ],
      },
    });
    try {
      const [first, second] = [newTask(), newTask()];
      const step = 'gating.1.1';
      for (const taskId of [first, second])
        await door('scheduler', batch(`task-${taskId}`, 'task.gating-requested', { step, attempt: 1, dispatch: 1 }));
      const list = async (): Promise<DeadPage> => {
        const reply = await ask({ op: 'list' });
        if (!reply.ok) throw new Error(reply.error.message);
        return reply.value as DeadPage;
      };
      await expect.poll(async () => (await list()).entries.length, { timeout: 10_000 }).toBe(2);
      const seqOf = async (taskId: string): Promise<number> => {
        const found = (await list()).entries.find((entry) => JSON.stringify(entry).includes(taskId));
        expect(JSON.stringify(found)).toContain(`the ledger knows no step ${step}`);
        return found?.deadSeq ?? 0;
      };
      expect(codeOf(await ask({ op: 'bless' }))).toBe('invalid-request');
      expect(codeOf(await ask({ op: 'drop', seq: 999_999 }))).toBe('not-found');
      expect(await ask({ op: 'drop', seq: await seqOf(second) })).toMatchObject({ ok: true });
      const opened = { steps: { open: [{ taskId: first, step }] } };
      await door('scheduler', batch(`task-${first}`, 'task.retried', { by: 'a', why: 'b' }, opened));
      expect(await ask({ op: 'retry', seq: await seqOf(first) })).toMatchObject({ ok: true });
      await system.watch.event(first, 'gate.failed');
      expect((await list()).entries).toEqual([]);
    } finally {
      await gate.stop();
    }
  });
});

describe('projections', () => {
  it.each([tasksProjection, verdictsProjection, escalationsProjection, queueProjection])(
    'of $name never park an event and are the same when built anew',
    async (projection) => {
      const { pos } = await system.log.head();
      const projector = new Projector(system.log, projection);
      await expect.poll(() => projector.position()).toBeGreaterThanOrEqual(pos);
      expect(await projector.parked()).toEqual([]);
      const before = await tableHash(system.database.ledger, projector.schema);
      expect(Object.keys(before)).toHaveLength(1);
      await projector.rebuild();
      expect(await tableHash(system.database.ledger, projector.schema)).toEqual(before);
    },
  );
});
