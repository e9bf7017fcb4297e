import type { CheckDocument } from '@plumbline/domain';
import { exitCodes } from '../failure.js';
import type { Palette } from '../terminal/palette.js';
import { columns, columnsMax, cut, duration, plain } from '../terminal/text.js';
import { paintVerdict, reasonLines } from '../terminal/verdict.js';

const findingsShown = 5;

/** The exit code of a verdict. */
export function exitCodeOfVerdict(verdict: CheckDocument['verdict']): number {
  if (verdict === 'GO' || verdict === 'GO-WAIVED') return exitCodes.ok;
  return verdict === 'NO-GO' ? exitCodes.refused : exitCodes.incomplete;
}

/** A judged change for people: every check that applied, what was found, the verdict last, where the eye is. */
export function checkLines(document: CheckDocument, palette: Palette): string[] {
  const { subject, checks, reasons, advice, verdict, environment, durationMs } = document;
  const marks = {
    pass: palette.good('✓'),
    fail: palette.bad('✗'),
    unknown: palette.warn('?'),
    'not-applicable': palette.dim('–'),
  };
  const applied = checks.filter(({ outcome }) => outcome !== 'not-applicable');
  const skipped = checks.length - applied.length;
  return [
    `${palette.bold(subject.base.slice(0, 10))} → ${palette.bold(subject.head.slice(0, 10))}  ${palette.dim(plain(subject.changeClass.join(', ')))}`,
    ...columns(applied.map(({ check, outcome, summary }) => [`${marks[outcome]} ${check}`, plain(summary ?? outcome)])),
    ...(skipped === 0 ? [] : [palette.dim(`  – ${skipped} checks do not apply`)]),
    ...checks.flatMap(({ check, outcome, findings }) =>
      outcome === 'fail' || outcome === 'unknown' ? findingLines(check, findings, palette) : [],
    ),
    ...(advice.length === 0
      ? []
      : ['', palette.bold('Advice'), ...advice.map((text) => `  ${cut(plain(text), columnsMax - 2)}`)]),
    '',
    `${paintVerdict(palette, verdict)}  ${palette.dim(`${duration(durationMs)}, sandbox ${plain(environment.sandbox)}`)}`,
    ...reasonLines(palette, reasons),
  ];
}

function findingLines(
  check: string,
  findings: CheckDocument['checks'][number]['findings'],
  palette: Palette,
): string[] {
  const more = findings.length - findingsShown;
  const shown = findings.slice(0, findingsShown).map(({ path, line, message }) => {
    const place = path === undefined ? check : `${plain(path)}${line === undefined ? '' : `:${line}`}`;
    return `  ${palette.accent(cut(place, 40))}  ${cut(plain(message), columnsMax - 4 - Math.min(40, place.length))}`;
  });
  return [...shown, ...(more > 0 ? [palette.dim(`  and ${more} more of ${check}`)] : [])];
}
