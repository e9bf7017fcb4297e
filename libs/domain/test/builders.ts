import type {
  CheckResult,
  EventData,
  Facts,
  HunkRef,
  PlumblineEvent,
  Policy,
  Review,
  SeatedModel,
  StepState,
  TaskState,
} from '../src/index.js';
import { reviewBrief, shippedPolicies } from '../src/index.js';
import type { FaultCode } from '../src/index.js';

/** Plain examples with overrides, for tests only. */
export const taskId = `t-${'0'.repeat(25)}1`;
export const oid = (digit: string): string => digit.repeat(40);
export const digest = 'ab'.repeat(32);
export const artifact = { digest, sizeBytes: 10, mediaType: 'application/octet-stream' };

export const anIssue = {
  title: 'Totals of an invoice are rounded twice',
  body:
    'The function `total` in src/price.ts rounds every line before it adds them up. ' +
    'Rounding must happen once, on the sum of all lines.\n\n- Keep the public signature of the function as it is.\n',
};
export const honestQuote = 'Rounding must happen once, on the sum of all lines.';

export const aPolicy = (overrides: Partial<Policy> = {}): Policy => ({
  ...shippedPolicies.strict,
  required: ['build', 'tests'],
  ...overrides,
});

export const aModel = (overrides: Partial<SeatedModel> = {}): SeatedModel => ({
  name: 'coder-30b',
  family: 'qwen',
  tier: 1,
  node: 'studio',
  endpoint: 'http://127.0.0.1:8080/v1',
  grantId: `${taskId}.coding.1.1`,
  ...overrides,
});

export const aSubmission = (overrides: Partial<EventData<'task.submitted'>> = {}): EventData<'task.submitted'> => ({
  taskId,
  source: 'plumb',
  submissionId: 's-1',
  contentDigest: digest,
  repository: { url: 'https://example.org/shop.git', base: 'main' },
  issue: anIssue,
  policy: aPolicy(),
  priority: 'normal',
  publish: 'branch',
  ...overrides,
});

export const aHunk = (overrides: Partial<HunkRef> = {}): HunkRef => ({
  id: 'H1',
  path: 'src/price.ts',
  oldStart: 10,
  oldLines: 3,
  newStart: 10,
  newLines: 4,
  ...overrides,
});

export const aResult = (overrides: Partial<CheckResult> = {}): CheckResult => ({
  check: 'tests',
  version: 1,
  tree: oid('c'),
  outcome: 'pass',
  summary: 'all tests pass',
  findings: [],
  evidence: [],
  durationMs: 5,
  ...overrides,
});

/** An approval that proves that it read the issue, as the brief of its seat asks for. */
export function anApproval(
  overrides: Partial<Review> = {},
  context: { taskId: string; attempt: number; issue: { title: string; body: string } } = {
    taskId,
    attempt: 1,
    issue: anIssue,
  },
): Review {
  const seat = overrides.seat ?? 'concluder';
  const brief = reviewBrief(context.issue, { taskId: context.taskId, attempt: context.attempt, seat });
  return {
    seat,
    model: 'reviewer-32b',
    family: 'glm',
    decision: 'approve',
    clauses: brief.clauses.map(({ id }, index) =>
      id === brief.decoyId
        ? { id, status: 'not-in-issue', hunks: [] }
        : index % 2 === 0
          ? { id, status: 'served', hunks: ['H1'] }
          : { id, status: 'context', hunks: [] },
    ),
    findings: [],
    quotes: [honestQuote],
    malformed: [],
    ...overrides,
  };
}

export const someFacts = (overrides: Partial<Facts> = {}): Facts => {
  const tree = oid('c');
  const checks = [aResult({ check: 'build', summary: 'builds' }), aResult()];
  return {
    subject: { base: oid('a'), head: oid('b'), tree },
    taskId,
    attempt: 1,
    issue: anIssue,
    gate: { tree, concluded: checks.map(({ check, outcome }) => ({ check, outcome })), hunks: [aHunk()] },
    checks,
    reviews: [{ tree, review: anApproval() }],
    unreviewed: [],
    ...overrides,
  };
};

/** The tree of a try's change: different for every attempt, so that evidence of one can be told from another's. */
export const treeOf = (attempt: number): string => oid((attempt % 10).toString());

/** The facts of a worker that succeeds at a step. `outcomes` are those of the checks, `review` what the reviewer says. */
export function successOf(
  state: TaskState,
  step: StepState,
  options: { tests?: 'pass' | 'fail' | 'unknown'; review?: Partial<Review> } = {},
): PlumblineEvent[] {
  const { id, attempt } = step;
  const base = oid('a');
  switch (step.kind) {
    case 'snapshot':
      return [
        { type: 'snapshot.taken', data: { step: id, base, tree: oid('d'), objectFormat: 'sha1', pack: artifact } },
      ];
    case 'coding':
      return [
        {
          type: 'change.proposed',
          data: {
            step: id,
            attempt,
            base,
            head: oid('e'),
            tree: treeOf(attempt),
            bundle: artifact,
            summary: 'done',
            files: ['src/price.ts'],
          },
        },
      ];
    case 'gating': {
      const tree = treeOf(attempt);
      const results = [
        aResult({ check: 'build', tree, summary: 'builds' }),
        aResult({ check: 'tests', tree, outcome: options.tests ?? 'pass', summary: 'tests were run' }),
      ];
      return [
        ...results.map((result): PlumblineEvent => ({ type: 'check.concluded', data: { step: id, attempt, result } })),
        {
          type: 'gate.concluded',
          data: {
            step: id,
            attempt,
            base,
            head: oid('e'),
            tree,
            concluded: results.map(({ check, outcome }) => ({ check, outcome })),
            changeClass: ['behaviour'],
            languages: ['typescript'],
            hunks: [aHunk()],
            environment: { sandbox: 'bubblewrap' },
          },
        },
      ];
    }
    case 'review': {
      const seat = step.seat ?? 'concluder';
      const context = { taskId: state.submission?.taskId ?? taskId, attempt, issue: anIssue };
      const review = anApproval({ seat, ...options.review }, context);
      return [
        {
          type: 'review.concluded',
          data: { step: id, attempt, seat, tree: treeOf(attempt), review, transcript: artifact, unseen: [] },
        },
      ];
    }
    case 'publishing':
      return [
        {
          type: 'change.published',
          data: { step: id, attempt, branch: `plumbline/${taskId}`, head: oid('e'), already: false },
        },
      ];
  }
}

/** The fact of a worker that fails at a step. */
export function failureOf(step: StepState, code: FaultCode, detail = 'it broke'): PlumblineEvent {
  const { id, attempt } = step;
  switch (step.kind) {
    case 'snapshot':
      return { type: 'snapshot.failed', data: { step: id, code, detail } };
    case 'coding':
      return { type: 'attempt.ended', data: { step: id, attempt, code, detail } };
    case 'gating':
      return { type: 'gate.failed', data: { step: id, attempt, code, detail } };
    case 'review':
      return { type: 'review.failed', data: { step: id, attempt, seat: step.seat ?? 'concluder', code, detail } };
    case 'publishing':
      return { type: 'publish.failed', data: { step: id, attempt, code, detail } };
  }
}
