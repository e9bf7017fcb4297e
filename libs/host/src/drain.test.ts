import { describe, expect, it } from 'vitest';
import { Drains } from './drain.js';
import { createLog } from './log.js';

const quiet = createLog({ service: 'gate', level: 'silent', secrets: [], destination: { write: () => undefined } });

describe('Drains', () => {
  it('drains all at once and waits for all', async () => {
    const drains = new Drains();
    const order: string[] = [];
    const first = Promise.withResolvers<void>();
    drains.register('waits', async () => {
      order.push('waits begins');
      await first.promise;
      order.push('waits ends');
    });
    drains.register('lets go', () => {
      order.push('lets go');
      first.resolve();
      return Promise.resolve();
    });
    expect(await drains.run(10_000, 0, quiet)).toEqual([]);
    expect(order).toEqual(['waits begins', 'lets go', 'waits ends']);
  });

  it('tells work when its time is over, and names what was left', async () => {
    const drains = new Drains();
    drains.register('obeys', (deadline) => new Promise((done) => deadline.addEventListener('abort', () => done())));
    drains.register('hangs', () => new Promise(() => undefined));
    drains.register('fails', () => Promise.reject(new Error('no')));
    drains.register('throws', () => {
      throw new Error('at once');
    });
    const startedAt = performance.now();
    expect(await drains.run(50, 30, quiet)).toEqual(['hangs', 'fails', 'throws']);
    const tookMs = performance.now() - startedAt;
    expect(tookMs).toBeGreaterThan(60);
    expect(tookMs).toBeLessThan(2_000);
  });

  it('refuses a second drain of the same name', () => {
    const drains = new Drains();
    drains.register('a', () => Promise.resolve());
    expect(() => drains.register('a', () => Promise.resolve())).toThrow(/"a"/);
  });
});
