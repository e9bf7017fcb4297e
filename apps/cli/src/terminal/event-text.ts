import type { EventDocument } from '../ledger/documents.js';
import { eventLine, type EventLine } from '../ledger/event-line.js';
import type { Palette } from './palette.js';
import { columnsMax, cut } from './text.js';

/** Paints the text of an event by its tone. */
export function paintTone(palette: Palette, line: EventLine): string {
  switch (line.tone) {
    case 'good':
      return palette.good(line.text);
    case 'bad':
      return palette.bad(line.text);
    case 'warn':
      return palette.warn(line.text);
    case 'quiet':
      return palette.dim(line.text);
    case 'plain':
      return line.text;
  }
}

/** `14:03:22  gate.concluded  clean room: 14 checks, 0 failed`, with `prefix` in front, at most 100 columns. */
export function eventText(palette: Palette, event: EventDocument, prefix = ''): string {
  const time = /T(\d\d:\d\d:\d\d)/.exec(event.at)?.[1] ?? event.at.slice(0, 8);
  const type = cut(event.type, 26).padEnd(26);
  const line = eventLine(event);
  const text = cut(line.text, columnsMax - prefix.length - time.length - type.length - 4);
  return `${prefix}${palette.dim(time)}  ${palette.accent(type)}  ${paintTone(palette, { ...line, text })}`;
}
