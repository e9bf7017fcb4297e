import { describe, expect, it } from 'vitest';
import { OperationalError } from './errors.js';
import { PollingLoop } from './polling-loop.js';

/** Resolves when `pass` was called for the n-th time. */
function counted(of: (call: number) => boolean): {
  pass: () => Promise<boolean>;
  calls: () => number;
  at(n: number): Promise<void>;
} {
  let calls = 0;
  const waiting = new Map<number, () => void>();
  return {
    pass: () => {
      calls += 1;
      waiting.get(calls)?.();
      return Promise.resolve().then(() => of(calls));
    },
    calls: () => calls,
    at: (n) => (calls >= n ? Promise.resolve() : new Promise((resolve) => waiting.set(n, resolve))),
  };
}
/** Never polls within a test. */
const never = { pollMs: 1_000_000, maxPauseMs: 1_000_000, what: 'looking' };

describe('a polling loop', () => {
  it('goes on at once while there is more, and waits for news when there is not', async () => {
    const work = counted((call) => call < 5);
    const loop = new PollingLoop(work.pass, never);
    loop.start();
    loop.start();
    await work.at(5);
    expect(loop.started).toBe(true);
    loop.wake();
    await work.at(6);
    await loop.stop();
    expect([work.calls(), loop.started]).toEqual([6, false]);
  });

  it('misses no news that come while it looks', async () => {
    const loop: PollingLoop = new PollingLoop(
      (() => {
        const work = counted(() => false);
        return async () => {
          if (work.calls() === 0) loop.wake();
          second.push(await work.pass());
          return false;
        };
      })(),
      never,
    );
    const second: boolean[] = [];
    loop.start();
    await expect.poll(() => second.length).toBe(2);
    await loop.stop();
  });

  it('tells of failures and goes on, after a pause that news do not cut short', async () => {
    const told: OperationalError[] = [];
    const work = counted((call) => {
      if (call <= 2) throw new Error(`failure ${call}`);
      return false;
    });
    const loop = new PollingLoop(work.pass, {
      pollMs: 40,
      maxPauseMs: 60,
      what: 'looking',
      onError: (e) => told.push(e),
    });
    const begun = performance.now();
    loop.start();
    const waking = setInterval(() => loop.wake(), 1);
    await work.at(3);
    clearInterval(waking);
    expect(performance.now() - begun).toBeGreaterThanOrEqual(95);
    expect(told.map(({ message }) => message)).toEqual(['looking: failure 1', 'looking: failure 2']);
    await loop.stop();
  });

  it('ends at once when it sleeps or pauses', async () => {
    const failing = new PollingLoop(() => Promise.reject(new Error('no')), never);
    failing.start();
    const idle = new PollingLoop(() => Promise.resolve(false), never);
    idle.start();
    await Promise.all([failing.stop(), idle.stop(), idle.stop()]);
  });
});
