import { scopeCheck as judgeScope } from '@plumbline/domain';
import type { FileDiff } from '@plumbline/repo';
import type { Check } from './check.js';

/** Whether the change touches what its issue names. The rule itself lives in the domain, where reviews use it too. */
export const scopeCheck: Check = {
  id: 'scope',
  version: 2,
  rule: 'When the issue names files of base, the change touches at least one of them, or the test of one, with more than permissions or white space around lines.',
  async run({ issue, basePaths, changes }) {
    if (issue === null)
      return { outcome: 'not-applicable', summary: 'there is no issue', predicate: 'no issue was given' };
    const { outcome, summary, predicate, named } = judgeScope(
      issue,
      basePaths,
      changes.filter(says).map(({ path }) => path),
    );
    const findings =
      outcome === 'fail'
        ? named.map((path) => ({ path, message: 'named by the issue, not touched by the change' }))
        : [];
    return { outcome, summary, findings, ...(predicate === undefined ? {} : { predicate }) };
  },
};

/** Languages whose indentation means nothing. */
const freelyIndented = /\.([cm]?[jt]sx?|go|rs|java|kt|scala|c|h|cc|cpp|hpp|cs|swift|php|css|scss|less|json)$/i;

/** Whether a changed file says anything else than before: permissions, blank lines, ends of lines and indentation alone serve no issue. */
function says({ path, status, binary, oldBlob, newBlob, hunks }: FileDiff): boolean {
  if (status === 'D' || status === 'T' || binary) return true;
  if (oldBlob === newBlob) return false;
  const side = (mark: string): string[] =>
    hunks
      .flatMap(({ lines }) => lines)
      .filter((line) => line.startsWith(mark))
      .map((line) => line.slice(1).replace(/[\s\u0085\u200b-\u200d\u2060\ufeff]+$/, ''))
      .map((line) => (freelyIndented.test(path) ? line.trimStart() : line))
      .filter((line) => line !== '');
  return side('-').join('\n') !== side('+').join('\n');
}
