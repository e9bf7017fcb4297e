import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { sustainedRate } from '../latency/dispatch.js';
import { closedLoop } from './closed-loop.js';
import { Latencies } from './latencies.js';
import { openLoop } from './open-loop.js';
import { interleave } from './rounds.js';

describe('rounds', () => {
  it('run every contestant once each, in alternating order', async () => {
    const order: string[] = [];
    const run = (name: string) => () => Promise.resolve(order.push(name));
    const figures = await interleave(3, { a: run('a'), b: run('b') });
    expect(order).toEqual(['a', 'b', 'b', 'a', 'a', 'b']);
    expect(figures).toEqual({ a: [1, 4, 5], b: [2, 3, 6] });
  });
});

describe('a closed loop', () => {
  it('never has more calls under way than callers, and ends with the first failure', async () => {
    let running = 0;
    let most = 0;
    const rate = await closedLoop(3, 0.05, async () => {
      most = Math.max(most, ++running);
      await delay(1);
      running--;
    });
    expect(most).toBe(3);
    expect(rate).toBeGreaterThan(0);
    await expect(closedLoop(2, 5, () => Promise.reject(new Error('refused')))).rejects.toThrow('refused');
  });
});

describe('an open loop', () => {
  it('is due at fixed instants although the sender stalls', async () => {
    const dueAt: number[] = [];
    const count = await openLoop({ perSecond: 200, seconds: 0.1 }, (index, due) => {
      dueAt.push(due);
      // Stalls the whole process for longer than two intervals: those that come late are due when they were due.
      if (index === 3) for (const until = performance.now() + 12; performance.now() < until;);
    });
    expect(count).toBe(20);
    const intervals = dueAt.slice(1).map((due, index) => due - (dueAt[index] as number));
    for (const interval of intervals) expect(interval).toBeCloseTo(5, 6);
  });
});

describe('latencies', () => {
  it('have percentiles to three digits', () => {
    const latencies = new Latencies();
    for (let ms = 1; ms <= 1_000; ms++) latencies.record(ms);
    expect(latencies.count).toBe(1_000);
    expect(latencies.percentile(50)).toBeCloseTo(500, -0.5);
    expect(latencies.percentile(99)).toBeGreaterThan(988);
    expect(latencies.percentile(99)).toBeLessThan(992);
  });

  it('bound what was too long or too short to be true', () => {
    const latencies = new Latencies();
    latencies.record(-1);
    latencies.record(1e9);
    expect(latencies.percentile(1)).toBeCloseTo(0.001, 6);
    expect(latencies.percentile(100)).toBeGreaterThan(59_000);
  });
});

describe('a sustained rate', () => {
  it('is that of the middle, whatever the first and last did', () => {
    const steady = Array.from({ length: 100 }, (_, n) => n * 10);
    expect(sustainedRate(steady)).toBeCloseTo(100, 6);
    expect(sustainedRate([...steady.slice(0, 95), 5_000, 5_001, 5_002, 5_003, 5_004])).toBeCloseTo(100, 6);
    expect(sustainedRate([7])).toBe(0);
  });
});
