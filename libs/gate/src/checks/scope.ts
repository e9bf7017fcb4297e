import { scopeCheck as judgeScope } from '@plumbline/domain';
import type { Check } from './check.js';

/** Whether the change touches what its issue names. The rule itself lives in the domain, where reviews use it too. */
export const scopeCheck: Check = {
  id: 'scope',
  version: 1,
  rule: 'When the issue names files of base, the change touches at least one of them, or the test of one.',
  async run({ issue, basePaths, changes }) {
    if (issue === null)
      return { outcome: 'not-applicable', summary: 'there is no issue', predicate: 'no issue was given' };
    const { outcome, summary, predicate, named } = judgeScope(
      issue,
      basePaths,
      changes.map(({ path }) => path),
    );
    const findings =
      outcome === 'fail'
        ? named.map((path) => ({ path, message: 'named by the issue, not touched by the change' }))
        : [];
    return { outcome, summary, findings, ...(predicate === undefined ? {} : { predicate }) };
  },
};
