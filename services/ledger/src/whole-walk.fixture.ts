import { expect } from 'vitest';

const decisions = [
  ...['task.submitted', 'snapshot.taken', 'change.proposed', 'gate.concluded', 'review.concluded', 'verdict.reached'],
  ...['change.published', 'task.closed'],
];

/** What must hold of a task that was walked to its end, whatever happened on the way: one of everything, versions without a gap. */
export function expectOneOfEverything(
  watch: { of(taskId: string): readonly { type: string; version: number }[] },
  taskId: string,
): void {
  const history = watch.of(taskId);
  const found = decisions.map((type) => [type, history.filter((event) => event.type === type).length]);
  expect([taskId, ...found]).toEqual([taskId, ...decisions.map((type) => [type, 1])]);
  expect(history.map((event) => event.version)).toEqual(history.map((_, index) => index + 1));
}
