import { setTimeout as delay } from 'node:timers/promises';

/**
 * Sends at fixed instants, whether or not anything was answered: a system that stalls is sent the same, and what waits in the meantime
 * counts (no coordinated omission). `send` gets its number and the instant (performance.now()) at which it was due, and must not wait.
 * Resolves with the number sent, after the last.
 */
export async function openLoop(
  load: { perSecond: number; seconds: number },
  send: (index: number, dueAt: number) => void,
): Promise<number> {
  const count = Math.max(1, Math.round(load.perSecond * load.seconds));
  const intervalMs = 1_000 / load.perSecond;
  const startedAt = performance.now() + intervalMs;
  for (let index = 0; index < count; index++) {
    const dueAt = startedAt + index * intervalMs;
    const waitMs = dueAt - performance.now();
    // Timers count in whole milliseconds: what is sent late for that reason counts as waiting, too.
    if (waitMs > 0) await delay(waitMs);
    send(index, dueAt);
  }
  return count;
}
