import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exitCodes } from '../failure.js';
import { instantArgument } from './instant-argument.js';

const before = process.env['TZ'];
beforeEach(() => void (process.env['TZ'] = 'Europe/Berlin'));
afterEach(() => {
  if (before === undefined) delete process.env['TZ'];
  else process.env['TZ'] = before;
});
/** 07:30 on a Saturday in Berlin. */
const now = new Date('2026-11-21T06:30:00.000Z');

describe('an instant on the command line', () => {
  it.each([
    ['2026-11-20T18:00:00Z', '2026-11-20T18:00:00.000Z'],
    ['2026-11-20T18:00:00.5+02:00', '2026-11-20T16:00:00.500Z'],
    ['2026-11-20T18:00', '2026-11-20T17:00:00.000Z'],
    ['2026-07-20 18:00', '2026-07-20T16:00:00.000Z'],
    ['2026-11-20', '2026-11-19T23:00:00.000Z'],
    ['today', '2026-11-20T23:00:00.000Z'],
    ['Yesterday 18:00', '2026-11-20T17:00:00.000Z'],
    ['yesterday', '2026-11-19T23:00:00.000Z'],
    ['now', '2026-11-21T06:30:00.000Z'],
    ['12h', '2026-11-20T18:30:00.000Z'],
    ['90 m', '2026-11-21T05:00:00.000Z'],
    ['3d', '2026-11-18T06:30:00.000Z'],
  ])('%s is %s', (given, wanted) => {
    expect(instantArgument('--since', given, now)).toBe(wanted);
  });

  it('keeps the hour of a person over the change of clocks', () => {
    // In the night to 25 October clocks went from 3 back to 2: 18:00 the day before was 17 hours before 10:00.
    const morning = new Date('2026-10-25T09:00:00.000Z');
    expect(instantArgument('--since', 'yesterday 18:00', morning)).toBe('2026-10-24T16:00:00.000Z');
  });

  it.each([
    '',
    'tomorrow',
    '2026-02-30',
    '2026-13-01',
    '2026-11-20T25:00',
    'today 25:00',
    'now 12:00',
    '12',
    '-3h',
    '1e9h',
    '9999999h',
    'x'.repeat(500),
  ])('is not %j', (given) => {
    let error: unknown;
    try {
      instantArgument('--since', given, now);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ exitCode: exitCodes.usage, message: expect.stringContaining('--since') as string });
  });
});
