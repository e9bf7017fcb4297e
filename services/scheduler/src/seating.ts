import { setTimeout as delay } from 'node:timers/promises';
import { context as contextApi, ROOT_CONTEXT } from '@opentelemetry/api';
import { admit, type Admission, type FleetState, type TaskState, type WaitReason } from '@plumbline/domain';
import type { FleetView } from './fleet-view.js';
import type { TaskManager } from './task-manager.js';
import { inOrder, waitingStepsOf, type WaitingStep } from './waiting-steps.js';

/** What is known of an open task: the newest version somebody looked at, when, and its steps that wait for a model. */
interface Known {
  version: number;
  lookedAt: number;
  steps: WaitingStep[];
}

export interface SeatingHooks {
  /** Told once a pass and need (seat and tier) that nothing can be admitted for. */
  onWaits: (step: WaitingStep, reasons: WaitReason[]) => void;
  onError: (error: unknown) => void;
}

/** Between passes that follow each other: what happens meanwhile shares one. */
const pauseMs = 10;
const roundsMax = 5;

/**
 * Gives waiting steps their models, one after the other in order. One pass at a time; a wish for another pass while one runs is kept, so
 * that nothing that happened during a pass is missed. A step that cannot be seated never keeps the ones behind it waiting.
 */
export class Seating {
  private readonly known = new Map<string, Known>();
  private wanted = false;
  private running: Promise<void> | undefined;
  private stopping = false;

  constructor(
    private readonly fleet: Pick<FleetView, 'state' | 'refresh' | 'refreshGrants'>,
    private readonly manager: () => Pick<TaskManager, 'handle'>,
    private readonly hooks: SeatingHooks,
  ) {}

  get count(): number {
    let count = 0;
    for (const { steps } of this.known.values()) count += steps.length;
    return count;
  }

  /** Submission instant of the step that waits longest, or undefined. */
  get oldestSubmittedAt(): string | undefined {
    return this.waiting()
      .map((step) => step.submittedAt)
      .sort()[0];
  }

  /**
   * Learns which steps of a task wait now. Looks that were overtaken by a later one tell nothing. Only a step that did not wait before is a
   * reason for a pass: looking at a task that goes on waiting must not start another look at it.
   */
  update(taskId: string, state: TaskState): void {
    const known = this.known.get(taskId);
    if (known !== undefined && known.version > state.version) return;
    const steps = waitingStepsOf(taskId, state);
    this.known.set(taskId, { version: state.version, lookedAt: performance.now(), steps });
    const before = new Set(known?.steps.map((step) => step.step));
    if (steps.some((step) => !before.has(step.step))) this.wish();
  }

  /**
   * Forgets the tasks that are not open, and those that are at a lower version than they were: in a log that was restored a task may wait
   * again for what it had. What was looked at after the list of open tasks was made stays. Returns the forgotten: whatever else was
   * concluded from their histories was concluded from another one.
   */
  retain(open: ReadonlyMap<string, number>, listedAt: number): string[] {
    const forgotten = [...this.known].flatMap(([taskId, { lookedAt, version }]) =>
      lookedAt < listedAt && (open.get(taskId) ?? -1) < version ? [taskId] : [],
    );
    for (const taskId of forgotten) this.known.delete(taskId);
    return forgotten;
  }

  /** Asks for a pass: something became free, or somebody waits. */
  wish(): void {
    this.wanted = true;
    // A pass is about many tasks: it belongs to the trace of none of them.
    if (!this.stopping) this.running ??= contextApi.with(ROOT_CONTEXT, () => this.passes());
  }

  /** Begins no further pass and resolves when the one that runs is over. */
  async stop(): Promise<void> {
    this.stopping = true;
    await this.running;
  }

  private waiting(): WaitingStep[] {
    return [...this.known.values()].flatMap(({ steps }) => steps);
  }

  private async passes(): Promise<void> {
    while (this.wanted && !this.stopping) {
      this.wanted = false;
      try {
        await this.pass();
      } catch (error) {
        this.hooks.onError(error);
      }
      await delay(pauseMs);
    }
    // In one go with the last look at `wanted`: a wish that comes later finds nobody running and starts anew.
    this.running = undefined;
  }

  private async pass(): Promise<void> {
    if (this.waiting().length === 0) return;
    await this.fleet.refresh();
    const needs = new Needs(() => this.fleet.state);
    const seatable = this.waiting().filter((step) => needs.of(step).outcome === 'granted');
    for (const [step, reasons] of needs.refused) this.hooks.onWaits(step, reasons);
    for (const step of inOrder(seatable)) {
      if (this.stopping) return;
      try {
        await this.seat(step, needs);
      } catch (error) {
        this.hooks.onError(error);
      }
    }
  }

  private async seat(step: WaitingStep, needs: Needs): Promise<void> {
    for (let round = 0; round < roundsMax; round++) {
      if (needs.of(step).outcome === 'waits') return;
      const fleet = this.fleet.state;
      const admission = admit(fleet, { taskId: step.taskId, step: step.step, seat: step.seat, tier: step.tier });
      if (admission.outcome === 'waits') return;
      const { model, grant } = admission;
      const handled = await this.manager().handle(
        step.taskId,
        { kind: 'seat', step: step.step, model },
        { grant, fleetVersion: fleet.version },
      );
      await this.fleet.refreshGrants();
      if (handled.outcome === 'refused') return this.update(step.taskId, handled.history.state);
      if (handled.outcome === 'accepted') return;
    }
    // The grants kept moving: that is progress of others, and no reason to forget this one.
    this.wish();
  }
}

/** Whether a seat of a tier can be had from a fleet: asked once for all the steps that need the same. */
class Needs {
  private fleet: FleetState | undefined;
  private readonly answers = new Map<string, Admission>();
  readonly refused: [WaitingStep, WaitReason[]][] = [];

  constructor(private readonly current: () => FleetState) {}

  of(step: WaitingStep): Admission {
    const fleet = this.current();
    if (fleet !== this.fleet) this.answers.clear();
    this.fleet = fleet;
    const key = `${step.seat} ${step.tier}`;
    const known = this.answers.get(key);
    if (known !== undefined) return known;
    const { taskId, step: id, seat, tier } = step;
    const answer = admit(fleet, { taskId, step: id, seat, tier });
    this.answers.set(key, answer);
    if (answer.outcome === 'waits') this.refused.push([step, answer.reasons]);
    return answer;
  }
}
