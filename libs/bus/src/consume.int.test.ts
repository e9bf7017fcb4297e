import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { headers as natsHeaders } from '@nats-io/transport-node';
import type { Bus } from './connection.js';
import { consume, type BusMessage, type ConsumeOptions, type Consumption, type Outcome } from './consume.js';
import { consumeService } from './consume-service.js';
import type { DeadLetter } from './dead-letter.js';
import { dropDead, listDead, retryDead } from './dead-letter-admin.js';
import { ensureDurables, ensureTopology, recreateLog } from './ensure-topology.js';
import { eventually, gate, TestBroker } from './nats.fixture.js';

const ACK: Outcome = { outcome: 'ack' };
const QUICK = { redelivery: { baseMs: 20, capMs: 40 }, rebind: { baseMs: 20, capMs: 100 }, random: () => 0.5 };

/** Every test has a broker of its own: what one leaves behind must not help or hurt another. */
async function scene(run: (broker: TestBroker, ledger: Bus, worker: Bus) => Promise<void>): Promise<void> {
  const broker = await TestBroker.start();
  try {
    await run(broker, await broker.ledger(), await broker.connect('coder'));
  } finally {
    await broker.close();
  }
}

const publish = (ledger: Bus, id: string, body: unknown = { id }): Promise<unknown> =>
  ledger.js.publish(`log.task.coding-requested.${id}`, JSON.stringify(body));

const steps = (worker: Bus, options: Partial<ConsumeOptions> & Pick<ConsumeOptions, 'handler'>): Consumption =>
  consume(worker, { stream: 'LOG', durable: 'coder-steps', concurrency: 4, ...QUICK, ...options });

const pending = async (ledger: Bus, durable = 'coder-steps', stream = 'LOG'): Promise<number> => {
  const info = await ledger.jsm.consumers.info(stream, durable);
  return info.num_ack_pending + info.num_pending;
};

const setAckWait = (ledger: Bus, ms: number): Promise<unknown> =>
  ledger.jsm.consumers.update('LOG', 'coder-steps', { ack_wait: ms * 1e6 });

class Refused extends Error {
  constructor(readonly retry: 'later' | 'never') {
    super(`try ${retry}`);
  }
}

