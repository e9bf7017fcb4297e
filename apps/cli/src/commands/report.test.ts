import { describe, expect, it } from 'vitest';
import type { Session } from '../session.js';
import { createPalette } from '../terminal/palette.js';
import { report } from './report.js';

/** Of a system that is not there: whatever gets as far as asking it fails otherwise. */
const session: Session = {
  env: { PLUMB_API_URL: 'http://127.0.0.1:1', PLUMB_API_TOKEN: 'token' },
  cwd: import.meta.dirname,
  json: true,
  palette: createPalette(false),
  progress: { step: (_title, work) => work(), makeWay: () => undefined },
  signal: new AbortController().signal,
  say: () => undefined,
  document: () => undefined,
  note: () => undefined,
};

describe('the window of plumb report', () => {
  it.each([
    ['before it begins', { since: '1h', until: '2h' }],
    ['in the future', { since: '2999-01-01', until: '2999-01-02' }],
    ['in the future, without an end', { since: '2999-01-01' }],
  ])('is refused when it ends %s', async (_what, options) => {
    await expect(report(session, [], options)).rejects.toThrow('ends before it begins');
  });

  it('may end in the future', async () => {
    await expect(report(session, [], { since: '1h', until: '2999-01-02' })).rejects.toThrow('cannot be reached');
  });
});
