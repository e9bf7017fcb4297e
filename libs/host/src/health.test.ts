import { describe, expect, it } from 'vitest';
import { Health } from './health.js';

const fine = () => Promise.resolve({ ok: true, detail: 'fine' });

describe('Health', () => {
  it('is ready only in the state ready with every dependency ready', async () => {
    const health = new Health();
    let ok = true;
    health.register('a', fine);
    health.register('b', () => Promise.resolve({ ok, detail: 'b' }));
    expect((await health.report()).ready).toBe(false);
    health.state = 'ready';
    expect(await health.report()).toEqual({
      ready: true,
      state: 'ready',
      checks: { a: { ok: true, detail: 'fine' }, b: { ok: true, detail: 'b' } },
    });
    ok = false;
    expect((await health.report()).ready).toBe(false);
    ok = true;
    health.state = 'draining';
    expect((await health.report()).ready).toBe(false);
  });

  it('counts silence and exceptions as not ready, without waiting for more than the limit', async () => {
    const health = new Health(50);
    health.state = 'ready';
    health.register('fine', fine);
    health.register('silent', () => new Promise(() => undefined));
    health.register('broken', () => Promise.reject(new Error('no route')));
    health.register('thrower', () => {
      throw new Error('at once');
    });
    const startedAt = performance.now();
    const { ready, checks } = await health.report();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    expect(ready).toBe(false);
    expect(checks).toEqual({
      fine: { ok: true, detail: 'fine' },
      silent: { ok: false, detail: 'no answer within 50 ms' },
      broken: { ok: false, detail: 'no route' },
      thrower: { ok: false, detail: 'at once' },
    });
  });

  it('refuses a second indicator of the same name', () => {
    const health = new Health();
    health.register('a', fine);
    expect(() => health.register('a', fine)).toThrow(/"a"/);
  });
});
