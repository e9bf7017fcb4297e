import { createHash } from 'node:crypto';
import { reviewBrief, type CheckId, type Outcome, type PlumblineEvent, type Review } from '@plumbline/domain';
import type { HeldStep } from '@plumbline/bus';

/** What honest workers state about an exemplary change. Ids depend on task and attempt, so that nothing fits by accident. */
export const exampleIssue = {
  title: 'Totals of an invoice are rounded twice',
  body:
    'The function total in src/price.ts rounds every line before it adds them up. ' +
    'Rounding must happen once, on the sum of all lines.\n\n- Keep the public signature of the function as it is.\n',
};
export const exampleSubmission = {
  repository: { url: 'https://git.example.org/shop.git', base: 'main' },
  issue: exampleIssue,
};
const honestQuote = 'Rounding must happen once, on the sum of all lines.';
const artifact = { digest: 'ab'.repeat(32), sizeBytes: 10, mediaType: 'application/octet-stream' };
const hunk = { id: 'H1', path: 'src/price.ts', oldStart: 10, oldLines: 3, newStart: 10, newLines: 4 };

const objectId = (...parts: readonly (string | number)[]): string =>
  createHash('sha1').update(parts.join('/')).digest('hex');

export function snapshotTaken(step: HeldStep): PlumblineEvent[] {
  const data = { step: step.id, base: objectId(step.taskId, 'base'), tree: objectId(step.taskId, 'base tree') };
  return [{ type: 'snapshot.taken', data: { ...data, objectFormat: 'sha1', pack: artifact } }];
}

export function changeProposed(step: HeldStep): PlumblineEvent[] {
  const { attempt } = step.name;
  const data = {
    step: step.id,
    attempt,
    base: step.task.snapshot?.base ?? objectId('no base'),
    head: objectId(step.taskId, attempt, 'head'),
    tree: objectId(step.taskId, attempt, 'tree'),
  };
  const more = { bundle: artifact, summary: 'rounds once', files: ['src/price.ts'] };
  return [{ type: 'change.proposed', data: { ...data, ...more } }];
}

/** Results of checks, recorded one by one, and the gate's conclusion. */
export async function gateConcluded(
  step: HeldStep,
  outcomes: Partial<Record<CheckId, Outcome>> = {},
): Promise<PlumblineEvent[]> {
  const change = step.task.attempts.at(-1)?.change;
  if (change === undefined) throw new Error('the gate was asked about an attempt without a change');
  const { attempt } = step.name;
  const { base, head, tree } = change;
  const all = { build: 'pass', tests: 'pass', scope: 'pass', ...outcomes } as Record<CheckId, Outcome>;
  for (const [check, outcome] of Object.entries(all) as [CheckId, Outcome][]) {
    const result = {
      check,
      version: 1,
      tree,
      outcome,
      summary: `${check}: ${outcome}`,
      findings: [],
      evidence: [],
      durationMs: 1,
    };
    await step.record(check, [{ type: 'check.concluded', data: { step: step.id, attempt, result } }]);
  }
  const concluded = Object.entries(all).map(([check, outcome]) => ({ check: check as CheckId, outcome }));
  const rest = { changeClass: [], languages: ['typescript'], hunks: [hunk], environment: { sandbox: 'none: a test' } };
  return [{ type: 'gate.concluded', data: { step: step.id, attempt, base, head, tree, concluded, ...rest } }];
}

/** An approval that proves that it read the issue; `overrides` make it lie. */
export function reviewConcluded(step: HeldStep, overrides: Partial<Review> = {}): PlumblineEvent[] {
  const { attempt, seat = 'concluder' } = step.name;
  const issue = step.task.submission?.issue ?? exampleIssue;
  const brief = reviewBrief(issue, { taskId: step.taskId, attempt, seat });
  const review: Review = {
    seat,
    model: 'reviewer',
    family: 'glm',
    decision: 'approve',
    clauses: brief.clauses.map(({ id }) =>
      id === brief.decoyId ? { id, status: 'not-in-issue', hunks: [] } : { id, status: 'served', hunks: ['H1'] },
    ),
    findings: [],
    quotes: [honestQuote],
    malformed: [],
    ...overrides,
  };
  const tree = step.task.attempts.at(-1)?.change?.tree ?? objectId('no tree');
  return [
    {
      type: 'review.concluded',
      data: { step: step.id, attempt, seat, tree, review, transcript: artifact, unseen: [] },
    },
  ];
}

export function changePublished(step: HeldStep): PlumblineEvent[] {
  const head = step.task.attempts.at(-1)?.change?.head ?? objectId('no head');
  const data = { step: step.id, attempt: step.name.attempt, branch: `plumbline/${step.taskId}`, head, already: false };
  return [{ type: 'change.published', data }];
}
