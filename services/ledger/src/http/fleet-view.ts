import {
  admit,
  decodeEvent,
  evolveFleet,
  grantedBytes,
  initialFleet,
  type FleetDocument,
  type FleetState,
  type StepState,
  type TaskState,
  type WaitReason,
} from '@plumbline/domain';
import type { EventLog } from '@plumbline/event-log';

const pageEvents = 1_000;

/** The fleet, folded from the nodes' histories and that of grants. Keeps what it folded and reads only what came since. */
export class FleetView {
  private state: FleetState = initialFleet;
  private epoch: string | undefined;
  private readonly versions = new Map<string, number>();
  private reading: Promise<FleetState> | undefined;

  constructor(private readonly log: EventLog) {}

  /** The fleet as recorded up to now. Whoever asks while it is read shares the reading that began after they asked. */
  async now(): Promise<FleetState> {
    await this.reading?.catch(() => undefined);
    return (this.reading ??= this.read().finally(() => (this.reading = undefined)));
  }

  /** What the scheduler would be told if it asked for the models of these steps now. */
  async admissions(
    taskId: string,
    state: TaskState,
    waiting: readonly StepState[],
  ): Promise<Record<string, WaitReason[]>> {
    const fleet = await this.now();
    const answers = waiting.map((step): [string, WaitReason[]] => {
      const tier = state.attempts.find((attempt) => attempt.n === step.attempt)?.tier ?? state.tier;
      const admission = admit(fleet, { taskId, step: step.id, seat: step.seat ?? 'coder', tier });
      return [step.id, admission.outcome === 'waits' ? admission.reasons : []];
    });
    return Object.fromEntries(answers);
  }

  private async read(): Promise<FleetState> {
    const { epoch } = await this.log.head();
    if (epoch !== this.epoch) {
      // Another log than the one that was folded, or a part of it that was restored.
      this.state = initialFleet;
      this.versions.clear();
      this.epoch = epoch;
    }
    const { rows } = await this.log.pool.query<{ stream_id: string }>(
      "SELECT stream_id FROM es.stream WHERE category IN ('node', 'fleet') ORDER BY stream_id",
    );
    for (const { stream_id: streamId } of rows) await this.catchUp(streamId);
    return this.state;
  }

  private async catchUp(streamId: string): Promise<void> {
    for (;;) {
      const fromVersion = (this.versions.get(streamId) ?? 0) + 1;
      const events = await this.log.readStream(streamId, { fromVersion, limit: pageEvents });
      for (const event of events) {
        const decoded = decodeEvent(event);
        if (decoded.outcome === 'event') this.state = evolveFleet(this.state, decoded.event);
        this.versions.set(streamId, event.version);
      }
      if (events.length < pageEvents) return;
    }
  }
}

/** `plumbline.fleet/1` of a fleet, with the steps that wait. */
export function fleetDocument(fleet: FleetState, queue: FleetDocument['queue']): FleetDocument {
  const grants = Object.values(fleet.grants);
  return {
    schema: 'plumbline.fleet/1',
    nodes: Object.entries(fleet.nodes).map(([id, { pools, models, unreachable }]) => ({
      id,
      pools: pools.map((pool) => ({
        id: pool.id,
        kind: pool.kind,
        budget: pool.budgetBytes,
        granted: grantedBytes(fleet, id, pool.id),
      })),
      models: models.map(({ name, family, tier, seats, pool, bytes, slots, endpoint }) => {
        const held = grants.filter((grant) => grant.node === id && grant.model === name);
        const why = Object.hasOwn(unreachable, name) ? unreachable[name] : undefined;
        return {
          name,
          family,
          tier,
          seats,
          pool,
          bytes,
          slots,
          slotsUsed: held.length,
          state: why === undefined ? 'offered' : 'unreachable',
          ...(why === undefined ? {} : { why }),
          ...(held.length === 0 ? {} : { grant: Math.max(...held.map((grant) => grant.bytes)) }),
          endpoint,
        };
      }),
    })),
    grants: grants.map(({ grantId, node, pool, model, bytes, taskId, step, seat }) => ({
      id: grantId,
      node,
      pool,
      model,
      bytes,
      task: taskId,
      step,
      seat,
    })),
    queue,
  };
}
