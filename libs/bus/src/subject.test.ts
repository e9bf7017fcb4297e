import { describe, expect, it } from 'vitest';
import { isInbox, isToken } from './subject.js';

describe('subjects', () => {
  it.each(['_INBOX.abc', '_INBOX.abc.1', '_INBOX_coder.abc.1', '_INBOX_node-agent.x', '_R_.abc.def'])(
    '%s is an inbox',
    (subject) => {
      expect(isInbox(subject)).toBe(true);
    },
  );

  it.each([
    undefined,
    '',
    '_INBOX',
    '_INBOX.',
    '_INBOX_.x',
    '_INBOX_coder',
    'log.x',
    '_INBOX.>',
    '_INBOX.a b',
    'x._INBOX.a',
  ])('%j is none', (subject) => {
    expect(isInbox(subject)).toBe(false);
  });

  it('a token has no dot, wildcard or space', () => {
    expect(['t1', 'A_b-9'].every(isToken)).toBe(true);
    expect(['', 'a.b', '*', '>', 'a b', 'ä', 'x'.repeat(129)].some(isToken)).toBe(false);
  });
});
