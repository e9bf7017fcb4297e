import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { parseCloudEvent } from '@plumbline/bus';
import { noticeDocumentSchema, shippedPolicies, taskStream, type EventData, type Webhook } from '@plumbline/domain';
import { EventLog, Sequencer } from '@plumbline/event-log';
import {
  startTestNats,
  startTestPostgres,
  type TestDatabase,
  type TestNats,
  type TestPostgres,
} from '@plumbline/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Notifier, recommendedPausesMs, type NoticeOutcome, type NotifierOptions } from './notifier.js';
import { Outbox } from './outbox.js';
import { postWebhook } from './post-webhook.js';

let postgres: TestPostgres;
let nats: TestNats;
let database: TestDatabase;
let log: EventLog;
let sequencer: Sequencer;
let running: Notifier[];
let receivers: Receiver[];
let outcomes: [string, NoticeOutcome, string | undefined][];
let errors: unknown[];

beforeAll(async () => {
  [postgres, nats] = await Promise.all([startTestPostgres(), startTestNats()]);
});
afterAll(() => Promise.all([postgres?.stop(), nats?.stop()]));
beforeEach(async () => {
  database = await postgres.createDatabase();
  log = new EventLog({ pool: database.ledger, onAppended: () => sequencer.wake() });
  sequencer = new Sequencer(log, { onSequenced: () => running.forEach((notifier) => notifier.wake()) });
  sequencer.start();
  [running, receivers, outcomes, errors] = [[], [], [], []];
});
afterEach(async () => {
  await Promise.all(running.map((notifier) => notifier.stop()));
  await sequencer.stop();
  receivers.forEach((receiver) => receiver.stop());
  await database.drop();
});

interface Got {
  readonly id: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  readonly notice: { kind: string; task: { id: string }; text: string; position: number };
}
type Answer = (request: IncomingMessage, response: ServerResponse, nth: number) => void;

/** A webhook's receiver; what it got is kept, how it answers may change. */
class Receiver {
  readonly got: Got[] = [];
  answer: Answer = (_request, response) => response.end('ok');
  private readonly sockets = new Set<Socket>();

