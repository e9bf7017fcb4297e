import { adjudicate, effectOf, type CheckDocument, type Issue, type Policy } from '@plumbline/domain';
import type { GateRun } from './run-gate.js';

/**
 * The document of `plumb check` (schema `plumbline.check/1`): a gate's results, judged under a policy without a panel. Pure. Empty
 * reasons mean GO and only that.
 */
export function checkDocument(
  run: GateRun,
  given: { readonly policy: Policy; readonly issue: Issue | null; readonly durationMs: number },
): CheckDocument {
  const policy: Policy = { ...given.policy, panel: { seats: [], approvalsMin: 0, familiesMin: 0 } };
  const judgement = adjudicate(policy, {
    ...{ subject: run.subject, taskId: '', attempt: 1, issue: given.issue ?? { title: '', body: '' } },
    gate: { tree: run.subject.tree, concluded: run.concluded, hunks: run.hunks },
    ...{ checks: run.results, reviews: [], unreviewed: [] },
  });
  const { sandbox = 'none', isolation = '', node = '' } = run.environment;
  return {
    schema: 'plumbline.check/1',
    verdict: judgement.verdict,
    subject: { ...run.subject, changeClass: [...run.changeClass], languages: [...run.languages] },
    reasons: judgement.reasons,
    checks: run.results.map(({ check, outcome, durationMs, summary, predicate, findings }) => ({
      ...{ check, outcome, effect: effectOf(policy, check), durationMs, summary, findings },
      ...(predicate === undefined ? {} : { predicate }),
    })),
    advice: judgement.advice,
    environment: { sandbox, isolation, toolchains: { node } },
    durationMs: given.durationMs,
  };
}
