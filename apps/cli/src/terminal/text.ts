import { stripVTControlCharacters } from 'node:util';

/** No line of ours is wider, however wide the terminal is. */
export const columnsMax = 100;

// Whatever comes from repositories, models and issues may hold sequences that move the cursor or forge our own lines.
const control = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]+/g;

/** Foreign text on one line, safe for a terminal: control and direction characters become one space each run. */
export function plain(text: string): string {
  return stripVTControlCharacters(text).replace(control, ' ').replace(/ {2,}/g, ' ').trim();
}

/** `text` cut to `width` characters, with `…` in place of what is missing. */
export function cut(text: string, width: number): string {
  const points = Array.from(text);
  return points.length <= width ? text : `${points.slice(0, Math.max(0, width - 1)).join('')}…`;
}

/** `text` broken at spaces into lines of at most `width`; words that are longer are broken too. Empty text gives one empty line. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/).filter((part) => part !== '')) {
    let rest = word;
    if (line !== '' && length(line) + 1 + length(rest) <= width) {
      line = `${line} ${rest}`;
      continue;
    }
    if (line !== '') lines.push(line);
    while (length(rest) > width) {
      lines.push(Array.from(rest).slice(0, width).join(''));
      rest = Array.from(rest).slice(width).join('');
    }
    line = rest;
  }
  return line === '' && lines.length > 0 ? lines : [...lines, line];
}

/** Rows in columns two spaces apart, as wide as their widest cell; the last column is cut so that no line exceeds {@link columnsMax}. */
export function columns(rows: readonly (readonly string[])[], indent = 2): string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, length(cell))));
  return rows.map((row) => {
    let line = ' '.repeat(indent);
    row.forEach((cell, at) => {
      const last = at === row.length - 1;
      const fitted = last ? cut(cell, Math.max(8, columnsMax - length(line))) : cell;
      line += last ? fitted : fitted + ' '.repeat((widths[at] ?? 0) - length(fitted) + 2);
    });
    return line.trimEnd();
  });
}

/** Characters as a terminal shows them, colours not counted. */
export function length(text: string): number {
  return Array.from(stripVTControlCharacters(text)).length;
}

/** `0.4 s`, `12.3 s`, `4 min 05 s`, `3 h 20 min`. */
export function duration(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
  return `${Math.floor(seconds / 3600)} h ${String(Math.floor((seconds % 3600) / 60)).padStart(2, '0')} min`;
}

/** `812 B`, `4.2 KiB`, `1.5 GiB`. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = count;
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at === 0 ? value : value.toFixed(1)} ${units[at]}`;
}
