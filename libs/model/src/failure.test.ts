import { faultCodes, type FaultCode } from '@plumbline/domain';
import { describe, expect, it } from 'vitest';
import { classifyStatus, excerpt, MODEL_FAILURES, parseRetryAfter } from './failure.js';

const error = (message: string, extra: object = {}): string => JSON.stringify({ error: { message, ...extra } });
const LLAMA_OVERFLOW = error(
  'request (9001 tokens) exceeds the available context size (8192 tokens), try increasing it',
  { code: 400, type: 'exceed_context_size_error', n_prompt_tokens: 9001, n_ctx: 8192 },
);

describe('classifyStatus', () => {
  it.each([
    [401, error('Incorrect API key'), 'CONFIG_INVALID'],
    [403, '', 'CONFIG_INVALID'],
    [404, error('The model `x` does not exist.', { code: 'model_not_found' }), 'CONFIG_INVALID'],
    [405, '', 'CONFIG_INVALID'],
    [400, error('model "x" not found, try pulling it first'), 'CONFIG_INVALID'],
    [400, LLAMA_OVERFLOW, 'CONTEXT_OVERFLOW'],
    [400, error("This model's maximum context length is 8192 tokens. However, you requested 9000"), 'CONTEXT_OVERFLOW'],
    [400, error('x', { code: 'context_length_exceeded' }), 'CONTEXT_OVERFLOW'],
    [500, LLAMA_OVERFLOW, 'CONTEXT_OVERFLOW'],
    [413, '', 'CONTEXT_OVERFLOW'],
    [400, error('Cannot have 2 or more assistant messages at the end of the list'), 'HISTORY_REJECTED'],
    [400, '<html>Bad Request</html>', 'HISTORY_REJECTED'],
    [422, error('messages.0: field required'), 'HISTORY_REJECTED'],
    [408, '', 'SERVER_ERROR'],
    [429, error('slow down'), 'RATE_LIMITED'],
    [500, error('oops'), 'SERVER_ERROR'],
    [500, error('Failed to parse tool call arguments as JSON'), 'SERVER_PARSE_ERROR'],
    [502, '<html>Bad Gateway</html>', 'SERVER_ERROR'],
    [503, error('Loading model', { type: 'unavailable_error' }), 'MODEL_LOADING'],
    [503, error('server busy, please try again'), 'RATE_LIMITED'],
    [503, error('engine is dead'), 'SERVER_ERROR'],
    [504, '', 'SERVER_ERROR'],
  ])('%i %s is %s', (status, body, code) => {
    expect(classifyStatus(status, body, { nowMs: 0 }).code).toBe(code);
  });

  it('carries the numbers of an overflow and the wait of a limit', () => {
    expect(classifyStatus(400, LLAMA_OVERFLOW, { nowMs: 0 }).overflow).toEqual({
      promptTokens: 9001,
      contextTokens: 8192,
    });
    expect(classifyStatus(429, '', { retryAfter: '7', nowMs: 0 }).retryAfterMs).toBe(7_000);
    expect(classifyStatus(503, 'x', { retryAfter: '7', nowMs: 0 })).toMatchObject({
      code: 'RATE_LIMITED',
      retryAfterMs: 7_000,
    });
  });

  it('quotes what the server said, bounded and without control characters', () => {
    const { message } = classifyStatus(500, error(`a\u001b[31m\n${'x'.repeat(5_000)}`), { nowMs: 0 });
    expect(message.length).toBeLessThan(500);
    expect(/\p{Cc}/u.test(message)).toBe(false);
    expect(excerpt('plain')).toBe('"plain"');
  });
});

it.each([
  ['5', 5_000],
  ['0', 0],
  [' 1.5 ', 1_500],
  ['Thu, 01 Jan 1970 00:01:00 GMT', 50_000],
  ['Thu, 01 Jan 1970 00:00:01 GMT', 0],
  ['-5', undefined],
  ['soon', undefined],
  ['1e9', undefined],
  ['', undefined],
  [undefined, undefined],
])('parseRetryAfter(%j) is %j', (value, waitMs) => expect(parseRetryAfter(value, 10_000)).toBe(waitMs));

it('never ends in a code for which a model is to blame', () => {
  const codes = Object.keys(MODEL_FAILURES).filter((code) => code !== 'MODEL_LOADING') as FaultCode[];
  expect(codes.filter((code) => faultCodes[code].fault === 'model')).toEqual([]);
});
