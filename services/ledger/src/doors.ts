import { SpanKind } from '@opentelemetry/api';
import {
  dropDead,
  listDead,
  refuse,
  retryDead,
  serve,
  traceparentOf,
  withSpan,
  type Bus,
  type Reply,
  type RequestContext,
  type Serving,
} from '@plumbline/bus';
import {
  doorServices,
  doorSubject,
  type AppendReply,
  type AppendRequest,
  type LeaseRequest,
  type ServiceName,
} from '@plumbline/domain';
import type { EventLog } from '@plumbline/event-log';
import { failpoint } from '@plumbline/failpoint';
import type { Log } from '@plumbline/host';
import { z } from 'zod';
import { AppendDoor } from './door/append-door.js';
import { LeaseDoor } from './door/lease-door.js';
import { ReadDoor } from './door/read-door.js';
import type { LedgerMetrics } from './metrics.js';

type Refusal = { code: string; message: string; details?: unknown };
type Answer = { ok: true; value: unknown } | { ok: false; refusal: Refusal };

const deadRequest = z.discriminatedUnion('op', [
  z.strictObject({
    op: z.literal('list'),
    fromSeq: z.int().min(1).optional(),
    limit: z.int().min(1).max(100).optional(),
  }),
  z.strictObject({ op: z.literal('retry'), seq: z.int().min(1) }),
  z.strictObject({ op: z.literal('drop'), seq: z.int().min(1) }),
]);

/** Puts the ledger's doors on the bus: one subject per door and caller, so that the broker's permissions say who is calling. */
export class Doors {
  private serving: Serving[] = [];

  constructor(
    private readonly bus: Bus,
    private readonly log: EventLog,
    private readonly metrics: LedgerMetrics,
    private readonly logger: Log,
  ) {}

  async open(): Promise<void> {
    const append = new AppendDoor(this.log, {
      onAppended: (service, types) => this.metrics.plumb_log_events_total.inc(types.length, { service }),
      onStale: (service) => this.metrics.plumb_lease_stale_results_total.inc(1, { service }),
    });
    const lease = new LeaseDoor(this.log);
    const read = new ReadDoor(this.log);
    for (const service of doorServices) {
      await this.door(doorSubject('append', service), service, 'append', async (body) => {
        const startedAt = performance.now();
        const answer = await append.append(service, body);
        this.metrics.plumb_log_append_seconds.observe((performance.now() - startedAt) / 1_000);
        if (answer.ok) this.noteAppend(service, body as AppendRequest, answer.value);
        return answer;
      });
      await this.door(doorSubject('lease', service), service, 'lease', async (body) => {
        const answer = await lease.handle(service, body);
        if (answer.ok && (body as LeaseRequest).op === 'claim') {
          const { taskId, step } = body as LeaseRequest;
          const { outcome } = answer.value;
          this.metrics.plumb_lease_claims_total.inc(1, { outcome });
          this.logger.info({ taskId, step, caller: service, outcome }, 'claim');
        }
        return answer;
      });
      await this.door(doorSubject('read', service), service, 'read', (body) => read.handle(body));
    }
    await this.door('plumb.request.ledger.dead', 'operator', 'dead', (body) => this.dead(body));
  }

  async close(): Promise<void> {
    await Promise.all(this.serving.map((serving) => serving.stop()));
    this.serving = [];
  }

  private async door(
    subject: string,
    caller: ServiceName | 'operator',
    name: string,
    handle: (body: unknown) => Promise<Answer>,
  ): Promise<void> {
    const options = {
      queue: 'ledger',
      concurrency: 64,
      maxPayloadBytes: this.bus.maxPayloadBytes,
      onError: (err: unknown) => this.logger.error({ err, subject }, 'a request failed'),
    };
    const answering = async (body: unknown): Promise<Reply> => {
      const answer = await handle(body);
      if (name === 'append' || name === 'lease') failpoint('door.answered');
      if (answer.ok) return answer;
      const { code, message, details } = answer.refusal;
      this.metrics.plumb_log_refusals_total.inc(1, { service: caller, code });
      this.logger.warn({ caller, code, door: name }, message);
      return refuse(code, message, 'never', details);
    };
    // A span is a part of somebody's story: of a look around that nobody traces there is none to tell.
    const handler = (body: unknown, context: RequestContext): Promise<Reply> =>
      traceparentOf(context.trace) === undefined
        ? answering(body)
        : withSpan(`ledger ${name}`, SpanKind.SERVER, context.trace, { 'plumb.caller': caller }, () => answering(body));
    this.serving.push(await serve(this.bus, subject, options, handler));
  }

  /** What was appended to which task, by whom: the ledger's part in a task's story. */
  private noteAppend(caller: ServiceName, { streams, fence }: AppendRequest, { outcome }: AppendReply): void {
    for (const { streamId, events } of streams) {
      const task = streamId.startsWith('task-') ? { taskId: streamId.slice('task-'.length) } : { streamId };
      const step = fence === undefined ? {} : { step: fence.step };
      this.logger.info({ ...task, ...step, caller, outcome, types: events.map(({ type }) => type) }, 'append');
    }
  }

  private async dead(body: unknown): Promise<Answer> {
    const parsed = deadRequest.safeParse(body);
    if (!parsed.success)
      return {
        ok: false,
        refusal: { code: 'invalid-request', message: 'expected {op: "list"} or {op: "retry" | "drop", seq}' },
      };
    const request = parsed.data;
    if (request.op === 'list') {
      const { fromSeq, limit } = request;
      return {
        ok: true,
        value: await listDead(this.bus, { ...(fromSeq === undefined ? {} : { fromSeq }), limit: limit ?? 50 }),
      };
    }
    const entry =
      request.op === 'retry' ? await retryDead(this.bus, request.seq) : await dropDead(this.bus, request.seq);
    return { ok: true, value: entry };
  }
}
