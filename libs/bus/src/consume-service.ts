import type { ServiceName } from '@plumbline/domain';
import {
  PullConsumption,
  type ConsumeSettings,
  type Consumption,
  type Handler,
  type Origin,
  type Route,
} from './consume.js';
import type { Bus } from './connection.js';
import { headerValue } from './headers.js';
import { DURABLES, type Durable } from './topology.js';

/** The headers that the ledger puts on a retried dead letter, besides those of the original. */
export const REDO_HEADERS = {
  subject: 'Plumb-Redo-Subject',
  stream: 'Plumb-Redo-Stream',
  seq: 'Plumb-Redo-Seq',
} as const;

/** The handler of one durable of a service. */
export interface DurableHandler {
  readonly concurrency: number;
  readonly handler: Handler;
}

/** Handlers by durable name; every durable of the service but `<service>-redo` must have one. */
export interface ConsumeServiceOptions extends ConsumeSettings {
  readonly service: ServiceName;
  readonly handlers: Readonly<Record<string, DurableHandler>>;
}

/**
 * Consumes all durables of a service, and its retried dead letters: those go to the handler of the durable they first
 * came from, looking as they did then.
 */
export function consumeService(bus: Bus, options: ConsumeServiceOptions): Consumption {
  const { service, handlers, ...settings } = options;
  const mine = DURABLES.filter((durable) => durable.service === service);
  const work = mine.filter((durable) => durable.stream !== 'REDO');
  const missing = work.filter(({ durable }) => !handlers[durable]).map(({ durable }) => durable);
  const unknown = Object.keys(handlers).filter((name) => !work.some(({ durable }) => durable === name));
  if (missing.length + unknown.length > 0) {
    throw new RangeError(`handlers of ${service}: missing [${missing.join(', ')}], unknown [${unknown.join(', ')}]`);
  }
  const consumptions = mine.map((durable) => {
    const own = handlers[durable.durable];
    const route: Route = own ? routeOf(durable, own.handler) : redoRoute(service, work, handlers);
    const { stream, durable: name } = durable;
    return new PullConsumption(bus, { ...settings, stream, durable: name, concurrency: own?.concurrency ?? 1 }, route);
  });
  return {
    get inFlight() {
      return consumptions.reduce((sum, consumption) => sum + consumption.inFlight, 0);
    },
    async stop(stopOptions) {
      const stopped = await Promise.all(consumptions.map((consumption) => consumption.stop(stopOptions)));
      return {
        finished: stopped.reduce((sum, { finished }) => sum + finished, 0),
        handedBack: stopped.reduce((sum, { handedBack }) => sum + handedBack, 0),
      };
    },
  };
}

function routeOf({ durable, stream }: Durable, handler: Handler): Route {
  return (message) => ({ origin: { durable, stream, subject: message.subject, seq: message.seq }, handler });
}

/** `plumb.redo.<service>.<durable>` says whose message it was, the headers which one. */
function redoRoute(
  service: ServiceName,
  work: readonly Durable[],
  handlers: Readonly<Record<string, DurableHandler>>,
): Route {
  return (message) => {
    const name = message.subject.slice(`plumb.redo.${service}.`.length);
    const durable = work.find((candidate) => candidate.durable === name);
    const handler = handlers[name]?.handler;
    const subject = headerValue(message.headers, REDO_HEADERS.subject);
    const seq = Number(headerValue(message.headers, REDO_HEADERS.seq));
    if (!durable || !handler || subject === undefined || !Number.isSafeInteger(seq)) {
      const origin: Origin = { durable: name, stream: 'REDO', subject: message.subject, seq: message.seq };
      return { origin, refuse: `no handler for a retried message on ${message.subject}` };
    }
    return { origin: { durable: name, stream: durable.stream, subject, seq }, handler };
  };
}
