import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/** Paints text, or leaves it as it is. */
export interface Palette {
  readonly enabled: boolean;
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  warn(text: string): string;
  accent(text: string): string;
  /** A colour of its own for the n-th of several things that are told apart by it. */
  nth(n: number, text: string): string;
}

const distinct: readonly Style[] = ['cyan', 'magenta', 'blue', 'yellow'];

/** Colours only for a terminal, and never against NO_COLOR (https://no-color.org) or a dumb terminal. */
export function wantsColour(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv): boolean {
  const forbidden = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return stream.isTTY === true && !forbidden;
}

/** A palette that paints when `enabled`; otherwise every function returns its text unchanged. */
export function createPalette(enabled: boolean): Palette {
  const paint = (style: Style) => (text: string) =>
    enabled && text !== '' ? styleText(style, text, { validateStream: false }) : text;
  return {
    enabled,
    bold: paint('bold'),
    dim: paint('dim'),
    good: paint(['bold', 'green']),
    bad: paint(['bold', 'red']),
    warn: paint('yellow'),
    accent: paint('cyan'),
    nth: (n, text) => paint(distinct[n % distinct.length] ?? 'cyan')(text),
  };
}