describe('handling', () => {
  it('shows a message as it is and acknowledges it', () =>
    scene(async (_broker, ledger, worker) => {
      const seen: BusMessage[] = [];
      const consumption = steps(worker, { handler: async (message) => (seen.push(message), ACK) });
      const headers = natsHeaders();
      headers.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
      await ledger.js.publish('log.task.coding-requested.t1', '{"a":1}', { headers });
      await eventually('handled', async () => seen.length === 1 && (await pending(ledger)) === 0);
      expect(seen[0]).toMatchObject({ subject: 'log.task.coding-requested.t1', streamSequence: 1, deliveryCount: 1 });
      expect(seen[0]?.json()).toEqual({ a: 1 });
      expect(Buffer.from(seen[0]?.data ?? []).toString()).toBe('{"a":1}');
      expect(seen[0]?.headers.get('traceparent')).toContain('0af7651916cd43dd8448eb211c80319c');
      await consumption.stop();
    }));

  it('never runs more handlers than its concurrency and never holds a message it does not run', () =>
    scene(async (broker, ledger, worker) => {
      const doors: (() => void)[] = [];
      let running = 0;
      let most = 0;
      const handler = async (): Promise<Outcome> => {
        most = Math.max(most, (running += 1));
        const door = gate();
        doors.push(() => door.open());
        await door.promise;
        running -= 1;
        return ACK;
      };
      const first = steps(worker, { concurrency: 3, handler });
      for (let i = 0; i < 5; i += 1) await publish(ledger, `t${i}`);
      await eventually('three running', () => running === 3);
      // The two others are not in a buffer of the busy worker: an idle replica gets them at once.
      const other: string[] = [];
      const idle = await broker.connect('coder');
      const second = steps(idle, { concurrency: 1, handler: async (message) => (other.push(message.subject), ACK) });
      await eventually('the replica took the rest', () => other.length === 2);
      expect(most).toBe(3);
      doors.forEach((open) => open());
      await eventually('all done', async () => (await pending(ledger)) === 0);
      await Promise.all([first.stop(), second.stop()]);
      expect(() => steps(worker, { concurrency: 0, handler })).toThrow(/expected 1 to 256/);
    }));

  it('a handler slower than the ack wait gets its message once', () =>
    scene(async (_broker, ledger, worker) => {
      await setAckWait(ledger, 300);
      const counts: number[] = [];
      const consumption = steps(worker, {
        handler: async (message) => {
          counts.push(message.deliveryCount);
          await new Promise((done) => setTimeout(done, 1_500));
          return ACK;
        },
      });
      await publish(ledger, 't1');
      await eventually('acknowledged', async () => counts.length > 0 && (await pending(ledger)) === 0);
      expect(counts).toEqual([1]);
      await consumption.stop();
    }));

  it('ackNow settles at once, and what the handler does later does not matter', () =>
    scene(async (_broker, ledger, worker) => {
      await setAckWait(ledger, 200);
      const door = gate();
      const errors: unknown[] = [];
      let deliveries = 0;
      const consumption = steps(worker, {
        onError: (error) => errors.push(error),
        handler: async (message) => {
          deliveries += 1;
          message.ackNow();
          await door.promise;
          throw new Refused('never');
        },
      });
      await publish(ledger, 't1');
      await eventually('acknowledged while running', async () => deliveries === 1 && (await pending(ledger)) === 0);
      expect(consumption.inFlight).toBe(1);
      door.open();
      await eventually('finished', () => consumption.inFlight === 0);
      expect(errors).toHaveLength(1);
      expect((await listDead(ledger)).total).toBe(0);
      await consumption.stop();
    }));

  it('nak, `later` and bugs come again after a delay; bugs die at maxDeliveries, `never` at once', () =>
    scene(async (_broker, ledger, worker) => {
      const counts: Record<string, number> = {};
      const dead: DeadLetter[] = [];
      const consumption = steps(worker, {
        maxDeliveries: 3,
        onDead: (letter) => dead.push(letter),
        handler: async (message) => {
          const id = message.subject.split('.').at(-1) ?? '';
          counts[id] = message.deliveryCount;
          if (id === 'nak') return message.deliveryCount < 5 ? { outcome: 'nak', delayMs: 10 } : ACK;
          if (id === 'later' && message.deliveryCount < 5) throw new Refused('later');
          if (id === 'never') throw new Refused('never');
          if (id === 'bug') throw new TypeError('x is not a function');
          if (id === 'nothing') return undefined as unknown as Outcome;
          if (id === 'garbled') message.json();
          return ACK;
        },
      });
      for (const id of ['nak', 'later', 'never', 'bug', 'nothing']) await publish(ledger, id);
      await ledger.js.publish('log.task.coding-requested.garbled', '{"a":');
      await eventually('all settled', async () => dead.length === 4 && (await pending(ledger)) === 0);
      expect(counts).toEqual({ nak: 5, later: 5, never: 1, bug: 3, nothing: 3, garbled: 1 });
      const reasons = Object.fromEntries(dead.map((letter) => [letter.subject.split('.').at(-1), letter.reason]));
      expect(reasons).toMatchObject({
        never: 'Error: try never',
        bug: 'failed 3 times, last: TypeError: x is not a function',
        nothing: expect.stringContaining('no outcome') as string,
        garbled: expect.stringContaining('not JSON') as string,
      });
      await consumption.stop();
    }));
});

