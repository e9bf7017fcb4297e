import { styleText } from 'node:util';
import { cellsOf, headings } from './columns.js';
import { unmetOf, type Report } from './document.js';

/** The report for a person: machine, one line a result, and which targets were missed. */
export function tableOf(report: Report, options: { colour: boolean }): string {
  const paint = (format: Parameters<typeof styleText>[0], text: string): string =>
    options.colour ? styleText(format, text, { validateStream: false }) : text;
  const rows = report.results.map(cellsOf);
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => (row[column] ?? '').length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  const unmet = unmetOf(report);
  return [
    paint(
      'dim',
      Object.entries(report.machine)
        .map(([what, value]) => `${what} ${value}`)
        .join(' · '),
    ),
    '',
    paint('bold', line(headings)),
    ...report.results.map((result, index) => {
      const text = line(rows[index] ?? []);
      return result.met === undefined ? text : paint(result.met ? 'green' : 'red', text);
    }),
    '',
    unmet.length === 0
      ? 'Every target was reached.'
      : paint('red', `Not reached: ${unmet.map(({ name }) => name).join(', ')}.`),
    '',
  ].join('\n');
}
