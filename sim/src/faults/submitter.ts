import type { Expectation } from './tasks.js';
import { expectations, submissionOf, type TaskKind } from './tasks.js';
import type { SubmittedTask } from './history.js';
import type { House } from './house.js';
import type { LogEye } from './log-eye.js';
import type { PlannedTask } from './plan.js';

const source = 'faults';
const againMs = 4_000;
const seenWithinMs = 10_000;

/** Where a task is, for whoever handed it in. */
type Standing = 'unknown' | 'open' | 'ended';

interface Entry {
  task: SubmittedTask;
  /** When something was last asked for it; nothing is asked twice at once. */
  askedAt: number;
  asking: boolean;
}

/**
 * The people: hand in tasks, cancel and rule, as careful clients do. They ask again until they are answered and never after that, unless
 * they were told that the system was restored from a backup.
 */
export class Submitter {
  private readonly entries: Entry[] = [];
  private restored = false;

  constructor(
    private readonly house: House,
    private readonly eye: LogEye,
  ) {}

  get tasks(): SubmittedTask[] {
    return this.entries.map(({ task }) => task);
  }

  get open(): number {
    return this.entries.filter(({ task }) => this.standing(task) !== 'ended').length;
  }

  get ended(): number {
    return this.entries.length - this.open;
  }

  add(planned: PlannedTask): void {
    this.entries.push({ task: { ...planned, answers: [] }, askedAt: -Infinity, asking: false });
  }

  /** What was answered may be gone: whatever the log does not have is handed in once more. */
  afterRestore(): void {
    this.restored = true;
  }

  /** Looks at every task once and asks for what is missing. */
  tend(): void {
    const now = performance.now();
    for (const entry of this.entries) {
      if (entry.asking || now - entry.askedAt < againMs) continue;
      const ask = this.wanted(entry);
      if (ask === undefined) continue;
      entry.asking = true;
      entry.askedAt = now;
      void ask()
        .catch(() => undefined)
        .finally(() => (entry.asking = false));
    }
  }

  /** Tasks that have not ended, with the last thing that happened to each. */
  unfinished(): string[] {
    return this.entries
      .filter(({ task }) => this.standing(task) !== 'ended')
      .map(({ task }) => {
        const last = this.eventsOf(task).at(-1);
        return `${task.key} (${task.kind}) ${task.taskId ?? 'without an answer'}: ${last === undefined ? 'not in the log' : `${last.type} at ${last.pos}`}`;
      });
  }

  private wanted({ task }: Entry): (() => Promise<void>) | undefined {
    const events = this.eventsOf(task);
    if (events.length === 0) {
      const mayAsk = task.taskId === undefined || this.restored;
      return mayAsk ? () => this.submit(task) : undefined;
    }
    const has = (type: string): boolean => events.some((event) => event.type === type);
    if (task.kind === 'cancelled' && has('task.coding-requested') && !has('task.cancelled'))
      return () => this.decide('cancel', task, { why: 'not wanted any more' });
    // Without a change there is nothing to rule on: the task waits for a human, in a way the checker will not like.
    if (!has('change.proposed')) return undefined;
    const rules = task.kind === 'ruled' ? 'no-go' : task.kind === 'waived' ? 'go' : undefined;
    if (rules !== undefined && has('escalation.opened') && !has('task.ruled'))
      return () => this.decide('rule', task, { decision: rules, why: 'looked at it', attempt: 1 });
    return undefined;
  }

  private async submit(task: SubmittedTask): Promise<void> {
    const submission = submissionOf(task.kind, this.house.origin.path, task.key);
    if (task.door === 'request') {
      const answers = await Promise.all(
        Array.from({ length: task.twice ? 2 : 1 }, () => this.house.system.submit(submission)),
      );
      for (const answer of answers) this.answered(task, answer);
      return;
    }
    const { idempotencyKey: _, ...anonymous } = submission;
    for (let times = task.twice ? 2 : 1; times > 0; times--)
      await this.house.system.publish('submit', anonymous, { id: task.key, source });
    // Stored is not recorded: whoever hands in by the stream looks for their task, and sends it again if it does not appear.
    const found = await this.eye.until(() => this.findByOrigin(task.key), seenWithinMs);
    if (found !== undefined) this.answered(task, found);
  }

  private answered(task: SubmittedTask, taskId: string): void {
    task.taskId ??= taskId;
    if (!task.answers.includes(taskId)) task.answers.push(taskId);
  }

  private findByOrigin(key: string): string | undefined {
    for (const taskId of this.eye.tasks()) {
      const { data } = this.eye.of(taskId)[0] ?? {};
      if (data?.['source'] === source && data['submissionId'] === key) return taskId;
    }
    return undefined;
  }

  private async decide(kind: 'cancel' | 'rule', task: SubmittedTask, more: Record<string, unknown>): Promise<void> {
    await this.house.system.ask(kind, { taskId: task.taskId, by: 'the suite', ...more }, 3_000);
  }

  private eventsOf(task: SubmittedTask): readonly { type: string; pos: number }[] {
    return task.taskId === undefined ? [] : this.eye.of(task.taskId);
  }

  private standing(task: SubmittedTask): Standing {
    const events = this.eventsOf(task);
    if (events.length === 0) return 'unknown';
    return hasEnded(task.kind, events) ? 'ended' : 'open';
  }
}

/** Whether nothing more will happen to a task of that kind: it is closed, or it waits for a human and nobody is going to rule. */
function hasEnded(kind: TaskKind, events: readonly { type: string }[]): boolean {
  const expected: Expectation = expectations[kind];
  const last = (types: readonly string[]): number => events.findLastIndex(({ type }) => types.includes(type));
  if (last(['task.closed']) >= 0) return true;
  const waits = last(['escalation.opened']) > last(['escalation.resolved', 'task.ruled']);
  // A task that was to be published and waits for a human instead has ended too, in a way the checker will not like.
  const ruleable = kind === 'ruled' || kind === 'waived' ? last(['change.proposed']) >= 0 : false;
  return waits && (expected.end === 'escalated' || !ruleable);
}
