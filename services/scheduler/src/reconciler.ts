import { BusError, type LedgerClient } from '@plumbline/bus';
import { liveSteps, type TaskInput } from '@plumbline/domain';
import type { FleetView } from './fleet-view.js';
import type { Seating } from './seating.js';
import type { Handled, TaskManager } from './task-manager.js';

export interface ReconcilerOptions {
  /** How long a step may wait for a worker without a live lease before it is requested again, the first time. */
  idleAfterMs: number;
  intervalMs: number;
  onError: (error: unknown) => void;
  onRound: (report: { tasks: number; looked: number; redispatched: number; grantsFreed: number }) => void;
}

/** A task at a version at which nothing follows from its history, and the grants its steps hold. */
interface Settled {
  version: number;
  grants: readonly string[];
}

const lanes = 8;

/**
 * Makes every message losable: now and then it looks at what is open and lets the process manager go on from there. Requests of steps that
 * nobody took are repeated, at growing intervals, because busy workers are the usual reason; grants whose step is over are released. What
 * follows from a history depends on nothing else, so a task is only looked at again when it has moved: thousands that wait cost a list.
 */
export class Reconciler {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private readonly settled = new Map<string, Settled>();
  private readonly stopping = new AbortController();

  constructor(
    private readonly ledger: Pick<LedgerClient, 'openTasks' | 'idleSteps'>,
    private readonly manager: Pick<TaskManager, 'handle'>,
    private readonly fleet: Pick<FleetView, 'state' | 'refresh'>,
    private readonly seating: Pick<Seating, 'wish' | 'retain'>,
    private readonly options: ReconcilerOptions,
  ) {}

  start(): void {
    this.timer = setInterval(() => void this.round(), this.options.intervalMs);
    void this.round();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    this.stopping.abort(new BusError('closed', 'the scheduler is leaving', { retry: 'later', mend: 'nothing' }));
    await this.running;
  }

  /** One look at everything that is open. A round that is running is shared. */
  round(): Promise<void> {
    this.running ??= this.look()
      .catch((error: unknown) => {
        if (!this.stopping.signal.aborted) this.options.onError(error);
      })
      .finally(() => (this.running = undefined));
    return this.running;
  }

  private async look(): Promise<void> {
    const { signal } = this.stopping;
    await this.fleet.refresh();
    const listedAt = performance.now();
    const open = await this.ledger.openTasks(signal);
    const versions = new Map(open.map(({ taskId, version }) => [taskId, version]));
    for (const taskId of this.settled.keys()) if (!versions.has(taskId)) this.settled.delete(taskId);
    // Before the looks of this round, so that none of them is taken for overtaken by what a restore took back.
    for (const taskId of this.seating.retain(versions, listedAt)) this.settled.delete(taskId);
    const moved = open.filter(({ taskId, version }) => this.settled.get(taskId)?.version !== version);
    await this.each(moved, ({ taskId }) => this.observe(taskId));
    const redispatched = await this.redispatch();
    const grantsFreed = await this.freeGrants();
    this.options.onRound({ tasks: open.length, looked: moved.length, redispatched, grantsFreed });
    this.seating.wish();
  }

  private async observe(taskId: string): Promise<void> {
    const handled = await this.handle(taskId, { kind: 'observe' });
    if (handled.outcome !== 'accepted' || handled.events.length > 0) return;
    const { state } = handled;
    const grants = liveSteps(state).flatMap((step) => (step.model === undefined ? [] : [step.model.grantId]));
    if (state.phase !== 'closed') this.settled.set(taskId, { version: state.version, grants });
  }

  private async redispatch(): Promise<number> {
    const byTask = new Map<string, string[]>();
    const idle = await this.ledger.idleSteps(this.options.idleAfterMs, this.stopping.signal);
    for (const { taskId, step } of idle) byTask.set(taskId, [...(byTask.get(taskId) ?? []), step]);
    await this.each([...byTask], ([taskId, idleSteps]) => this.handle(taskId, { kind: 'reconcile', idleSteps }));
    return idle.length;
  }

  /** Grants of tasks that ended or moved on while nobody was there to release them. */
  private async freeGrants(): Promise<number> {
    const stale = Object.values(this.fleet.state.grants).filter(
      ({ taskId, grantId }) => this.settled.get(taskId)?.grants.includes(grantId) !== true,
    );
    await this.each([...new Set(stale.map((grant) => grant.taskId))], (taskId) => this.observe(taskId));
    return stale.length;
  }

  private handle(taskId: string, input: TaskInput): Promise<Handled> {
    return this.manager.handle(taskId, input, { signal: this.stopping.signal });
  }

  /** Several at a time. One task that cannot be handled costs the others nothing; a ledger that is away ends the round. */
  private async each<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
    const rest = items.values();
    const lane = async (): Promise<void> => {
      for (const item of rest) {
        this.stopping.signal.throwIfAborted();
        try {
          await work(item);
        } catch (error) {
          if (error instanceof BusError) throw error;
          this.options.onError(error);
        }
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  }
}
