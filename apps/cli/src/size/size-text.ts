import type { SizeComponents, SizeDocument } from '@plumbline/domain';
import type { Palette } from '../terminal/palette.js';
import { bytes, columns, columnsMax, plain, wrap } from '../terminal/text.js';

const names: Readonly<Record<keyof SizeComponents, string>> = {
  weights: 'weights',
  kvCache: 'KV cache',
  recurrentState: 'recurrent state',
  compute: 'compute buffer',
  host: 'host caches, as they fill up',
  projector: 'projector',
  draft: 'draft model',
  overhead: 'process and bookkeeping',
};
const barColumns = 28;

/** A size for people: parts with bars, margin and total, the flags that make it true, and how it came about. */
export function sizeLines(document: SizeDocument, palette: Palette): string[] {
  const { components, total, margin } = document;
  const title = `${palette.bold(plain(document.model.source))}${document.model.architecture === null ? '' : `  ${document.model.architecture}`}`;
  if (components === null || total === null || margin === null)
    return [title, '', ...refusalLines(document, palette), '', ...chainLines(document, palette)];
  const parts = (Object.keys(names) as (keyof SizeComponents)[]).filter((part) => components[part] > 0);
  const row = (name: string, count: number): string[] => [
    name,
    bytes(count).padStart(10),
    palette.accent(bar(count, total)),
  ];
  return [
    title,
    '',
    ...columns([...parts.map((part) => row(names[part], components[part])), row('margin', margin)]),
    ...columns([[palette.bold('total'.padEnd(names.host.length)), palette.bold(bytes(total).padStart(10))]]),
    '',
    `  ${confidenceText(document)}`,
    ...(document.flags.length === 0 ? [] : ['', '  It holds for a server started with', ...flagLines(document.flags)]),
    '',
    ...chainLines(document, palette),
  ];
}

function bar(count: number, total: number): string {
  const eighths = Math.round((count / Math.max(1, total)) * barColumns * 8);
  const rest = ' ▏▎▍▌▋▊▉'[eighths % 8] ?? '';
  return ('█'.repeat(Math.floor(eighths / 8)) + rest).trimEnd() || '▏';
}

function confidenceText(document: SizeDocument): string {
  switch (document.confidence) {
    case 'exact':
      return 'Weights and caches are exact, the compute buffer is an upper bound.';
    case 'bounded':
      return 'Weights are exact; parts of the rest are bounds that were not checked against a server.';
    case 'declared':
    case null:
      return 'Somebody said so; nothing checks it.';
  }
}

/** Options stay with their values. */
function flagLines(flags: readonly string[]): string[] {
  const pairs: string[] = [];
  for (const flag of flags) {
    if (flag.startsWith('-') || pairs.length === 0) pairs.push(plain(flag));
    else pairs.push(`${pairs.pop() ?? ''}\u00a0${plain(flag)}`);
  }
  return wrap(pairs.join(' ').replaceAll('\u00a0', '~~'), columnsMax - 4).map(
    (line) => `    ${line.replaceAll('~~', ' ')}`,
  );
}

function refusalLines(document: SizeDocument, palette: Palette): string[] {
  const { code = 'no-source', message = '' } = document.refusal ?? {};
  const lines = wrap(plain(message), columnsMax - 4);
  return [`${palette.bad('✗')} ${palette.bold('not sized')}  ${code}`, ...lines.map((line) => `    ${line}`)];
}

function chainLines(document: SizeDocument, palette: Palette): string[] {
  const mark = { used: palette.good('✓'), failed: palette.bad('✗'), skipped: palette.dim('·') };
  return document.chain.flatMap(({ source, outcome, reason }) => {
    const lines = wrap(plain(reason), columnsMax - 22);
    return lines.map((line, at) => {
      const head = at === 0 ? `${mark[outcome]} ${source.padEnd(16)}` : ' '.repeat(18);
      return `  ${head} ${outcome === 'skipped' ? palette.dim(line) : line}`;
    });
  });
}
