import type { BenchResult } from './measurement.js';

/** The cells of a result, as the table on a terminal and the one in the documentation show them. */
export const headings = ['what', 'value', 'baseline', 'ratio', 'spread', 'target', 'met'] as const;

export function cellsOf(result: BenchResult): string[] {
  const { name, value, unit, baseline, ratio, spread, target, targetIs, targetOf, met } = result;
  const sign = targetIs === 'at-most' ? '≤' : '≥';
  return [
    name,
    `${grouped(value)} ${unit}`,
    baseline === undefined ? '' : `${grouped(baseline.value)} (${baseline.name})`,
    ratio === undefined ? '' : `${ratio}×`,
    `${grouped(spread.min)}–${grouped(spread.max)}`,
    target === undefined ? '' : `${sign} ${grouped(target)}${targetOf === 'ratio' ? '×' : ''}`,
    met === undefined ? '' : met ? 'yes' : 'no',
  ];
}

/** 12345 as 12,345, whatever the reader's locale. */
const grouped = (value: number): string => value.toLocaleString('en-US', { maximumFractionDigits: 4 });
