import { admit, type WaitReason } from '@plumbline/domain';
import type { FleetView } from './fleet-view.js';
import type { Handled, TaskManager } from './task-manager.js';
import { inOrder, waitingStepsOf, type WaitingStep } from './waiting-steps.js';
import type { TaskState } from '@plumbline/domain';

/**
 * Gives waiting steps their models, one after the other in order. One pass at a time; a wish for another pass while one runs is kept, so
 * that nothing that happened during a pass is missed.
 */
export class Seating {
  private readonly waiting = new Map<string, WaitingStep[]>();
  private wanted = false;
  private running: Promise<void> | undefined;

  constructor(
    private readonly fleet: FleetView,
    private readonly manager: () => Pick<TaskManager, 'handle'>,
    private readonly hooks: {
      onWaits: (step: WaitingStep, reasons: WaitReason[]) => Promise<void>;
      onError: (error: unknown) => void;
    },
  ) {}

  get count(): number {
    return [...this.waiting.values()].reduce((sum, steps) => sum + steps.length, 0);
  }

  /** Submission instant of the step that waits longest, or undefined. */
  get oldestSubmittedAt(): string | undefined {
    return [...this.waiting.values()]
      .flat()
      .map((step) => step.submittedAt)
      .sort()[0];
  }

  /**
   * Learns which steps of a task wait now. Only a step that did not wait before is a reason for a pass: looking at a task that goes on waiting
   * must not start another look at it.
   */
  update(taskId: string, state: TaskState): void {
    const known = new Set((this.waiting.get(taskId) ?? []).map((step) => step.step));
    const steps = waitingStepsOf(taskId, state);
    if (steps.length === 0) this.waiting.delete(taskId);
    else this.waiting.set(taskId, steps);
    if (steps.some((step) => !known.has(step.step))) this.wish();
  }

  /** Asks for a pass: something became free, or somebody waits. */
  wish(): void {
    this.wanted = true;
    this.running ??= this.passes().finally(() => (this.running = undefined));
  }

  /** Resolves when no pass is running or wished for. */
  async settled(): Promise<void> {
    while (this.running !== undefined) await this.running;
  }

  private async passes(): Promise<void> {
    while (this.wanted) {
      this.wanted = false;
      try {
        await this.pass();
      } catch (error) {
        this.hooks.onError(error);
      }
    }
  }

  private async pass(): Promise<void> {
    if (this.waiting.size === 0) return;
    await this.fleet.refresh();
    for (const step of inOrder([...this.waiting.values()].flat())) await this.seat(step);
  }

  private async seat(step: WaitingStep): Promise<void> {
    for (let round = 0; round < 5; round++) {
      const fleet = this.fleet.state;
      const admission = admit(fleet, { taskId: step.taskId, step: step.step, seat: step.seat, tier: step.tier });
      if (admission.outcome === 'waits') return this.hooks.onWaits(step, admission.reasons);
      const { model, grant } = admission;
      const handled: Handled = await this.manager().handle(
        step.taskId,
        { kind: 'seat', step: step.step, model },
        { grant, fleetVersion: fleet.version },
      );
      await this.fleet.refresh();
      if (handled.outcome === 'refused') return this.update(step.taskId, handled.history.state);
      if (handled.outcome === 'accepted') return;
    }
  }
}
