import { refuse, serve, type Bus, type Serving } from '@plumbline/bus';
import {
  appendRequestSchema,
  eventCatalogue,
  isEventType,
  type AppendReply,
  type AppendRequest,
  type EventType,
} from '@plumbline/domain';
import type { TestBroker } from '../../../libs/bus/src/nats.fixture.js';

export interface TakenFact {
  readonly type: EventType;
  readonly data: Record<string, unknown>;
  readonly occurredAt: string | undefined;
}

/**
 * The ledger's append door on a real broker, without a database: takes what the schemas and owners of the events allow, remembers commands.
 * `before` decides what happens to a request: taken, taken without an answer (as when the ledger dies after its commit), refused.
 */
export class LedgerStandIn {
  readonly commands = new Map<string, AppendRequest>();
  /** Command ids of every request that came, repetitions included. */
  readonly seen: string[] = [];
  before: (request: AppendRequest) => 'take' | 'take-silently' | 'refuse' = () => 'take';
  /** How long the door takes to answer. */
  delayMs = 0;
  #serving: Serving | undefined;

  private constructor(private readonly bus: Bus) {}

  static async start(broker: TestBroker): Promise<LedgerStandIn> {
    const ledger = new LedgerStandIn(await broker.connect('ledger'));
    await ledger.open();
    return ledger;
  }

  async open(): Promise<void> {
    const options = { queue: 'ledger', concurrency: 1, maxPayloadBytes: 1024 * 1024 };
    this.#serving = await serve(this.bus, 'plumb.ledger.append.*', options, async (body, { subject }) => {
      const request = appendRequestSchema.parse(body);
      this.seen.push(request.commandId);
      if (this.delayMs > 0) await new Promise((done) => setTimeout(done, this.delayMs));
      const verdict = this.before(request);
      if (verdict === 'refuse') return refuse('bad-request', 'not to be taken', 'never');
      const reply = this.#append(request, subject.split('.').at(-1) ?? '');
      if (verdict === 'take-silently') await new Promise(() => undefined);
      return { ok: true, value: reply };
    });
  }

  /** Nobody answers at the door any more. */
  async shut(): Promise<void> {
    await this.#serving?.stop(0);
  }

  /** All facts in the order they were taken. */
  get facts(): TakenFact[] {
    return [...this.commands.values()].flatMap(({ streams }) =>
      streams.flatMap(({ events }) =>
        events.map(({ type, data, occurredAt }) => ({
          type: type as EventType,
          data: data as Record<string, unknown>,
          occurredAt,
        })),
      ),
    );
  }

  get types(): string[] {
    return this.facts.map(({ type }) => type);
  }

  #append(request: AppendRequest, service: string): AppendReply {
    for (const { streamId, events } of request.streams) {
      for (const { type, data } of events) {
        if (!isEventType(type) || eventCatalogue[type].owner !== service)
          throw new Error(`${type} is not of ${service}`);
        eventCatalogue[type].data.parse(data);
        if (streamId !== `node-${(data as { node: string }).node}`)
          throw new Error(`${type} does not belong to ${streamId}`);
      }
    }
    const duplicate = this.commands.has(request.commandId);
    if (!duplicate) this.commands.set(request.commandId, request);
    return { outcome: 'appended', duplicate, streams: [] };
  }
}
