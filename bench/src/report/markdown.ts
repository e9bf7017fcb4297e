import { cellsOf, headings } from './columns.js';
import type { Report } from './document.js';

const begin = '<!-- figures: npm run -s bench -- all --write docs/benchmarks.md -->';
const end = '<!-- end of figures -->';

/** The report as markdown, between the marks by which {@link withFigures} finds it again. */
export function markdownOf(report: Report, measuredAt: Date): string {
  const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    begin,
    '',
    `Measured ${measuredAt.toISOString().slice(0, 10)} on this machine: ${Object.entries(report.machine)
      .map(([what, value]) => `${what} ${value}`)
      .join(' · ')}.`,
    '',
    row(headings),
    row(headings.map(() => '---')),
    ...report.results.map((result) => row(cellsOf(result))),
    '',
    end,
  ].join('\n');
}

/** The page with its figures replaced. Throws when the page has no place for them. */
export function withFigures(page: string, figures: string): string {
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from)
    throw new Error(`the page has no lines "${begin}" and "${end}": put them where the figures belong`);
  return page.slice(0, from) + figures + page.slice(to + end.length);
}
