import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '@plumbline/bus';
import { Latencies } from '../load/latencies.js';
import { openLoop } from '../load/open-loop.js';

const patienceMs = 60_000;

/**
 * The baseline of a dispatch: the same number of messages a second, published by a bare client to a stream and delivered to a consumer of
 * it, with nothing in between. Returns the percentiles in milliseconds.
 */
export async function bareDelivery(
  bus: Bus,
  perSecond: number,
  seconds: number,
): Promise<{ p50: number; p99: number }> {
  const stream = 'BENCH';
  await bus.jsm.streams.add({ name: stream, subjects: ['bench.>'] });
  await bus.jsm.consumers.add(stream, { durable_name: 'bench', ack_policy: 'explicit' });
  const consumer = await bus.js.consumers.get(stream, 'bench');
  const messages = await consumer.consume({ max_messages: 200 });
  const dueAt = new Map<string, number>();
  const latencies = new Latencies();
  const receiving = (async () => {
    for await (const message of messages) {
      latencies.record(performance.now() - (dueAt.get(message.subject) ?? 0));
      message.ack();
    }
  })();
  try {
    const count = await openLoop({ perSecond, seconds }, (_, due) => {
      const subject = `bench.${randomUUID()}`;
      dueAt.set(subject, due);
      void bus.js.publish(subject, 'x'.repeat(1_000));
    });
    const until = performance.now() + patienceMs;
    while (latencies.count < count) {
      if (performance.now() > until) throw new Error(`${latencies.count} of ${count} messages were delivered`);
      await delay(5);
    }
  } finally {
    await messages.close();
    await receiving;
    await bus.jsm.streams.delete(stream);
  }
  return { p50: latencies.percentile(50), p99: latencies.percentile(99) };
}
