import type { TestRun } from '../runners/run-node-tests.js';
import type { Check, CheckContext, Conclusion } from './check.js';
import { compareRuns, lead } from './compare-runs.js';

/** Whether the whole suite passes on the change, and still holds every test that base passed. */
export const testsCheck: Check = {
  id: 'tests',
  version: 2,
  rule:
    "Base's test command, run on the change's files under base's configuration: every test passes, every test that passed on base still " +
    'runs and passes, at least one test runs, a canary made by the harness fails, no test file was rewritten, and report, totals, exit status and files agree.',
  async run(context) {
    const { profile, workbench } = context;
    if (profile.tests.kind === 'not-runnable')
      return { outcome: 'unknown', summary: `${profile.tests.why}. ${profile.tests.hint}` };
    const head = await workbench.tests('head');
    if (head === null) return { outcome: 'unknown', summary: 'the tests were not run: the build failed' };
    const base = await workbench.tests('base');
    const settled = head.kind === 'exceeded' && base?.kind === 'reported' ? await workbench.testsAgain() : head;
    const conclusion = compareRuns(settled, base);
    const composed = await workbench.composed();
    const note =
      composed.replaced.length === 0
        ? ''
        : `${composed.replaced.length} file(s) of the harness were run as base has them: ${composed.replaced.join(', ')}\n`;
    return { ...conclusion, evidence: await evidenceOf(context, settled, composed.tree, note, conclusion) };
  },
};

async function evidenceOf(context: CheckContext, run: TestRun, composed: string, note: string, conclusion: Conclusion) {
  const report = {
    ...{ tree: context.subject.tree, composedTree: composed, note, outcome: conclusion.outcome, kind: run.kind },
    ...(run.kind === 'reported' ? { node: run.node, distrust: run.distrust, tests: run.tests } : { what: run.what }),
  };
  const kept = [await context.keep(JSON.stringify(report), 'application/json')];
  if (conclusion.outcome !== 'pass') kept.push(await context.keep(`${lead(run)}\n${run.log}`, 'text/plain'));
  return kept.filter((ref) => ref !== null);
}
