import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { configure, secretsOf } from './host-config.js';

const least = { PLUMB_NATS_URL: 'nats://127.0.0.1:4333', PLUMB_NATS_PASSWORD: 'pa55word' };

describe('configure', () => {
  it('needs the broker and its password, and fills in the rest', () => {
    const configured = configure('coder', z.object({}), least);
    if (!configured.ok) throw new Error(configured.problems.join());
    const { host, secrets } = configured.config;
    expect(host).toMatchObject({
      nats: { url: 'nats://127.0.0.1:4333', user: 'coder', password: 'pa55word' },
      http: { host: '127.0.0.1', port: 0 },
      logLevel: 'info',
    });
    expect(host.holder).toBe(`coder/${host.instance}`);
    expect(host.instance).toMatch(new RegExp(`-${process.pid}$`));
    expect(host).not.toHaveProperty('otlpEndpoint');
    expect(secrets).toEqual(['pa55word']);
  });

  it('arms nothing unless it is told to, and takes no name that does not exist', () => {
    const armed = (value: string) => {
      const configured = configure('coder', z.object({}), { ...least, PLUMB_FAILPOINTS: value });
      return configured.ok ? configured.config.host.failpoints : configured.problems;
    };
    expect(armed('')).toEqual([]);
    expect(armed('step.worked=kill@2')).toEqual([{ name: 'step.worked', action: 'kill', hit: 2 }]);
    expect(armed('step.wroked=kill')).toEqual([
      expect.stringMatching(
        /^PLUMB_FAILPOINTS is not usable: there is no failpoint step\.wroked; there are .*step\.worked/,
      ),
    ]);
  });

  it('reports the problems of both halves and of files together', () => {
    const configured = configure('coder', z.object({ PLUMB_OWN: z.string('expected something') }), {
      PLUMB_NATS_URL: 'nats://u:secretword@h',
      PLUMB_LOG_LEVEL: 'loud',
      PLUMB_NATS_PASSWORD_FILE: '/nowhere/at/all',
    });
    expect(configured.ok).toBe(false);
    const problems = configured.ok ? [] : configured.problems;
    expect(problems.map((problem) => problem.split(' ')[0])).toEqual([
      'PLUMB_NATS_PASSWORD_FILE',
      'PLUMB_NATS_URL',
      'PLUMB_NATS_PASSWORD',
      'PLUMB_LOG_LEVEL',
      'PLUMB_OWN',
    ]);
    expect(problems.join()).not.toContain('secretword');
  });

  it('refuses an instance that could not stand in a lease', () => {
    expect(configure('coder', z.object({}), { ...least, PLUMB_INSTANCE: 'a/b' }).ok).toBe(false);
    expect(configure('coder', z.object({}), { ...least, PLUMB_INSTANCE: 'x'.repeat(151) }).ok).toBe(false);
    expect(configure('coder', z.object({}), { ...least, PLUMB_INSTANCE: 'pod-7f.2' }).ok).toBe(true);
  });
});

describe('secretsOf', () => {
  it('knows secrets by name and passwords inside URLs, also as they are decoded', () => {
    const found = secretsOf({
      PLUMB_API_TOKEN: 'tok-1',
      PLUMB_DATABASE_URL: 'postgres://ledger:p%40ss@db/plumb',
      PLUMB_NATS_URL: 'nats://127.0.0.1:1',
      PLUMB_HTTP_PORT: '80',
      HOME: '/root',
    });
    expect(found.sort()).toEqual(['p%40ss', 'p@ss', 'tok-1']);
  });
});
