import { describe, expect, it } from 'vitest';
import { BusError, describeError, retryOf } from './errors.js';

describe('errors', () => {
  it('say whether to try again; everything else is a bug', () => {
    expect(retryOf(new BusError('timeout', 'x', { retry: 'later', mend: 'wait' }))).toBe('later');
    expect(retryOf(Object.assign(new Error('x'), { retry: 'never' }))).toBe('never');
    for (const bug of [
      new TypeError('x'),
      Object.assign(new Error('x'), { retry: true }),
      { retry: 'later' },
      null,
      'x',
    ]) {
      expect(retryOf(bug)).toBe('bug');
    }
  });

  it('are described in one bounded line', () => {
    expect(describeError(new TypeError('a\nb'))).toBe('TypeError: a b');
    expect(describeError('boom')).toBe('thrown value: boom');
    expect(describeError(new Error('x'.repeat(2_000)))).toHaveLength(500);
  });
});
