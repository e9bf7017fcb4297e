import { describe, expect, it } from 'vitest';
import { ledgerConfig } from '../config.js';
import { isLoopback, weakness } from './addressed.js';
import { Gate } from './gate.js';

describe('an API that other machines reach', () => {
  const random = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08';
  const start = (host: string, token: string, hosts = '') =>
    ledgerConfig.safeParse({
      PLUMB_DATABASE_URL: 'postgres://u@127.0.0.1/d',
      PLUMB_API_TOKEN: token,
      PLUMB_HTTP_HOST: host,
      ...(hosts === '' ? {} : { PLUMB_API_HOSTS: hosts }),
    });

  it('does not start with a token that can be guessed', () => {
    for (const weak of [
      '0123456789abcdef',
      'change-me-change-me-change-me-change-me',
      'a'.repeat(64),
      `${random.slice(0, 25)}-password`,
    ]) {
      expect(weakness(weak), weak).toBeDefined();
      for (const host of ['0.0.0.0', '::', '192.168.1.4', 'ledger', '::ffff:10.0.0.1']) {
        const parsed = start(host, weak);
        expect(parsed.success, `${host} ${weak}`).toBe(false);
        expect(parsed.error?.issues[0]?.path).toEqual(['PLUMB_API_TOKEN']);
        expect(JSON.stringify(parsed.error)).not.toContain(weak);
      }
      for (const host of ['127.0.0.1', '::1', 'localhost', '127.9.9.9']) expect(start(host, weak).success).toBe(true);
    }
    expect(start('0.0.0.0', random).success).toBe(true);
    expect(start('127.0.0.1', 'with a space in it, long').success).toBe(false);
  });

  it('knows loopback from everything else', () => {
    for (const host of ['127.0.0.1', '127.255.0.3', '::1', 'localhost']) expect(isLoopback(host)).toBe(true);
    for (const host of ['0.0.0.0', '::', '128.0.0.1', 'localhost.evil', '']) expect(isLoopback(host)).toBe(false);
  });

  it('takes host names by comma', () => {
    expect(start('127.0.0.1', random, 'Ledger.House.lan, b.example').data?.apiHosts).toEqual([
      'ledger.house.lan',
      'b.example',
    ]);
    expect(start('127.0.0.1', random, 'http://x').success).toBe(false);
  });
});

describe('a gate', () => {
  it('lets so many through, keeps so many in line, in order, and forgets who gave up', async () => {
    const gate = new Gate(1, { max: 2, ms: 5_000 });
    const first = await gate.enter();
    const order: string[] = [];
    const gone = new AbortController();
    const waiting = [
      gate.enter(gone.signal).then((leave) => order.push(leave === undefined ? 'gave up' : 'a')),
      gate.enter().then((leave) => (order.push('b'), leave?.())),
    ];
    expect(await gate.enter()).toBeUndefined();
    gone.abort();
    await waiting[0];
    first?.();
    first?.();
    await Promise.all(waiting);
    expect(order).toEqual(['gave up', 'b']);
    const [second, third] = [await gate.enter(), await new Gate(0).enter()];
    expect(second).toBeDefined();
    expect(third).toBeUndefined();
    // Left twice, it is still full.
    expect(await new Gate(0, { max: 1, ms: 10 }).enter()).toBeUndefined();
    const late = gate.enter();
    second?.();
    expect(await late).toBeDefined();
  });
});
