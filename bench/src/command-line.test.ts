import { describe, expect, it } from 'vitest';
import { parseCommandLine } from './command-line.js';
import { main } from './program.js';

describe('the command line', () => {
  it('takes one benchmark or all of them', () => {
    expect(parseCommandLine(['append', '--json', '--strict', '--seconds', '0.5', '--rounds', '2'])).toEqual({
      outcome: 'run',
      command: {
        benches: ['append'],
        title: 'append',
        format: 'json',
        strict: true,
        load: { seconds: 0.5, rounds: 2, events: 100_000 },
      },
    });
    expect(parseCommandLine(['all', '--markdown', '--write', 'page.md', '--dir', '/data'])).toMatchObject({
      command: {
        benches: ['append', 'latency', 'rebuild', 'relay'],
        format: 'markdown',
        write: 'page.md',
        dir: '/data',
      },
    });
    expect(parseCommandLine(['--help'])).toEqual({ outcome: 'help' });
  });

  it.each([
    [[], 'expected one of append, latency, rebuild, relay or all, got nothing'],
    [['everything'], 'got everything'],
    [['append', 'relay'], 'got append relay'],
    [['append', '--fast'], '--fast'],
    [['append', '--json', '--markdown'], 'exclude each other'],
    [['append', '--seconds', '0'], '--seconds: expected 0.05 to 600, got 0'],
    [['append', '--seconds', ' '], '--seconds'],
    [['append', '--rounds', '1.5'], '--rounds: expected a whole number'],
    [['append', '--events', '99'], '--events: expected a whole number from 100'],
  ])('refuses %j', (args, message) => {
    expect(parseCommandLine(args)).toMatchObject({
      outcome: 'refused',
      message: expect.stringContaining(message) as string,
    });
  });

  it('ends with 2 when it is used wrongly', async () => {
    expect(await main(['nothing'])).toBe(2);
  });
});
