import type { Answered } from '@plumbline/model';
import type { Assignment } from './assignment.js';

export const reviewMediaType = 'application/vnd.plumbline.review+json';
const rawCharsMax = 1 << 20;

/** One question and its answer, with what kept the answer from being read, if anything did. */
export interface Exchange {
  readonly sent: readonly unknown[];
  readonly answered: Answered;
  readonly problem?: string;
}

/** A review as evidence: everything that was sent and everything that came back. The format is versioned: `plumbline.review/1`. */
export function reviewRecord(given: {
  readonly taskId: string;
  readonly step: string;
  readonly epoch: number;
  readonly assignment: Assignment;
  readonly prompts: Readonly<Record<string, string>>;
  readonly sampling: unknown;
  readonly unseen: readonly string[];
  readonly exchanges: readonly Exchange[];
  readonly redact: <T>(value: T) => T;
}): unknown {
  const { taskId, step, epoch, assignment, prompts, sampling, unseen, redact } = given;
  const { attempt, seat, model, change } = assignment;
  const { name, family, node, endpoint } = model;
  const exchanges = given.exchanges.map(({ sent, answered, problem }) => {
    const { completion, tries } = answered;
    const { finishReason, content, reasoning, usage, timings, bytes, raw } = completion;
    // The framing of a stream may split a secret so that no rule finds it.
    const clean = redact(content) === content && redact(reasoning) === reasoning;
    const kept = clean ? Math.min(raw.length, rawCharsMax) : 0;
    const outcomes = tries.map(({ completion: each }) => (each.outcome === 'complete' ? 'complete' : each.code));
    return {
      ...{ sent, finishReason, content, reasoning, usage, timings, bytes, tries: outcomes, problem },
      ...{ raw: raw.slice(0, kept), rawLeftOut: raw.length - kept },
    };
  });
  return redact({
    format: 'plumbline.review/1',
    ...{ taskId, step, epoch, attempt, seat, tree: change.tree, model: { name, family, node, endpoint } },
    ...{ prompts, sampling, unseen, exchanges },
  });
}
