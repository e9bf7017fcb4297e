import { context, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLog, stepLog } from './log.js';
import { blotter } from './redaction.js';

function written(secrets: string[] = []) {
  const lines: string[] = [];
  const log = createLog({
    service: 'gate',
    level: 'info',
    secrets,
    destination: { write: (line) => void lines.push(line) },
  });
  return { log, lines, last: () => JSON.parse(lines.at(-1) ?? '{}') as Record<string, unknown> };
}

describe('lines', () => {
  it('are JSON with level, time, service and message, and the work they are about', () => {
    const { log, last } = written();
    stepLog(log, { taskId: 't-1', step: 'gating.1.1' }).warn({ count: 3 }, 'careful');
    expect(last()).toMatchObject({
      level: 'warn',
      service: 'gate',
      msg: 'careful',
      taskId: 't-1',
      step: 'gating.1.1',
      count: 3,
    });
    expect(new Date(String(last()['time'])).toISOString()).toBe(last()['time']);
  });

  it('carry an error with its cause', () => {
    const { log, last } = written();
    log.error({ err: new Error('outer', { cause: new Error('inner') }) }, 'failed');
    expect(last()['err']).toMatchObject({ type: 'Error', message: expect.stringContaining('outer') as string });
    expect(JSON.stringify(last())).toContain('inner');
  });
});

describe('span ids', () => {
  const manager = new AsyncLocalStorageContextManager().enable();
  beforeAll(() => void context.setGlobalContextManager(manager));
  afterAll(() => context.disable());

  it('are those of the active span, and absent without one', async () => {
    const { log, last } = written();
    const spanContext = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), traceFlags: 1 };
    await context.with(trace.setSpanContext(ROOT_CONTEXT, spanContext), async () => {
      await Promise.resolve();
      log.info('inside');
    });
    expect(last()).toMatchObject({ traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) });
    log.info('outside');
    expect(last()).not.toHaveProperty('traceId');
  });
});

describe('redaction', () => {
  const secret = 'Zx9-q7_Wv';

  it.each([
    ['a field', { password: secret }],
    ['a field deep inside', { a: [{ b: { apiToken: secret } }] }],
    ['a list of secrets', { cookie: [secret, secret] }],
    ['a header', { headers: { Authorization: `Bearer ${secret}`, 'set-cookie': secret, 'x-api-key': secret } }],
    ['an environment variable', { env: { PLUMB_API_TOKEN: secret } }],
    ['a number', { clientSecret: 1234567890 }],
    ['credentials in a URL', { at: `postgres://ledger:${secret}@db:5432/x?a=1` }],
    ['credentials with an @', { at: `postgres://ledger:pa@${secret}@db:5432/x` }],
    ['a key in a query', { at: `https://h/v1?a=1&api_key=${secret}&b=2` }],
    ['a token in a query', { at: `https://h/v1?access_token=${secret}` }],
    ['HTTP credentials in a text', { text: `sent Authorization: Bearer ${secret} to it` }],
    ['an error', { err: new Error(`cannot reach nats://x:${secret}@h:1`) }],
    ['JSON inside a text', { body: JSON.stringify({ deep: { password: `${secret}"}` } }) }],
    ['JSON inside JSON inside a text', { body: JSON.stringify({ inner: JSON.stringify({ token: `"${secret}` }) }) }],
    ['JSON behind a text', { body: `sent: ${JSON.stringify({ token: `"${secret}` })} and so on` }],
    ['an object', { credentialsToken: { value: secret } }],
  ])('blots out %s', (_name, fields) => {
    const { log, lines, last } = written();
    log.info(fields, 'said');
    expect(lines.join()).not.toContain(secret);
    expect(lines.join()).not.toContain('1234567890');
    expect(last()['msg']).toBe('said');
  });

  it('leaves alone what only looks alike', () => {
    const { log, last } = written();
    const fields = {
      tokens: { prompt: 5 },
      tokenizer: 'gpt2',
      url: 'http://127.0.0.1:8080/v1?key_count=3',
      mail: 'a@b.c',
      passwordSet: true,
    };
    log.info(fields, 'basic checks: the bearer of news');
    expect(last()).toMatchObject({ ...fields, msg: 'basic checks: the bearer of news' });
  });

  it('blots out the secrets of the configuration wherever they stand, and every line stays JSON', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 6, unit: 'grapheme' }), fc.string(), fc.string(), (value, before, after) => {
        fc.pre(!'[redacted]'.includes(value));
        const { log, last } = written([value]);
        log.info({ note: `${before}${value}${after}`, list: [{ [value]: value }] }, 'said');
        const { note, list, msg } = last();
        expect(JSON.stringify([note, list, msg])).not.toContain(JSON.stringify(value).slice(1, -1));
        expect(msg).toBe('said');
      }),
      { seed: 7 },
    );
  });

  it('turns any line of JSON into a line of JSON', () => {
    const blot = blotter([]);
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('password', 'token', 'url', 'note', 'x'), fc.jsonValue({ maxDepth: 4 })),
        (fields) => void JSON.parse(blot(JSON.stringify(fields))),
      ),
      { seed: 11, numRuns: 500 },
    );
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom(
            '"',
            '\\',
            ':',
            '{',
            '}',
            '[',
            ']',
            'password',
            'http://a:',
            '@',
            '?key=',
            'bearer abcdefg',
            ' ',
            ',',
          ),
          { maxLength: 30 },
        ),
        (parts) => void JSON.parse(blot(JSON.stringify({ text: parts.join(''), token: parts.join('') }))),
      ),
      { seed: 13, numRuns: 2_000 },
    );
  });

  it('takes a long line in stride', () => {
    const blot = blotter([]);
    const startedAt = performance.now();
    for (const unit of ['a', '://', 'x://a:', '"token":', '\\"', '["', 'bearer ', 'http://a:b'])
      blot(JSON.stringify({ text: unit.repeat(20_000) }));
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  });
});