describe('dead letters', () => {
  it('a poison message is stored with its reason and comes back to the same handler when retried', () =>
    scene(async (_broker, ledger, worker) => {
      let mended = false;
      const seen: BusMessage[] = [];
      const consumption = consumeService(worker, {
        service: 'coder',
        ...QUICK,
        handlers: {
          'coder-steps': {
            concurrency: 1,
            handler: async (message) => {
              seen.push(message);
              return mended ? ACK : { outcome: 'dead', reason: 'no such base commit' };
            },
          },
        },
      });
      const headers = natsHeaders();
      headers.set('ce-id', 'e1');
      const body = Uint8Array.of(0, 255, 7);
      await ledger.js.publish('log.task.coding-requested.t1', body, { headers, msgID: 'epoch:1' });
      await eventually('dead', async () => (await listDead(ledger)).total === 1 && (await pending(ledger)) === 0);

      const { entries, nextSeq } = await listDead(ledger);
      expect(nextSeq).toBeUndefined();
      expect(entries[0]).toMatchObject({
        service: 'coder',
        letter: {
          durable: 'coder-steps',
          subject: 'log.task.coding-requested.t1',
          stream: 'LOG',
          seq: 1,
          reason: 'no such base commit',
          deliveries: 1,
          encoding: 'base64',
        },
      });
      mended = true;
      await retryDead(ledger, entries[0]?.deadSeq ?? 0);
      await eventually(
        'handled again',
        async () => seen.length === 2 && (await pending(ledger, 'coder-redo', 'REDO')) === 0,
      );
      expect(seen[1]).toMatchObject({ subject: 'log.task.coding-requested.t1', stream: 'LOG', streamSequence: 1 });
      expect([...(seen[1]?.data ?? [])]).toEqual([...body]);
      expect(seen[1]?.headers.get('ce-id')).toBe('e1');
      expect((await listDead(ledger)).total).toBe(0);
      await consumption.stop();
    }));

  it('a retried message that fails again is dead under its first name', () =>
    scene(async (_broker, ledger, worker) => {
      const consumption = consumeService(worker, {
        service: 'coder',
        ...QUICK,
        handlers: { 'coder-steps': { concurrency: 1, handler: async () => ({ outcome: 'dead', reason: 'still' }) } },
      });
      await publish(ledger, 't1');
      await eventually('dead', async () => (await listDead(ledger)).total === 1);
      await retryDead(ledger, 1);
      await eventually('dead again', async () => (await listDead(ledger)).entries[0]?.deadSeq === 2);
      expect((await listDead(ledger)).entries[0]?.letter).toMatchObject({
        durable: 'coder-steps',
        subject: 'log.task.coding-requested.t1',
        seq: 1,
      });
      expect((await dropDead(ledger, 2)).deadSeq).toBe(2);
      expect((await listDead(ledger)).total).toBe(0);
      await expect(retryDead(ledger, 2)).rejects.toMatchObject({ code: 'not-found', retry: 'never' });
      await expect(dropDead(ledger, -1)).rejects.toMatchObject({ code: 'not-found' });
      await consumption.stop();
    }));

  it('a forged dead letter is listed but cannot be sent to another service', () =>
    scene(async (_broker, ledger, worker) => {
      const forged = {
        service: 'gate',
        durable: 'gate-steps',
        subject: 'log.task.gating-requested.t1',
        stream: 'LOG',
        seq: 1,
        reason: 'x',
        deliveries: 1,
        encoding: 'text',
        data: '{}',
        headers: {},
        at: 'now',
      };
      await worker.js.publish('plumb.dead.coder', JSON.stringify(forged));
      await worker.js.publish('plumb.dead.coder', 'not json');
      const { entries } = await listDead(ledger);
      expect(entries.map((entry) => [entry.service, entry.letter?.durable])).toEqual([
        ['coder', 'gate-steps'],
        ['coder', undefined],
      ]);
      for (const seq of [1, 2]) {
        await expect(retryDead(ledger, seq)).rejects.toMatchObject({ code: 'unreadable-dead-letter' });
      }
      expect((await listDead(ledger, { fromSeq: 1, limit: 1 })).nextSeq).toBe(2);
    }));

  it('while the dead letter cannot be stored the message is not given up', () =>
    scene(async (_broker, ledger, worker) => {
      await ledger.jsm.streams.delete('DEAD');
      const errors: unknown[] = [];
      const dead: DeadLetter[] = [];
      const consumption = steps(worker, {
        onError: (error) => errors.push(error),
        onDead: (letter) => dead.push(letter),
        handler: async () => ({ outcome: 'dead', reason: 'poison' }),
      });
      await publish(ledger, 't1');
      await eventually('storing failed twice', () => errors.length >= 2);
      expect(await pending(ledger)).toBe(1);
      expect(dead).toEqual([]);
      await ensureTopology(ledger.jsm, ledger.capabilities, { logEpoch: 'epoch-1' });
      await eventually('stored at last', async () => dead.length === 1 && (await pending(ledger)) === 0);
      expect((await listDead(ledger)).total).toBe(1);
      await consumption.stop();
    }));

  it('a megabyte of control characters still fits into a dead letter', () =>
    scene(async (_broker, ledger, worker) => {
      const dead: DeadLetter[] = [];
      const consumption = steps(worker, {
        onDead: (letter) => dead.push(letter),
        handler: async () => ({ outcome: 'dead', reason: 'poison' }),
      });
      await ledger.js.publish('log.task.coding-requested.t1', new Uint8Array(1024 * 1024 - 200));
      await eventually('stored', () => dead.length === 1);
      expect(dead[0]?.encoding).toBe('base64');
      await consumption.stop();
    }));
});

