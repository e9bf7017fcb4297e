import { reportMarkdown, reportText, type ReportDocument, type ReportTone } from '@plumbline/domain';
import type { Session } from '../session.js';
import { columnsMax } from '../terminal/text.js';
import type { Palette } from '../terminal/palette.js';

export const reportFormats = ['text', 'markdown', 'json'] as const;
export type ReportFormat = (typeof reportFormats)[number];

/** Prints a report: text in colours on a terminal, Markdown, or the document itself. */
export function showReport(session: Session, report: ReportDocument, format: ReportFormat): void {
  if (session.json) session.document(report);
  else if (format === 'json') session.say(JSON.stringify(report, null, 2));
  else if (format === 'markdown') session.say(reportMarkdown(report, { at: localTime }).trimEnd());
  else {
    const paint = (tone: ReportTone, text: string): string => tones[tone](session.palette, text);
    for (const line of reportText(report, { at: localTime, paint, columns: columnsMax })) session.say(line);
  }
}

const tones: Readonly<Record<ReportTone, (palette: Palette, text: string) => string>> = {
  title: (palette, text) => palette.bold(text),
  good: (palette, text) => palette.good(text),
  bad: (palette, text) => palette.bad(text),
  warn: (palette, text) => palette.warn(text),
  quiet: (palette, text) => palette.dim(text),
  command: (palette, text) => palette.accent(text),
};

/** `2026-11-21 06:30 +01:00`: local, and so that nobody has to guess which. */
export function localTime(instant: string): string {
  const date = new Date(instant);
  const two = (n: number): string => String(n).padStart(2, '0');
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())} ${zone}`;
}
