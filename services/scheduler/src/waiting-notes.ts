import type { WaitReason } from '@plumbline/domain';
import type { TaskManager } from './task-manager.js';
import type { WaitingStep } from './waiting-steps.js';

const rememberedMax = 20_000;

/**
 * Has the reasons recorded why a step waits. The process manager records each kind of obstacle once; this remembers what it was told last, so
 * that a look at thousands of waiting steps does not read thousands of histories. Forgetting costs a reading and nothing else.
 */
export class WaitingNotes {
  private readonly noted = new Map<string, string>();

  constructor(
    private readonly manager: () => Pick<TaskManager, 'handle'>,
    private readonly onError: (error: unknown) => void,
  ) {}

  note(step: WaitingStep, reasons: readonly WaitReason[]): void {
    const key = `${step.taskId} ${step.step}`;
    const kinds = [...new Set(reasons.map((reason) => reason.code))].sort().join();
    if (this.noted.get(key) === kinds) return;
    if (this.noted.size >= rememberedMax) this.noted.clear();
    this.noted.set(key, kinds);
    this.manager()
      .handle(step.taskId, { kind: 'wait', step: step.step, reasons })
      .catch((error: unknown) => {
        this.noted.delete(key);
        this.onError(error);
      });
  }
}