describe('stopping', () => {
  it('waits for running handlers and takes nothing more', () =>
    scene(async (_broker, ledger, worker) => {
      const door = gate();
      let started = 0;
      const consumption = steps(worker, {
        concurrency: 2,
        handler: async () => {
          started += 1;
          await door.promise;
          return ACK;
        },
      });
      for (let i = 0; i < 4; i += 1) await publish(ledger, `t${i}`);
      await eventually('two running', () => started === 2);
      const stopped = consumption.stop();
      door.open();
      expect(await stopped).toEqual({ finished: 2, handedBack: 0 });
      expect(started).toBe(2);
      await worker.nc.flush();
      expect(await pending(ledger)).toBe(2);
    }));

  it('hands back what is not done at the deadline, and a late outcome does not count', () =>
    scene(async (broker, ledger, worker) => {
      const door = gate();
      const consumption = steps(worker, { handler: () => door.promise.then(() => ACK) });
      await publish(ledger, 't1');
      await eventually('running', () => consumption.inFlight === 1);
      expect(await consumption.stop({ deadlineMs: 50, redeliverAfterMs: 10 })).toEqual({ finished: 0, handedBack: 1 });
      door.open();
      const again: number[] = [];
      const other = await broker.connect('coder');
      const second = steps(other, { handler: async (message) => (again.push(message.deliveryCount), ACK) });
      await eventually('redelivered long before the ack wait', () => again.length === 1, 5_000);
      // How the server counts a handed-back delivery is its own affair: 2.9.10 was seen to answer 1 as well as 2.
      expect(again).toHaveLength(1);
      await second.stop();
    }));

  it('stops while the broker is away or the durable does not exist', () =>
    scene(async (broker, ledger, worker) => {
      await ledger.jsm.consumers.delete('LOG', 'coder-steps');
      const consumption = steps(worker, { handler: async () => ACK });
      await broker.halt('SIGKILL');
      await eventually('noticed', () => !worker.connected);
      expect(await consumption.stop({ deadlineMs: 500 })).toEqual({ finished: 0, handedBack: 0 });
    }));
});

