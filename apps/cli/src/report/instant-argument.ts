import { badInput } from '../failure.js';

const units: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const meant =
  'Give an instant (2026-11-21T06:00:00Z), a local day or time (2026-11-20, 2026-11-20T18:00), today, yesterday 18:00, or an age (12h, 90m, 3d).';

/**
 * The instant an option means, in ISO 8601 UTC. Words and times without a zone are local: whoever types `today` means their own. Throws
 * CliError for what is none.
 */
export function instantArgument(option: string, given: string, now: Date): string {
  const text = given.trim();
  const date = ago(text, now) ?? dayWord(text, now) ?? written(text);
  if (date === undefined || Number.isNaN(date.getTime()))
    throw badInput(`${option} is ${JSON.stringify(given.slice(0, 80))}, which is no instant.`, meant);
  return date.toISOString();
}

function ago(text: string, now: Date): Date | undefined {
  const [, count = '', unit = ''] = /^(\d{1,6})\s*([smhd])$/.exec(text) ?? [];
  const ms = units[unit];
  return ms === undefined ? undefined : new Date(now.getTime() - Number(count) * ms);
}

function dayWord(text: string, now: Date): Date | undefined {
  const [, word = '', hours = '0', minutes = '0'] =
    /^(now|today|yesterday)(?:\s+(\d{1,2}):(\d{2}))?$/i.exec(text) ?? [];
  if (word === '' || Number(hours) > 23 || Number(minutes) > 59) return undefined;
  if (word.toLowerCase() === 'now') return text.length === 3 ? now : undefined;
  const back = word.toLowerCase() === 'yesterday' ? 1 : 0;
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() - back, Number(hours), Number(minutes));
}

function written(text: string): Date | undefined {
  const parts =
    /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?$/i.exec(text);
  if (parts === null) return undefined;
  const [, year = '', month = '', day = '', hour] = parts;
  // Dates that do not exist would be taken for the days after them.
  const lastDay = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate();
  if (Number(month) < 1 || Number(month) > 12 || Number(day) < 1 || Number(day) > lastDay) return undefined;
  // A day alone would be read as UTC.
  return hour === undefined
    ? new Date(Number(year), Number(month) - 1, Number(day))
    : new Date(text.replace(' ', 'T').toUpperCase());
}
