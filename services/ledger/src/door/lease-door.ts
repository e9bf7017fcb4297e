import {
  leaseRequestSchema,
  leaseTtlMs,
  parseStepId,
  problemsOf,
  stepWorkers,
  type ClaimReply,
  type HeartbeatReply,
  type ReleaseReply,
  type ServiceName,
} from '@plumbline/domain';
import type { EventLog } from '@plumbline/event-log';

export type LeaseAnswer =
  | { ok: true; value: ClaimReply | HeartbeatReply | ReleaseReply }
  | { ok: false; refusal: { code: string; message: string; details?: unknown } };

/** Claims, heartbeats and hand-backs of step leases. A service may only touch the steps it is the worker of. */
export class LeaseDoor {
  constructor(private readonly log: EventLog) {}

  async handle(service: ServiceName, body: unknown): Promise<LeaseAnswer> {
    const parsed = leaseRequestSchema.safeParse(body);
    if (!parsed.success) {
      const problems = problemsOf(parsed.error, body);
      return {
        ok: false,
        refusal: {
          code: 'invalid-request',
          message: `lease request refused: ${problems[0]?.field}: expected ${problems[0]?.expected}`,
          details: problems,
        },
      };
    }
    const request = parsed.data;
    const worker = stepWorkers[parseStepId(request.step).kind];
    if (worker !== service)
      return {
        ok: false,
        refusal: { code: 'not-your-step', message: `${request.step} is worked on by ${worker}, not by ${service}` },
      };
    const { taskId, step, holder } = request;
    switch (request.op) {
      case 'claim': {
        const meta = {
          actor: 'ledger',
          ...(request.traceparent === undefined ? {} : { traceparent: request.traceparent }),
        };
        return { ok: true, value: await this.log.leases.claim({ taskId, step, holder, ttlMs: leaseTtlMs, meta }) };
      }
      case 'heartbeat':
        return {
          ok: true,
          value: await this.log.leases.heartbeat({ taskId, step, holder, epoch: request.epoch, ttlMs: leaseTtlMs }),
        };
      case 'release':
        return { ok: true, value: await this.log.leases.release({ taskId, step, holder, epoch: request.epoch }) };
    }
  }
}
