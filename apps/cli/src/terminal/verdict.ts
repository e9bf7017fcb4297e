import type { Palette } from './palette.js';
import { columnsMax, plain, wrap } from './text.js';

/** A verdict in its colour. */
export function paintVerdict(palette: Palette, verdict: string): string {
  if (verdict === 'GO' || verdict === 'GO-WAIVED') return palette.good(verdict);
  return verdict === 'NO-GO' ? palette.bad(verdict) : palette.warn(verdict);
}

/** Reasons as lines: the check's name in front, its summary wrapped beside it. */
export function reasonLines(
  palette: Palette,
  reasons: readonly { readonly check: string; readonly summary: string }[],
  indent = 2,
): string[] {
  const width = Math.max(0, ...reasons.map(({ check }) => check.length)) + 2;
  return reasons.flatMap(({ check, summary }) =>
    wrap(plain(summary), columnsMax - indent - width).map((line, at) => {
      const name = at === 0 ? palette.bold(check.padEnd(width)) : ' '.repeat(width);
      return ' '.repeat(indent) + name + line;
    }),
  );
}
