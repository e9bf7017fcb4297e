import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Bus } from './connection.js';
import { IDENTITIES, type IdentityName } from './identities.js';
import { eventually, TestBroker } from './nats.fixture.js';
import { request } from './request.js';
import { serve } from './serve.js';
import { serviceNames } from '@plumbline/domain';
import { DURABLES } from './topology.js';

let broker: TestBroker;
const buses = new Map<IdentityName, { bus: Bus; refused: string[] }>();

beforeAll(async () => {
  broker = await TestBroker.start();
  await broker.ledger();
  for (const { name } of IDENTITIES) {
    const refused: string[] = [];
    const bus = await broker.connect(name, {
      onStatus: (status) => {
        if (status.type === 'error') refused.push(status.error.message);
      },
    });
    buses.set(name, { bus, refused });
  }
});
afterAll(() => broker.close());

/** Whether the broker lets the identity do it; a refusal arrives before the answer to the flush. */
async function allowed(name: IdentityName, act: (bus: Bus) => void): Promise<boolean> {
  const entry = buses.get(name);
  if (!entry) throw new Error(`no connection of ${name}`);
  entry.refused.length = 0;
  act(entry.bus);
  await entry.bus.nc.flush();
  await new Promise((done) => setImmediate(done));
  for (const message of entry.refused) expect(message).toMatch(/permissions violation/i);
  return entry.refused.length === 0;
}

const mayPublish = (name: IdentityName, subject: string): Promise<boolean> =>
  allowed(name, (bus) => bus.nc.publish(subject, 'x'));
const maySubscribe = async (name: IdentityName, subject: string): Promise<boolean> => {
  let stop = (): void => undefined;
  const answer = await allowed(name, (bus) => {
    const subscription = bus.nc.subscribe(subject, { callback: () => undefined });
    stop = () => subscription.unsubscribe();
  });
  stop();
  return answer;
};

/** NATS subject matching, written down a second time so that the server is compared with something. */
function covers(pattern: string, subject: string): boolean {
  const want = pattern.split('.');
  const have = subject.split('.');
  for (const [i, token] of want.entries()) {
    if (token === '>') return have.length > i;
    if (have[i] === undefined) return false;
    if (have[i] === '>' || (token !== '*' && token !== have[i])) return false;
  }
  return want.length === have.length;
}

const concrete = (pattern: string): string => pattern.replaceAll('*', 'x1').replace(/>$/, 'y1.z1');

/** Everything anybody may publish, plus what nobody but the ledger should. */
const PUBLISHED = [
  ...new Set([
    ...IDENTITIES.flatMap(({ publish }) => publish.map(concrete)),
    ...serviceNames.flatMap((service) => [
      `plumb.ledger.append.${service}`,
      `plumb.ledger.lease.${service}`,
      `plumb.ledger.read.${service}`,
      `plumb.dead.${service}`,
      `_INBOX_${service}.x1`,
    ]),
    'log.task.submitted.x1',
    'plumb.redo.coder.coder-steps',
    'plumb.request.ledger.dead.list',
    'plumb.intake.task.other',
    'plumb.elsewhere',
    '$SYS.REQ.SERVER.PING',
  ]),
].filter((subject) => !subject.startsWith('$JS.API.y1'));

describe('what the broker lets each identity do is the table, nothing more and nothing less', () => {
  for (const identity of IDENTITIES) {
    it(`${identity.name} publishes only what its row lists`, async () => {
      for (const subject of PUBLISHED) {
        const expected = identity.publish.some((pattern) => covers(pattern, subject));
        expect([subject, await mayPublish(identity.name, subject)]).toEqual([subject, expected]);
      }
    });

    it(`${identity.name} subscribes only to what its row lists`, async () => {
      const subjects = [
        ...new Set(IDENTITIES.flatMap(({ subscribe }) => subscribe.map(concrete))),
        '>',
        'log.>',
        '_INBOX.>',
      ];
      for (const subject of subjects) {
        const wanted = identity.subscribe.some((pattern) => pattern === subject || covers(pattern, subject));
        expect([subject, await maySubscribe(identity.name, subject)]).toEqual([subject, wanted]);
      }
    });
  }
});