describe('what the broker may do', () => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    it(`${signal} with the store kept: everything is handled, consumption goes on by itself`, () =>
      scene(async (broker, ledger, worker) => {
        // A killed server may have forgotten acknowledgements; those messages come again after the ack wait.
        await setAckWait(ledger, 1_000);
        const seen = new Set<string>();
        const consumption = steps(worker, { handler: async (message) => (seen.add(message.subject), ACK) });
        for (let i = 0; i < 5; i += 1) await publish(ledger, `a${i}`);
        await eventually('first five', () => seen.size === 5);
        for (let round = 1; round <= 2; round += 1) {
          await broker.halt(signal);
          await eventually('noticed', () => !worker.connected && !ledger.connected);
          await broker.launch();
          await eventually('back', () => worker.connected && ledger.connected);
          for (let i = 0; i < 5; i += 1) await publish(ledger, `b${round}${i}`);
          await eventually(`all of round ${round}`, () => seen.size === 5 + round * 5);
        }
        await eventually('settled', async () => (await pending(ledger)) === 0);
        expect(worker.counters).toMatchObject({ disconnected: 2, reconnected: 2 });
        await consumption.stop();
      }));
  }

  it('a handler that runs across a restart settles its message afterwards', () =>
    scene(async (broker, ledger, worker) => {
      const door = gate();
      const counts: number[] = [];
      const consumption = steps(worker, {
        concurrency: 1,
        handler: async (message) => {
          counts.push(message.deliveryCount);
          await door.promise;
          return ACK;
        },
      });
      await publish(ledger, 't1');
      await eventually('running', () => counts.length === 1);
      await broker.halt('SIGTERM');
      await eventually('noticed', () => !worker.connected);
      // Decided while the broker is away: kept until the durable is found to be the same.
      door.open();
      await eventually('finished', () => consumption.inFlight === 0);
      await broker.launch();
      await eventually('acknowledged', async () => ledger.connected && (await pending(ledger)) === 0);
      expect(counts).toEqual([1]);
      await consumption.stop();
    }));

  it('wiped store: keeps looking until the ledger has made everything anew', () =>
    scene(async (broker, ledger, worker) => {
      const seen: string[] = [];
      const states: string[] = [];
      const consumption = steps(worker, {
        onBinding: ({ state }) => states.push(state),
        handler: async (message) => (seen.push(message.subject), ACK),
      });
      await publish(ledger, 'before');
      await eventually('handled', () => seen.length === 1);
      await broker.halt('SIGKILL');
      broker.wipe();
      await broker.launch();
      await eventually('back', () => worker.connected && ledger.connected);
      await eventually('looked in vain', () => states.filter((state) => state === 'unbound').length >= 2);
      await ensureTopology(ledger.jsm, ledger.capabilities, { logEpoch: 'epoch-1' });
      await publish(ledger, 'after');
      await eventually('handled', () => seen.length === 2);
      expect(seen[1]).toContain('after');
      await consumption.stop();
    }));

  it('a late acknowledgement of the old stream does not settle a message of the new one', () =>
    scene(async (broker, ledger, worker) => {
      const doors = new Map<string, () => void>();
      const consumption = steps(worker, {
        handler: async (message) => {
          const door = gate();
          doors.set(message.subject.split('.').at(-1) ?? '', () => door.open());
          await door.promise;
          return ACK;
        },
      });
      await publish(ledger, 'old');
      await eventually('old running', () => doors.has('old'));
      await broker.halt('SIGKILL');
      broker.wipe();
      await broker.launch();
      await eventually('back', () => ledger.connected);
      await ensureTopology(ledger.jsm, ledger.capabilities, { logEpoch: 'epoch-1' });
      await publish(ledger, 'new');
      await eventually('new running', () => doors.has('new'));
      // Both have sequence 1 of LOG.
      doors.get('old')?.();
      await eventually('old finished', () => consumption.inFlight === 1);
      await worker.nc.flush();
      expect(await pending(ledger)).toBe(1);
      doors.get('new')?.();
      await eventually('new settled', async () => (await pending(ledger)) === 0);
      await consumption.stop();
    }));

  it('consumer deleted and recreated under a live connection', () =>
    scene(async (_broker, ledger, worker) => {
      const seen: string[] = [];
      const consumption = steps(worker, { handler: async (message) => (seen.push(message.subject), ACK) });
      await publish(ledger, 'one');
      await eventually('one', () => seen.length === 1);
      await recreateLog(ledger.jsm, ledger.capabilities, { logEpoch: 'epoch-2' });
      await ensureDurables(ledger.jsm, { logEpoch: 'epoch-2' });
      await publish(ledger, 'two');
      await eventually('two', () => seen.length === 2);
      await consumption.stop();
    }));

  it('a pull that the server silently forgot is noticed by its heartbeats', () =>
    scene(async (_broker, ledger, worker) => {
      const seen: string[] = [];
      const states: string[] = [];
      // Deleted and made again between two looks: to the client everything seems well but no heartbeat comes.
      const consumption = steps(worker, {
        concurrency: 1,
        pullExpiresMs: 1_000,
        onBinding: ({ state }) => states.push(state),
        handler: async (message) => (seen.push(message.subject), ACK),
      });
      await eventually('bound', () => states.includes('bound'));
      const { config } = await ledger.jsm.consumers.info('LOG', 'coder-steps');
      await ledger.jsm.consumers.delete('LOG', 'coder-steps');
      await ledger.jsm.consumers.add('LOG', config);
      await publish(ledger, 'one');
      await eventually('one', () => seen.length === 1, 10_000);
      await consumption.stop();
    }));
});

describe('work queues', () => {
  let broker: TestBroker;
  beforeAll(async () => {
    broker = await TestBroker.start();
  });
  afterAll(() => broker.close());

  it('scheduler and user: a submission waits for the scheduler and is taken once', async () => {
    const ledger = await broker.ledger();
    const user = await broker.connect('user');
    await user.js.publish('plumb.intake.task.submit', '{}');
    const scheduler = await broker.connect('scheduler');
    const seen: string[] = [];
    const handler = async (message: BusMessage): Promise<Outcome> => (seen.push(message.subject), ACK);
    const consumption = consumeService(scheduler, {
      service: 'scheduler',
      ...QUICK,
      handlers: {
        'scheduler-intake': { concurrency: 2, handler },
        'scheduler-facts': { concurrency: 1, handler },
      },
    });
    await eventually('taken', async () => (await ledger.jsm.streams.info('INTAKE')).state.messages === 0);
    expect(seen).toEqual(['plumb.intake.task.submit']);
    await consumption.stop();
  });

  it('a service must handle exactly its own durables', async () => {
    const scheduler = await broker.connect('scheduler');
    const handler = async (): Promise<Outcome> => ACK;
    expect(() =>
      consumeService(scheduler, { service: 'scheduler', handlers: { 'gate-steps': { concurrency: 1, handler } } }),
    ).toThrow(/missing \[scheduler-intake, scheduler-facts\], unknown \[gate-steps\]/);
  });
});
