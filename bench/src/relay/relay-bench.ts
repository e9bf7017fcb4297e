import { setTimeout as delay } from 'node:timers/promises';
import { headers as natsHeaders, type MsgHdrs } from '@nats-io/transport-node';
import type { Bus } from '@plumbline/bus';
import { cloudEventType, logSubject, streamEntity } from '@plumbline/domain';
import { EventLog } from '@plumbline/event-log';
import type { Bench } from '../bench.js';
import { interleave } from '../load/rounds.js';
import type { BenchPostgres } from '../servers/bench-postgres.js';
import { serviceChild } from '../servers/ledger-process.js';
import { fillLog } from '../workload/fill-log.js';

/** The relay's own window (publishLog). */
const windowSize = 256;
const samplesMax = 5_000;
const pollMs = 20;
const patienceMs = 300_000;
const bareStream = 'BENCH';

interface Message {
  subject: string;
  body: Uint8Array;
  headers: MsgHdrs;
}

/**
 * The ledger's relay, in the ledger's own process, filling LOG from the log after LOG was deleted, against a bare nats.js loop that publishes
 * messages of the same subjects, headers and bodies with as many in flight into a stream of the same configuration. Both are timed by the
 * broker: from the first message it stored to the last.
 */
export const relayBench: Bench = {
  name: 'relay',
  async run({ load, postgres, nats, progress }) {
    progress(`relay: recording ${load.events} events`);
    const events = await fillLog(postgres, load.events);
    const ledger = serviceChild('ledger', { postgres, nats }, { PLUMB_LOG_LEVEL: 'warn' });
    try {
      const bus = await nats.connect('ledger');
      const messages = await messagesOf(postgres);
      ledger.start();
      await ledger.ready();
      await stored(bus, 'LOG', events, () => ledger.running);
      const figures = await interleave(
        load.rounds,
        {
          bare: () => barePublish(bus, messages, events),
          ours: async () => {
            await bus.jsm.streams.delete('LOG');
            return stored(bus, 'LOG', events, () => ledger.running);
          },
        },
        (what) => progress(`relay, ${what}`),
      );
      return [
        {
          name: 'relay/log-to-jetstream',
          unit: 'events/s',
          rounds: figures.ours,
          baseline: { name: `nats.js publish loop, ${windowSize} in flight`, rounds: figures.bare },
          target: { of: 'ratio', atLeast: 0.6 },
        },
      ];
    } finally {
      await ledger.kill('SIGKILL');
    }
  },
};

/** Events per second between the first and the last message of a stream, once it holds `count`. */
async function stored(bus: Bus, stream: string, count: number, alive: () => boolean = () => true): Promise<number> {
  const until = performance.now() + patienceMs;
  for (;;) {
    const state = await bus.jsm.streams.info(stream).then(
      (info) => info.state,
      () => undefined,
    );
    if (state !== undefined && state.last_seq >= count)
      return ((count - 1) * 1_000) / Math.max(1, Date.parse(state.last_ts) - Date.parse(state.first_ts));
    if (!alive()) throw new Error('the ledger ended while it was relaying');
    if (performance.now() > until) throw new Error(`${stream} did not hold ${count} messages within ${patienceMs} ms`);
    await delay(pollMs);
  }
}

async function barePublish(bus: Bus, messages: readonly Message[], count: number): Promise<number> {
  const { config } = await bus.jsm.streams.info('LOG');
  const { storage, retention, discard, duplicate_window, num_replicas, max_msg_size } = config;
  const same = { storage, retention, discard, duplicate_window, num_replicas, max_msg_size };
  await bus.jsm.streams.add({ ...same, name: bareStream, subjects: ['bench.>'] });
  try {
    const inFlight: Promise<unknown>[] = [];
    for (let n = 0; n < count; n++) {
      if (inFlight.length >= windowSize) await inFlight.shift();
      const { subject, body, headers } = messages[n % messages.length] as Message;
      inFlight.push(bus.js.publish(subject, body, { headers }));
    }
    await Promise.all(inFlight);
    return await stored(bus, bareStream, count);
  } finally {
    await bus.jsm.streams.delete(bareStream);
  }
}

/** The first events of the log as they travel; more than enough to repeat. */
async function messagesOf(postgres: BenchPostgres): Promise<Message[]> {
  const log = new EventLog({ pool: postgres.ledger });
  const { epoch } = await log.head();
  const events = await log.readLog({ afterPos: 0, limit: samplesMax });
  return events.map((event) => {
    const headers = natsHeaders();
    const all = {
      'content-type': 'application/json',
      'ce-specversion': '1.0',
      'ce-id': event.eventId,
      'ce-source': 'plumbline',
      'ce-type': cloudEventType(event.type, event.schemaVersion),
      'ce-subject': event.streamId,
      'ce-time': event.recordedAt,
      'ce-sequence': String(event.pos),
      'ce-streamversion': String(event.version),
      'ce-logepoch': epoch,
    };
    for (const [name, value] of Object.entries(all)) headers.set(name, value);
    const subject = `bench.${logSubject(event.type, streamEntity(event.streamId).id)}`;
    return { subject, body: new TextEncoder().encode(JSON.stringify(event.data)), headers };
  });
}