describe('the rules the table must obey', () => {
  it('only the ledger publishes log facts', async () => {
    for (const { name } of IDENTITIES) {
      expect([name, await mayPublish(name, 'log.task.verdict-reached.t1')]).toEqual([name, name === 'ledger']);
    }
  });

  it('nobody but the service itself appends, leases or reads as that service', async () => {
    for (const { name } of IDENTITIES) {
      for (const service of serviceNames) {
        for (const door of ['append', 'lease', 'read']) {
          const subject = `plumb.ledger.${door}.${service}`;
          expect([name, subject, await mayPublish(name, subject)]).toEqual([
            name,
            subject,
            name === service && service !== 'ledger',
          ]);
        }
      }
    }
  });

  it('nobody but the ledger creates, changes or deletes streams and consumers', async () => {
    const admin = [
      '$JS.API.STREAM.CREATE.X',
      '$JS.API.STREAM.UPDATE.LOG',
      '$JS.API.STREAM.DELETE.LOG',
      '$JS.API.STREAM.PURGE.LOG',
      '$JS.API.STREAM.MSG.GET.LOG',
      '$JS.API.STREAM.MSG.DELETE.DEAD',
      '$JS.API.CONSUMER.CREATE.LOG',
      '$JS.API.CONSUMER.CREATE.LOG.coder-steps',
      '$JS.API.CONSUMER.DURABLE.CREATE.LOG.coder-steps',
      '$JS.API.CONSUMER.DELETE.LOG.coder-steps',
    ];
    for (const { name } of IDENTITIES.filter((identity) => identity.name !== 'ledger')) {
      for (const subject of admin)
        expect([name, subject, await mayPublish(name, subject)]).toEqual([name, subject, false]);
    }
  });

  it('a durable is pulled from and settled by its own service only', async () => {
    for (const { name } of IDENTITIES.filter((identity) => identity.name !== 'ledger')) {
      for (const { service, stream, durable } of DURABLES) {
        for (const subject of [
          `$JS.API.CONSUMER.INFO.${stream}.${durable}`,
          `$JS.API.CONSUMER.MSG.NEXT.${stream}.${durable}`,
          `$JS.ACK.${stream}.${durable}.1.2.3.4.5`,
          `$JS.ACK._.hash.${stream}.${durable}.1.2.3.4.5.token`,
        ]) {
          expect([name, subject, await mayPublish(name, subject)]).toEqual([name, subject, name === service]);
        }
      }
    }
  });

  it('nobody listens to the requests or the replies of another service', async () => {
    for (const { name } of IDENTITIES) {
      for (const service of serviceNames) {
        expect([name, service, await maySubscribe(name, `_INBOX_${service}.>`)]).toEqual([
          name,
          service,
          name === service,
        ]);
      }
      expect([name, await maySubscribe(name, 'plumb.ledger.append.*')]).toEqual([name, name === 'ledger']);
      expect([name, await maySubscribe(name, 'plumb.request.task.>')]).toEqual([name, name === 'scheduler']);
      expect([name, await maySubscribe(name, 'plumb.request.ledger.>')]).toEqual([name, name === 'ledger']);
    }
  });

  it('dead letters are the operator’s: a user cannot ask for them', async () => {
    expect(await mayPublish('user', 'plumb.request.ledger.dead.list')).toBe(false);
    expect(await mayPublish('operator', 'plumb.request.ledger.dead.list')).toBe(true);
  });

  it('a client cannot have the broker answer into the log, the ledger’s doors or another stream', async () => {
    const ledger = buses.get('ledger')?.bus;
    const before = await Promise.all(['LOG', 'REDO', 'DEAD'].map((name) => ledger?.jsm.streams.info(name)));
    for (const name of ['user', 'operator'] as const) {
      const bus = buses.get(name)?.bus;
      for (const reply of ['log.task.verdict-reached.t1', 'plumb.redo.coder.coder-steps', 'plumb.dead.coder']) {
        bus?.nc.publish('plumb.intake.task.submit', '{}', { reply });
      }
      // Confirmed, so everything before it was stored and answered too.
      await bus?.js.publish('plumb.intake.task.submit', '{}');
    }
    const after = await Promise.all(['LOG', 'REDO', 'DEAD'].map((name) => ledger?.jsm.streams.info(name)));
    expect(after.map((info) => info?.state.last_seq)).toEqual(before.map((info) => info?.state.last_seq));
    expect((await ledger?.jsm.streams.info('INTAKE'))?.state.messages).toBeGreaterThanOrEqual(8);
  });

  it('clients hear facts, refusals and progress across the account border, and get answers over it', async () => {
    const heard: string[] = [];
    const user = buses.get('user')?.bus;
    const scheduler = buses.get('scheduler')?.bus;
    if (!user || !scheduler) throw new Error('not connected');
    const subscriptions = ['log.>', 'plumb.intake.refused', 'plumb.live.>', 'plumb.notify.>'].map((subject) =>
      user.nc.subscribe(subject, { callback: (_error, { subject: on }) => void heard.push(on) }),
    );
    await user.nc.flush();
    buses.get('ledger')?.bus.nc.publish('log.task.submitted.t1', '{}');
    scheduler.nc.publish('plumb.intake.refused', '{}');
    buses.get('coder')?.bus.nc.publish('plumb.live.t1', '{}');
    buses.get('ledger')?.bus.nc.publish('plumb.notify.verdict.t1', '{}');
    await eventually('all heard', () => heard.length === 4);
    subscriptions.forEach((subscription) => subscription.unsubscribe());
    const server = await serve(
      scheduler,
      'plumb.request.task.>',
      { queue: 'scheduler', concurrency: 1, maxPayloadBytes: 1_000 },
      async () => ({ ok: true, value: { taskId: 't1' } }),
    );
    for (const inboxPrefix of ['_INBOX_user', '_INBOX']) {
      const client = await broker.connect('user', { inboxPrefix });
      expect(await request(client, 'plumb.request.task.submit', {}, { timeoutMs: 5_000 })).toEqual({
        ok: true,
        value: { taskId: 't1' },
      });
    }
    await server.stop();
  });

  it('anybody without a password is refused', async () => {
    await expect(broker.connect('user', { password: 'wrong-password' })).rejects.toMatchObject({
      code: 'auth-failed',
      retry: 'never',
    });
  });
});
