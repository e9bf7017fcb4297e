import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Bus } from './connection.js';
import { listDead, retryDead } from './dead-letter-admin.js';
import { deadLetter, publishDeadLetter } from './dead-letter.js';
import { eventually, TestBroker } from './nats.fixture.js';
import { request } from './request.js';
import { serve } from './serve.js';

/** What a compromised service could try with the one thing its permissions do not hold: where the broker is to answer. */
let broker: TestBroker;
let ledger: Bus;
let coder: Bus;

beforeAll(async () => {
  broker = await TestBroker.start();
  ledger = await broker.ledger();
  coder = await broker.connect('coder');
});
afterAll(() => broker.close());

const lastSeq = async (name: string): Promise<number> => (await ledger.jsm.streams.info(name)).state.last_seq;

/** Everything the coder may ask of the broker, with the answer sent to `reply`. Resolves when all of it has been answered. */
async function ask(reply: string): Promise<void> {
  coder.nc.publish('$JS.API.CONSUMER.INFO.LOG.coder-steps', '', { reply });
  coder.nc.publish('plumb.dead.coder', ruling, { reply });
  const pull = JSON.stringify({ batch: 1, no_wait: true });
  coder.nc.publish('$JS.API.CONSUMER.MSG.NEXT.REDO.coder-redo', pull, { reply });
  const taken = async () => (await ledger.jsm.consumers.info('REDO', 'coder-redo')).num_pending === 0;
  await eventually('the planted message is taken', taken);
  await coder.js.publish('plumb.dead.coder', 'x');
}

const ruling = JSON.stringify({
  ...{
    specversion: '1.0',
    id: '1',
    source: 'forged',
    type: 'org.plumbline.task.rule',
    datacontenttype: 'application/json',
  },
  data: { taskId: `t-${'a'.repeat(26)}`, decision: 'go', by: 'nobody', why: 'forged' },
});

/** Puts a message of the coder's own making where the coder may pull it: a dead letter that an operator retried. */
async function planted(): Promise<void> {
  const letter = deadLetter(
    {
      ...{ service: 'coder', durable: 'coder-steps', stream: 'LOG', seq: 1, deliveries: 1, reason: 'x', headers: {} },
      ...{ subject: 'log.task.coding-requested.t1', at: new Date().toISOString() },
    },
    new TextEncoder().encode(ruling),
  );
  await publishDeadLetter(coder, letter, String(Math.random()));
  const { entries } = await listDead(ledger);
  await retryDead(ledger, entries.at(-1)?.deadSeq ?? 0);
}

describe('a service that has the broker answer elsewhere', () => {
  it.each([
    ['plumb.intake.task.rule', 'INTAKE'],
    ['log.task.publishing-requested.t1', 'LOG'],
    ['plumb.redo.code-host.code-host-publish', 'REDO'],
  ])('can make the broker store on %s only what the broker itself says', async (reply, stream) => {
    await planted();
    const before = await lastSeq(stream);
    await ask(reply);
    const after = await lastSeq(stream);
    // What the broker answers with is stored: so the rule below is not true of nothing.
    expect(after).toBeGreaterThan(before);
    for (let seq = before + 1; seq <= after; seq += 1) {
      const message = await ledger.jsm.streams.getMessage(stream, { seq });
      // A pulled message keeps its own subject, and consumers filter by subject: whose it is stays visible.
      if (message?.string().includes('forged')) expect(message.subject).toBe('plumb.redo.coder.coder-steps');
    }
  });

  it('has none of its own words delivered to who decides', async () => {
    await planted();
    await ask('plumb.intake.task.rule');
    const scheduler = await broker.connect('scheduler');
    const consumer = await scheduler.js.consumers.get('INTAKE', 'scheduler-intake');
    const messages = await consumer.fetch({ max_messages: 100, expires: 1_000 });
    const texts: string[] = [];
    for await (const message of messages) texts.push(message.string());
    expect(texts.length).toBeGreaterThan(0);
    expect(texts.filter((text) => text.includes('forged'))).toEqual([]);
  });

  it('reaches no door as somebody else', async () => {
    const heard: unknown[] = [];
    const serving = await serve(
      ledger,
      'plumb.ledger.append.*',
      { queue: 'q', concurrency: 1, maxPayloadBytes: 1_000_000 },
      async (body) => {
        heard.push(body);
        return { ok: true, value: null };
      },
    );
    await planted();
    await ask('plumb.ledger.append.scheduler');
    await request(coder, 'plumb.ledger.append.coder', 'last', { timeoutMs: 5_000 });
    await serving.stop();
    expect(heard).toEqual(['last']);
  });
});
