import { cut } from '../cut.js';
import type { ReportDocument, ReportModel, ReportTimes } from './document.js';

/** The words of a report that its renderers share. */

/** Everything that moves a cursor, ends a line, hides, or turns the direction of text. */
const unseen = /[\s\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u115f\u1160\u3164]+/gu;

/** Foreign text on one line, at most `max` characters: whatever cannot be seen becomes one space. */
export function oneLine(text: string, max = 300): string {
  return cut(text.toWellFormed().replace(unseen, ' ').trim(), max);
}

/** `12,345`, whatever the locale of the machine is. */
export const grouped = (n: number): string => String(n).replace(/\B(?=(\d{3})+$)/g, ',');

/** `1 task`, `2 tasks`. */
export const plural = (n: number, noun: string): string => `${grouped(n)} ${noun}${n === 1 ? '' : 's'}`;

/** `0.4 s`, `12 s`, `4 min 05 s`, `3 h 20 min`. */
export function lasting(ms: number): string {
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
  const minutes = Math.round(seconds / 60);
  return `${grouped(Math.floor(minutes / 60))} h ${String(minutes % 60).padStart(2, '0')} min`;
}

/** The verdicts of a report in a sentence. */
export function verdictSentence({ totals, batch }: ReportDocument): string {
  if (totals.tasks === 0) {
    if (batch === null) return 'Nothing ran.';
    if (batch.submitted === 0) return 'Nothing of this batch has been submitted.';
    const were = batch.submitted === 1 ? 'was' : 'were';
    return `Nothing of this batch in this window; ${plural(batch.submitted, 'task')} of it ${were} submitted.`;
  }
  const { go, goWaived, noGo, incomplete, none } = totals.verdicts;
  const parts: [number, string][] = [
    [go, 'GO'],
    [goWaived, 'GO-WAIVED'],
    [noGo, 'NO-GO'],
    [incomplete, 'INCOMPLETE'],
    [none, 'without a verdict'],
  ];
  const said = parts.flatMap(([n, name]) => (n === 0 ? [] : [`${grouped(n)} ${name}`])).join(', ');
  const rest = [
    totals.waitingForHuman === 0
      ? 'Nothing waits for you.'
      : `${grouped(totals.waitingForHuman)} ${totals.waitingForHuman === 1 ? 'waits' : 'wait'} for you.`,
    ...(totals.underWay === 0 ? [] : [`${grouped(totals.underWay)} still under way.`]),
  ];
  return `${plural(totals.tasks, 'task')}: ${said}. ${rest.join(' ')}`;
}

/** What the entries of a batch's file are beyond its tasks; empty when there is nothing to say. */
export function batchSentences({ batch }: ReportDocument): string[] {
  if (batch === null) return [];
  const names = (keys: readonly string[]): string =>
    oneLine(keys.slice(0, 20).join(', ')) + (keys.length > 20 ? ', …' : '');
  return [
    ...(batch.notSubmitted.length === 0
      ? []
      : [`Not submitted, of ${grouped(batch.entries ?? 0)} entries: ${names(batch.notSubmitted)}.`]),
    ...(batch.removed.length === 0 ? [] : [`Not in the file any more, and submitted: ${names(batch.removed)}.`]),
  ];
}

/** The parts of the tasks' time that are not nothing, largest first. */
export function timeParts(times: ReportTimes): { name: string; ms: number }[] {
  const names: [keyof ReportTimes, string][] = [
    ['codingMs', 'coding'],
    ['gateMs', 'gate'],
    ['reviewMs', 'review'],
    ['otherMs', 'fetching and publishing'],
    ['waitingMs', 'waiting for a model, a worker or a retry'],
    ['humanMs', 'waiting for a person'],
  ];
  return names.map(([part, name]) => ({ name, ms: times[part] })).filter(({ ms }) => ms > 0);
}

/** A number of tokens, `at least` where some answers were not counted, `not recorded` where none was. */
export function tokens(count: number | null, { answersNotCounted }: Pick<ReportModel, 'answersNotCounted'>): string {
  if (count === null) return 'not recorded';
  return answersNotCounted === 0 ? grouped(count) : `at least ${grouped(count)}`;
}

/** What the machines did wrong, a sentence each; one that says so when there was nothing. */
export function faultSentences({ faults, totals }: ReportDocument): string[] {
  const said = faults.map(({ code, meaning, retried, abandoned, tasks }) => {
    const did = [
      ...(retried === 0 ? [] : [`retried ${grouped(retried)}×`]),
      ...(abandoned === 0 ? [] : [`given up ${grouped(abandoned)}×`]),
    ].join(', ');
    return `${code} (${meaning}): ${did}, in ${plural(tasks, 'task')}.`;
  });
  if (totals.leasesLost > 0) said.push(`Workers lost ${plural(totals.leasesLost, 'lease')}; others took over.`);
  if (totals.lateResultsRefused > 0)
    said.push(`${plural(totals.lateResultsRefused, 'late result')} refused, without effect.`);
  return said.length === 0 ? ['No step had to be done again.'] : said;
}

/** Dead letters, log and receivers of notices, a sentence each. `good` false is something to look at. */
export function systemSentences({ system, totals }: ReportDocument): { text: string; good: boolean }[] {
  const { log, deadLetters, notices } = system;
  const parked = notices?.filter(({ parkedAt }) => parkedAt !== null) ?? [];
  return [
    log === null
      ? { text: 'The log was not looked at; plumb audit does.', good: false }
      : log.ok
        ? { text: `The log is whole: ${plural(log.events, 'event')}, no gap, chain intact.`, good: true }
        : {
            text: `THE LOG IS NOT WHOLE: position ${log.firstBad?.position ?? '?'}: ${oneLine(log.firstBad?.what ?? '')}.`,
            good: false,
          },
    deadLetters === null
      ? { text: 'Dead letters were not looked at; plumb dead list does.', good: false }
      : deadLetters === 0
        ? { text: 'No dead letters.', good: true }
        : { text: `${plural(deadLetters, 'dead letter')}: see plumb dead list.`, good: false },
    ...(notices === null ? [{ text: 'Receivers of notices were not looked at.', good: false }] : []),
    ...parked.map(({ target, due, why }) => ({
      text: `Notices to ${oneLine(target)} are parked (${oneLine(why ?? 'it kept failing')}), ${grouped(due)} wait: mend it, then restart the ledger.`,
      good: false,
    })),
    ...(totals.unreadEvents === 0
      ? []
      : [
          {
            text: `${plural(totals.unreadEvents, 'event')} of another version could not be read; what they say is missing here.`,
            good: false,
          },
        ]),
  ];
}
