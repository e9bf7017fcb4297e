import { describe, expect, it } from 'vitest';
import { parseOptions } from './options.js';

describe('parseOptions', () => {
  it('has defaults for everything', () => {
    expect(parseOptions([])).toEqual({ seed: '1', tasks: 24, json: false, list: false, keep: false });
  });

  it('reads what it is given', () => {
    const args = ['--seed', '9', '--faults', '1000', '--tasks', '200', '--only', 'nats-kill', '--json', '--keep'];
    expect(parseOptions(args)).toEqual({
      ...{ seed: '9', faults: 1000, tasks: 200, only: 'nats-kill', json: true, list: false, keep: true },
    });
  });

  it.each([
    [['--faults', '0'], /--faults: got "0", expected a whole number from 1/],
    [['--tasks', 'many'], /--tasks: got "many"/],
    [['--only', 'chaos'], /--only: got "chaos", expected a kind of fault \(kill, .*or a failpoint \(append\.received/],
    [['--seeds', '1'], /--seeds/],
    [['more'], /more/],
  ])('refuses %j', (args, message) => expect(parseOptions(args)).toMatch(message));
});