  private constructor(readonly server: Server) {
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
    });
    receivers.push(this);
  }

  static async start(answer?: Answer): Promise<Receiver> {
    const handle = (request: IncomingMessage, response: ServerResponse): void => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks).toString();
        receiver.got.push({
          id: String(request.headers['webhook-id']),
          headers: request.headers,
          body,
          notice: JSON.parse(body === '' ? '{}' : body) as Got['notice'],
        });
        receiver.answer(request, response, receiver.got.length);
      });
    };
    const receiver = new Receiver(createServer(handle));
    if (answer !== undefined) receiver.answer = answer;
    await new Promise<void>((resolve) => receiver.server.listen(0, '127.0.0.1', resolve));
    return receiver;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  hook(change: Partial<Webhook> = {}): Webhook {
    const secret = `whsec_${Buffer.alloc(32, 3).toString('base64')}`;
    const url = `http://127.0.0.1:${this.port}/secret-path`;
    return { name: 'chat', url, secret, kinds: ['verdict', 'escalation', 'closed'], ...change };
  }

  stop(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

async function notify(webhooks: Webhook[], more: Partial<NotifierOptions> = {}): Promise<Notifier> {
  const notifier = new Notifier(log, await nats.connect('ledger'), {
    webhooks,
    idleMs: 50,
    onOutcome: (target, outcome, _count, why) => void outcomes.push([target, outcome, why]),
    onError: (error) => void errors.push(error),
    ...more,
  });
  running.push(notifier);
  await notifier.start();
  return notifier;
}
async function stop(notifier: Notifier): Promise<void> {
  running = running.filter((other) => other !== notifier);
  await notifier.stop();
}

const newTask = (): string => `t-${randomBytes(32).toString('hex').slice(0, 26)}`;
const append = (taskId: string, events: { type: string; data: unknown }[]) =>
  log.append({
    commandId: randomUUID(),
    streams: [
      {
        streamId: taskStream(taskId),
        category: 'task',
        events: events.map((event) => ({ ...event, schemaVersion: 1, meta: {} })),
      },
    ],
  });
const submitted = (taskId: string): { type: string; data: EventData<'task.submitted'> } => ({
  type: 'task.submitted',
  data: {
    ...{ taskId, source: 'urn:plumbline:batch:night-1', submissionId: 'lost-cent', contentDigest: 'x' },
    repository: { url: '/shop', base: 'main' },
    issue: { title: 'A cent is lost', body: '' },
    policy: shippedPolicies.strict,
    ...{ priority: 'batch', publish: 'branch' },
  },
});
const verdict = {
  type: 'verdict.reached',
  data: {
    attempt: 1,
    judgement: {
      verdict: 'NO-GO',
      reasons: [{ check: 'tests', effect: 'block', summary: 'red', evidence: [] }],
      advice: [],
    },
    policy: 'strict',
    subject: null,
  },
};
const escalated = (to: 'human' | 'tier') => ({
  type: 'escalation.opened',
  data: { escalationId: 'e', to, attempt: 1, reasons: ['tests: red'], tried: [] },
});
const closed = { type: 'task.closed', data: { outcome: 'no-go', verdict: 'NO-GO' } };
/** A task with everything that people are told of, and something they are not. */
async function walk(taskId = newTask()): Promise<string> {
  await append(taskId, [submitted(taskId), verdict, escalated('tier'), escalated('human'), closed]);
  return taskId;
}
const poll = <T>(read: () => T) => expect.poll(read, { timeout: 15_000, interval: 20 });
const count = (target: string, outcome: NoticeOutcome): number =>
  outcomes.filter(([t, o]) => t === target && o === outcome).length;

describe('notices', () => {
  it('reach a webhook, signed, and NATS as CloudEvents, under the event’s id', async () => {
    const receiver = await Receiver.start();
    const user = await nats.connect('user');
    const heard: { subject: string; id: string; data: unknown }[] = [];
    user.nc.subscribe('plumb.notify.>', {
      callback: (_error, message) => {
        const headers = [...(message.headers ?? [])];
        const parsed = parseCloudEvent(headers, message.data);
        if (parsed.ok) heard.push({ subject: message.subject, id: parsed.event.id, data: parsed.event.data });
      },
    });
    await user.nc.flush();
    const hook = receiver.hook();
    await notify([hook]);
    const taskId = await walk();
    await poll(() => receiver.got.length).toBe(3);
    await poll(() => heard.length).toBe(3);
    expect(receiver.got.map(({ notice }) => notice.kind).sort()).toEqual(['closed', 'escalation', 'verdict']);
    expect(heard.map(({ subject }) => subject).sort()).toEqual(
      ['closed', 'escalation', 'verdict'].map((kind) => `plumb.notify.${kind}.${taskId}`),
    );
    const events = await log.readStream(taskStream(taskId));
    expect(new Set(receiver.got.map(({ id }) => id))).toEqual(new Set([1, 3, 4].map((at) => events[at]?.eventId)));
    for (const { id, headers, body, notice } of receiver.got) {
      expect(noticeDocumentSchema.safeParse(notice).error?.issues ?? []).toEqual([]);
      expect(heard.find((other) => other.id === id)?.data).toEqual(notice);
      // The receiver's side of the scheme, written down from its specification.
      const key = Buffer.from(hook.secret.slice('whsec_'.length), 'base64');
      const at = String(headers['webhook-timestamp']);
      expect(Math.abs(Number(at) * 1_000 - Date.now())).toBeLessThan(60_000);
      expect(headers['webhook-signature']).toBe(
        `v1,${createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64')}`,
      );
      expect(notice.text).toContain('night-1/lost-cent');
    }
    expect(errors).toEqual([]);
  });

  it('are sent for the kinds a webhook asks for, and not for what was recorded before the first start', async () => {
    await walk();
    await poll(async () => (await log.head()).pos).toBe(5);
    const receiver = await Receiver.start();
    await notify([receiver.hook({ kinds: ['escalation'] })]);
    const later = await walk();
    await poll(() => count('nats', 'delivered')).toBe(3);
    await poll(() => receiver.got.length).toBe(1);
    expect(receiver.got[0]?.notice).toMatchObject({ kind: 'escalation', task: { id: later } });
  });

  it('of the time in which nobody was there are sent at the next start', async () => {
    const receiver = await Receiver.start();
    await stop(await notify([receiver.hook()]));
    const taskId = await walk();
    await notify([receiver.hook()]);
    await poll(() => receiver.got.map(({ notice }) => notice.task.id)).toEqual([taskId, taskId, taskId]);
  });

  it('go on where they were in a new epoch of the log, and at its end when that is shorter than they were', async () => {
    const receiver = await Receiver.start();
    await notify([receiver.hook({ kinds: ['closed'] })]);
    await walk();
    await poll(() => receiver.got.length).toBe(1);
    await database.admin.query('UPDATE es.log_head SET epoch = gen_random_uuid()');
    await walk();
    await poll(() => receiver.got.length).toBe(2);
    await database.admin.query(
      "UPDATE es.checkpoint SET pos = 1000000, log_epoch = gen_random_uuid() WHERE projector = 'notices'",
    );
    // Whatever the new epoch itself put into the log is numbered too.
    await poll(async () => {
      const { rows } = await database.ledger.query(
        `SELECT c.pos = h.pos AND c.log_epoch = h.epoch AS there FROM es.checkpoint c, es.log_head h WHERE projector = 'notices'`,
      );
      return (rows[0] as { there: boolean }).there;
    }).toBe(true);
    await walk();
    await poll(() => receiver.got.length).toBe(3);
    expect(new Set(receiver.got.map(({ id }) => id)).size).toBe(3);
  });

  it('come again under the same id and with the same bytes when the ledger dies after the answer', async () => {
    const receiver = await Receiver.start();
    const outbox = new Outbox(log, [{ name: 'chat', kinds: ['closed'] }]);
    await outbox.open();
    await walk();
    await poll(() => outbox.advance().then(() => outbox.states())).toMatchObject([{ due: 1 }]);
    const delivery = await outbox.claim('chat');
    if (delivery === undefined) throw new Error('nothing was due');
    const { body } = delivery;
    expect(
      await postWebhook(
        receiver.hook(),
        { id: delivery.eventId, body },
        { nowMs: 0, signal: new AbortController().signal },
      ),
    ).toEqual({ outcome: 'delivered' });
    // Here it dies. The claim is nobody's any more when its minute is over.
    expect(await outbox.claim('chat')).toBeUndefined();
    await database.ledger.query(`UPDATE notify.delivery SET next_at = clock_timestamp()`);
    await notify([receiver.hook({ kinds: ['closed'] })]);
    await poll(() => receiver.got.length).toBe(2);
    expect(receiver.got[1]).toMatchObject({ id: delivery.eventId, body });
    // Who comes back late has lost its claim.
    await outbox.again('chat', delivery, 'late', 0);
    await expect.poll(() => count('chat', 'delivered')).toBe(1);
    expect(await outbox.claim('chat')).toBeUndefined();
  });

  it('are sent once by several replicas, all of them', async () => {
    const receiver = await Receiver.start();
    await Promise.all([1, 2, 3].map(() => notify([receiver.hook()])));
    await Promise.all(Array.from({ length: 30 }, () => walk()));
    await poll(() => receiver.got.length).toBe(90);
    await poll(() => count('chat', 'delivered')).toBe(90);
    expect(new Set(receiver.got.map(({ id }) => id)).size).toBe(90);
    expect(errors).toEqual([]);
  });

  it('go on when Postgres and NATS were killed and NATS lost its disk', async () => {
    const receiver = await Receiver.start();
    await notify([receiver.hook({ kinds: ['closed'] })]);
    await walk();
    await poll(() => receiver.got.length).toBe(1);
    await nats.halt('SIGKILL');
    nats.wipe();
    await walk();
    await poll(() => receiver.got.length).toBe(2);
    await postgres.crash();
    await nats.launch();
    await expect.poll(() => walk().catch(() => undefined), { timeout: 20_000 }).toBeDefined();
    await poll(() => new Set(receiver.got.map(({ id }) => id)).size).toBe(3);
    // One whose mark was lost with Postgres comes back when its claim is a minute old.
    await expect.poll(() => count('nats', 'delivered'), { timeout: 90_000 }).toBeGreaterThanOrEqual(9);
  });
});

describe('a receiver', () => {
  const pausesMs = [20, 20];

  it('that fails is tried again, and nobody else waits for it', async () => {
    const bad = await Receiver.start((_request, response, nth) => {
      response.statusCode = nth <= 2 ? 503 : 204;
      response.end();
    });
    const silent = await Receiver.start(() => undefined);
    const good = await Receiver.start();
    await notify(
      [bad.hook({ name: 'bad', kinds: ['closed'] }), silent.hook({ name: 'silent' }), good.hook({ name: 'good' })],
      { pausesMs },
    );
    await walk();
    await poll(() => good.got.length).toBe(3);
    await poll(() => count('bad', 'delivered')).toBe(1);
    expect(count('bad', 'retried')).toBe(2);
    expect(new Set(bad.got.map(({ id }) => id)).size).toBe(1);
    expect(silent.got.length).toBe(1);
    expect(count('silent', 'delivered')).toBe(0);
  });

  it('that fails for good is parked with what waits for it, until the ledger starts again', async () => {
    const receiver = await Receiver.start((_request, response) => response.writeHead(500).end());
    const notifier = await notify([receiver.hook({ kinds: ['closed'] })], { pausesMs });
    await walk();
    await poll(() => count('chat', 'parked')).toBe(1);
    expect(receiver.got.length).toBe(3);
    await walk();
    await poll(() => count('nats', 'delivered')).toBe(6);
    const operator = await nats.connect('operator');
    const reply = (await operator.nc.request('plumb.request.ledger.notices', '{"op":"list"}')).json<{
      value: { targets: unknown[] };
    }>();
    expect(reply.value.targets).toMatchObject([
      { target: 'chat', due: 1, why: 'answered 500', parkedAt: expect.stringMatching(/^\d{4}-/) as string },
      { target: 'nats', due: 0, parkedAt: null },
    ]);
    expect(receiver.got.length).toBe(3);
    receiver.answer = (_request, response) => response.end();
    await stop(notifier);
    await notify([receiver.hook({ kinds: ['closed'] })], { pausesMs });
    await poll(() => count('chat', 'delivered')).toBe(2);
  });

  it('that wants nothing more is parked at once; one that refuses a single notice is not', async () => {
    const gone = await Receiver.start((_request, response) => response.writeHead(410).end());
    const picky = await Receiver.start((_request, response, nth) =>
      response.writeHead(nth === 1 || nth > 3 ? 400 : 200).end(),
    );
    picky.answer = (request, response) =>
      response.writeHead(request.headers['webhook-id'] === picky.got[0]?.id ? 400 : 200).end();
    await notify([gone.hook({ name: 'gone' }), picky.hook({ name: 'picky' })], { pausesMs });
    await walk();
    await poll(() => count('gone', 'parked')).toBe(1);
    await poll(() => count('picky', 'failed')).toBe(1);
    await walk();
    await poll(() => count('picky', 'delivered')).toBe(5);
    expect(gone.got.length).toBe(1);
    expect(count('picky', 'parked')).toBe(0);
  });

  const once = async (answer: Answer, timeoutMs = 400) => {
    const receiver = await Receiver.start(answer);
    const startedAt = performance.now();
    const sending = await postWebhook(
      receiver.hook(),
      { id: 'i', body: '{}' },
      { nowMs: 0, signal: new AbortController().signal, timeoutMs },
    );
    expect(performance.now() - startedAt).toBeLessThan(timeoutMs + 4_000);
    return { sending, receiver };
  };

  it('that redirects is not followed', async () => {
    const other = await Receiver.start();
    const { sending, receiver } = await once((_request, response) =>
      response.writeHead(302, { location: `http://127.0.0.1:${other.port}/` }).end(),
    );
    expect(sending).toMatchObject({ outcome: 'failed', why: expect.stringContaining('302') as string });
    expect([receiver.got.length, other.got.length]).toEqual([1, 0]);
  });

  it('that never answers, or dribbles its headers, gets no more than its time', async () => {
    const { sending } = await once(() => undefined);
    expect(sending).toMatchObject({ outcome: 'failed', why: 'no answer within 0.4 s' });
    let timer: NodeJS.Timeout | undefined;
    const dribble = await once((request) => {
      request.socket.write('HTTP/1.1 200 OK\r\n');
      timer = setInterval(() => request.socket.write('x-a: b\r\n'), 20);
    });
    clearInterval(timer);
    expect(dribble.sending.outcome).toBe('failed');
  });

  it('that answers without end is not listened to', async () => {
    let written = 0;
    const startedAt = performance.now();
    const { sending, receiver } = await once((_request, response) => {
      response.writeHead(200, { 'content-length': String(10 * 1_024 ** 3) });
      const chunk = Buffer.alloc(64 * 1_024);
      const pump = (): void => {
        while (!response.destroyed && response.write(chunk)) written += chunk.length;
        if (!response.destroyed) response.once('drain', pump);
      };
      pump();
    }, 10_000);
    expect(sending).toEqual({ outcome: 'delivered' });
    expect(performance.now() - startedAt).toBeLessThan(8_000);
    const before = written;
    receiver.stop();
    expect(before).toBeLessThan(64 * 1_024 ** 2);
  });

  it('that breaks off after its answer has answered, before it has not', async () => {
    const after = await once((request, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('x', () => request.socket.resetAndDestroy());
    });
    expect(after.sending.outcome).toBe('delivered');
    const before = await once((request) => request.socket.resetAndDestroy());
    expect(before.sending).toMatchObject({
      outcome: 'failed',
      why: expect.stringMatching(/^not reached: [A-Z_]+$/) as string,
    });
  });

  it('that speaks no proper TLS, or is not there, is told by a code and never by its address', async () => {
    const plain = await Receiver.start();
    const hook = plain.hook();
    const options = { nowMs: 0, signal: new AbortController().signal };
    const found = [
      await postWebhook({ ...hook, url: hook.url.replace('http', 'https') }, { id: 'i', body: '{}' }, options),
    ];
    plain.stop();
    found.push(await postWebhook(hook, { id: 'i', body: '{}' }, options));
    for (const sending of found) {
      expect(sending).toMatchObject({
        outcome: 'failed',
        gone: false,
        why: expect.stringMatching(/^not reached: [A-Z_]+$/) as string,
      });
      expect(JSON.stringify(sending)).not.toMatch(/secret|127\.0/);
    }
  });

  it('gets the schedule that Standard Webhooks recommends: ten sendings in about three days', () => {
    expect(recommendedPausesMs).toHaveLength(9);
    const hours = recommendedPausesMs.reduce((sum, ms) => sum + ms, 0) / 3_600_000;
    expect(hours).toBeGreaterThan(72);
    expect(hours).toBeLessThan(80);
  });
});
