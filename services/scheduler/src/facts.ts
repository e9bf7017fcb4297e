import { isEventType, taskIdSchema, type EventType } from '@plumbline/domain';
import type { BusMessage, Outcome } from '@plumbline/bus';
import type { FleetView } from './fleet-view.js';
import type { Seating } from './seating.js';
import type { TaskManager } from './task-manager.js';

/**
 * Facts that something may follow from. The others (turns, single checks, this service's own events) are acknowledged unread: what
 * follows from own events was decided with them.
 */
const telling: ReadonlySet<EventType> = new Set<EventType>([
  'snapshot.taken',
  'snapshot.failed',
  'change.proposed',
  'attempt.ended',
  'gate.concluded',
  'gate.failed',
  'review.concluded',
  'review.failed',
  'change.published',
  'publish.failed',
  'lease.expired',
  'lease.released',
  'timer.fired',
]);
const fleetFacts: ReadonlySet<EventType> = new Set<EventType>([
  'node.registered',
  'model.ready',
  'model.unreachable',
  'grant.released',
]);
/** Own events that another replica may have recorded: this one's list of waiting steps must know them. */
const waitingFacts: ReadonlySet<EventType> = new Set<EventType>(['task.capacity-awaited', 'task.closed']);

/** Reads `log.<category>.<event>.<id>` and lets the process manager look at what the event is about. */
export class Facts {
  constructor(
    private readonly manager: TaskManager,
    private readonly fleet: FleetView,
    private readonly seating: Seating,
  ) {}

  async take(message: Pick<BusMessage, 'subject'>): Promise<Outcome> {
    const [root, category, name, ...entity] = message.subject.split('.');
    const type = `${category}.${name}`;
    if (root !== 'log' || !isEventType(type)) return { outcome: 'ack' };
    const id = entity.join('.');
    if (fleetFacts.has(type)) {
      if (category !== 'grant') await this.fleet.refreshNode(id);
      this.seating.wish();
      return { outcome: 'ack' };
    }
    if (!telling.has(type) && !waitingFacts.has(type)) return { outcome: 'ack' };
    if (!taskIdSchema.safeParse(id).success) return { outcome: 'dead', reason: `no task id in ${message.subject}` };
    // What a step held may have been granted by another replica: it can only be released by who knows of it.
    await this.fleet.refreshGrants();
    const handled = await this.manager.handle(id, { kind: 'observe' });
    // Contention means that somebody else looked at the task at the same time; looking again later costs nothing.
    return handled.outcome === 'contended' ? { outcome: 'nak', delayMs: 500 } : { outcome: 'ack' };
  }
}
