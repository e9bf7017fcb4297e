import { liveSteps } from '@plumbline/domain';
import type { LedgerClient } from '@plumbline/bus';
import type { FleetView } from './fleet-view.js';
import type { Seating } from './seating.js';
import type { TaskManager } from './task-manager.js';

export interface ReconcilerOptions {
  /** How long a step may wait for a worker without a live lease before it is requested again. */
  idleAfterMs: number;
  intervalMs: number;
  onError: (error: unknown) => void;
  onRound: (report: { tasks: number; redispatched: number; grantsFreed: number }) => void;
}

/**
 * Makes every message losable: now and then it looks at what is open and lets the process manager go on from there. Requests of steps that
 * nobody took are repeated, at growing intervals, because busy workers are the usual reason; grants whose step is over are released.
 */
export class Reconciler {
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> | undefined;
  private readonly nextDispatchAt = new Map<string, { at: number; intervalMs: number }>();

  constructor(
    private readonly ledger: LedgerClient,
    private readonly manager: TaskManager,
    private readonly fleet: FleetView,
    private readonly seating: Seating,
    private readonly options: ReconcilerOptions,
  ) {}

  start(): void {
    this.timer = setInterval(() => void this.round(), this.options.intervalMs);
    void this.round();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.running;
  }

  /** One look at everything that is open. A round that is running is shared. */
  round(): Promise<void> {
    this.running ??= this.look()
      .catch((error: unknown) => this.options.onError(error))
      .finally(() => (this.running = undefined));
    return this.running;
  }

  private async look(): Promise<void> {
    await this.fleet.refresh();
    const open = await this.ledger.openTasks();
    const live = new Set<string>();
    for (const taskId of open) {
      const handled = await this.manager.handle(taskId, { kind: 'observe' });
      if (handled.outcome !== 'accepted') continue;
      for (const step of liveSteps(handled.state)) if (step.model !== undefined) live.add(step.model.grantId);
    }
    const redispatched = await this.redispatch();
    const grantsFreed = await this.freeGrants(live);
    this.options.onRound({ tasks: open.length, redispatched, grantsFreed });
    this.seating.wish();
  }

  private async redispatch(): Promise<number> {
    const idle = await this.ledger.idleSteps(this.options.idleAfterMs);
    const now = performance.now();
    const byTask = new Map<string, string[]>();
    const keys = new Set(idle.map(({ taskId, step }) => `${taskId} ${step}`));
    for (const key of this.nextDispatchAt.keys()) if (!keys.has(key)) this.nextDispatchAt.delete(key);
    for (const { taskId, step } of idle) {
      const key = `${taskId} ${step}`;
      const planned = this.nextDispatchAt.get(key);
      if (planned !== undefined && planned.at > now) continue;
      const intervalMs = Math.min((planned?.intervalMs ?? this.options.idleAfterMs) * 2, 600_000);
      this.nextDispatchAt.set(key, { at: now + intervalMs, intervalMs });
      byTask.set(taskId, [...(byTask.get(taskId) ?? []), step]);
    }
    for (const [taskId, idleSteps] of byTask) await this.manager.handle(taskId, { kind: 'reconcile', idleSteps });
    return [...byTask.values()].reduce((sum, steps) => sum + steps.length, 0);
  }

  /** Grants of tasks that ended or moved on while nobody was there to release them. */
  private async freeGrants(live: ReadonlySet<string>): Promise<number> {
    const stale = Object.values(this.fleet.state.grants).filter((grant) => !live.has(grant.grantId));
    const tasks = [...new Set(stale.map((grant) => grant.taskId))];
    for (const taskId of tasks) await this.manager.handle(taskId, { kind: 'observe' });
    return stale.length;
  }
}
