import type { EventType, PlumblineEvent, TaskPhase } from '@plumbline/domain';

type Told = Extract<PlumblineEvent, { type: 'task.capacity-awaited' | 'escalation.opened' }>;

/** An event as far as its task's phase goes: most say it by their type alone. */
export type PhaseEvent = Told | { type: Exclude<EventType, Told['type']> };

/**
 * The phase a task is in after an event, or undefined when the event does not move it. A shortcut past folding whole histories;
 * `phase.test.ts` holds it against the fold.
 */
export function phaseAfter(event: PhaseEvent): TaskPhase | undefined {
  switch (event.type) {
    case 'task.submitted':
    case 'task.snapshot-requested':
      return 'submitted';
    case 'task.capacity-awaited':
      return event.data.step.startsWith('coding.') ? 'waiting-for-capacity' : 'reviewing';
    case 'task.coding-requested':
      return 'coding';
    case 'task.gating-requested':
      return 'gating';
    case 'task.review-requested':
      return 'reviewing';
    case 'verdict.reached':
    case 'task.ruled':
      return 'judged';
    case 'task.publishing-requested':
      return 'publishing';
    case 'escalation.opened':
      return event.data.to === 'human' ? 'awaiting-ruling' : 'escalated';
    case 'task.retried':
      return 'retrying';
    case 'task.closed':
      return 'closed';
    default:
      return undefined;
  }
}
