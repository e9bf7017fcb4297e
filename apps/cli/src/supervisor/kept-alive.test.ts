import { describe, expect, it } from 'vitest';
import { KeptAlive, type Exit, type Instance, type KeptEvent } from './kept-alive.js';

const quick = { firstDelayMs: 2, maxDelayMs: 8, provenAfterMs: 60_000 };

/** A process that ends when it is told to, from either side. */
function stub(pid: number): Instance & { die(exit: Exit): void; stops: number } {
  const { promise, resolve } = Promise.withResolvers<Exit>();
  const instance = {
    pid,
    exited: promise,
    stops: 0,
    die: resolve,
    stop: async () => {
      instance.stops += 1;
      resolve({ code: 0, signal: null });
      return true;
    },
    kill: async () => resolve({ code: null, signal: 'SIGKILL' }),
  };
  return instance;
}

function collect() {
  const events: KeptEvent[] = [];
  const waiting: { type: KeptEvent['type']; count: number; resolve: () => void }[] = [];
  const reached = (type: KeptEvent['type'], count: number): boolean =>
    events.filter((event) => event.type === type).length >= count;
  return {
    events,
    tell: (event: KeptEvent): void => {
      events.push(event);
      for (const entry of waiting) if (reached(entry.type, entry.count)) entry.resolve();
    },
    seen: (type: KeptEvent['type'], count: number): Promise<void> =>
      new Promise((resolve) => (reached(type, count) ? resolve() : void waiting.push({ type, count, resolve }))),
  };
}

const alive = new AbortController().signal;

describe('KeptAlive', () => {
  it('starts again what dies, waiting longer each time up to the limit', async () => {
    const log = collect();
    const runs: ReturnType<typeof stub>[] = [];
    const kept = new KeptAlive('it', async () => runs[runs.push(stub(runs.length + 1)) - 1]!, log.tell, quick);
    await kept.start(alive);
    for (let n = 1; n <= 4; n += 1) {
      runs.at(-1)!.die({ code: 1, signal: null });
      await log.seen('running', n + 1);
    }
    const delays = log.events.flatMap((event) => (event.type === 'ended' ? [event.restartInMs] : []));
    expect(delays).toEqual([2, 4, 8, 8]);
    expect(kept).toMatchObject({ state: 'running', restarts: 4, instance: { pid: 5 } });
    await kept.stop();
  });

  it('is quick again after a run that proved itself', async () => {
    const log = collect();
    const runs: ReturnType<typeof stub>[] = [];
    const kept = new KeptAlive('it', async () => runs[runs.push(stub(1)) - 1]!, log.tell, {
      ...quick,
      provenAfterMs: 0,
    });
    await kept.start(alive);
    for (let n = 1; n <= 3; n += 1) {
      runs.at(-1)!.die({ code: 1, signal: null });
      await log.seen('running', n + 1);
    }
    expect(log.events.flatMap((event) => (event.type === 'ended' ? [event.restartInMs] : []))).toEqual([2, 2, 2]);
    await kept.stop();
  });

  it('goes on trying when a restart fails', async () => {
    const log = collect();
    const first = stub(1);
    let starts = 0;
    const start = async (): Promise<Instance> => {
      starts += 1;
      if (starts === 1) return first;
      if (starts < 4) throw new Error('no');
      return stub(2);
    };
    const kept = new KeptAlive('it', start, log.tell, quick);
    await kept.start(alive);
    first.die({ code: null, signal: 'SIGKILL' });
    await log.seen('running', 2);
    expect(log.events.map(({ type }) => type)).toEqual(['running', 'ended', 'start-failed', 'start-failed', 'running']);
    await kept.stop();
  });

  it('hands the failure of the first start to its caller and does not repeat it', async () => {
    let starts = 0;
    const kept = new KeptAlive(
      'it',
      () => Promise.reject(new Error(`start ${(starts += 1)}`)),
      () => {},
      quick,
    );
    await expect(kept.start(alive)).rejects.toThrow('start 1');
    expect(kept.state).toBe('stopped');
    await expect(kept.stop()).resolves.toBe(true);
  });

  it('does not start again what it was told to stop, also while it waits to', async () => {
    const log = collect();
    const runs: ReturnType<typeof stub>[] = [];
    const start = async (): Promise<Instance> => runs[runs.push(stub(1)) - 1]!;
    const kept = new KeptAlive('it', start, log.tell, { ...quick, firstDelayMs: 60_000 });
    await kept.start(alive);
    runs[0]!.die({ code: 1, signal: null });
    await log.seen('ended', 1);
    await kept.stop();
    expect(runs).toHaveLength(1);
    const other = new KeptAlive('it', start, log.tell, quick);
    await other.start(alive);
    await other.stop();
    expect(runs).toHaveLength(2);
    expect(runs[1]!.stops).toBe(1);
    expect(other.state).toBe('stopped');
  });

  it('ends a start that was under way when it was told to stop', async () => {
    const log = collect();
    const first = stub(1);
    const second = stub(2);
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    let starts = 0;
    const start = async (): Promise<Instance> => {
      if ((starts += 1) === 1) return first;
      begin();
      await gate;
      return second;
    };
    const kept = new KeptAlive('it', start, log.tell, quick);
    await kept.start(alive);
    first.die({ code: 1, signal: null });
    await begun;
    const stopped = kept.stop();
    open();
    await stopped;
    expect(second.stops).toBeGreaterThan(0);
  });
});
