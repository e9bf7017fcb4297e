import { createHash } from 'node:crypto';
import { mkdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ArtifactDoor, type HeldStep, Evidence } from '@plumbline/bus';
import {
  StepFault,
  redactor,
  reviewBrief,
  reviewSchema,
  type ArtifactRef,
  type FaultCode,
  type PlumblineEvent,
} from '@plumbline/domain';
import { type ChatMessage, type Sampling, admitEndpoint, askModel, type ModelAccess } from '@plumbline/model';
import { GitError, openChange } from '@plumbline/repo';
import { readAnswer, type Answer, type Opinion } from './answer.js';
import { assignmentOf, type Assignment } from './assignment.js';
import type { ReviewerMetrics } from './metrics.js';
import type { Prompts } from './prompts.js';
import { questionOf } from './question.js';
import { reviewMediaType, reviewRecord, type Exchange } from './review-record.js';
import { showDiff, type ShownDiff } from './shown-diff.js';

/** What a reviewer needs besides the step. */
export interface ReviewerMeans {
  readonly artifacts: ArtifactDoor;
  readonly access: ModelAccess;
  readonly prompts: Prompts;
  readonly metrics: ReviewerMetrics;
  readonly workDir: string;
  readonly secrets: readonly string[];
  /** How much of a change is shown at most, in characters; the rest is named as unseen. */
  readonly diffCharsMax: number;
}

const maxTokens = 8_192;
const asksMax = 2;

/**
 * The handler of review steps: one opinion of one model about one change, as it was given. Nothing is verified here: the rails do that
 * in the domain, on what is recorded. @throws StepFault
 */
export function reviewHandler(means: ReviewerMeans): (step: HeldStep) => Promise<PlumblineEvent[]> {
  return async (step) => {
    const assignment = assignmentOf(step);
    await admitEndpoint(assignment.model, means.access);
    const evidence = new Evidence(means.artifacts, step.signal);
    const diff = await openDiff(means, step, assignment, evidence);
    const { attempt, seat, issue, checks } = assignment;
    const { clauses } = reviewBrief(issue, { taskId: step.taskId, attempt, seat });
    const question = questionOf({ issue, clauses, diff, checks });
    const sampling = samplingOf(step, assignment);
    const { answer, exchanges } = await ask(means, step, assignment, question, sampling);
    const record = reviewRecord({
      ...{
        taskId: step.taskId,
        step: step.id,
        epoch: step.epoch,
        assignment,
        sampling,
        unseen: diff.unseen,
        exchanges,
      },
      ...{ prompts: means.prompts.digests, redact: redactor(means.secrets) },
    });
    const transcript = await evidence.putJson(record, reviewMediaType);
    if (!answer.ok)
      throw new StepFault('REVIEW_UNPARSEABLE', `${answer.problem} (transcript ${transcript.digest})`.slice(0, 1_900));
    means.metrics.plumb_reviews_total.inc(1, { seat, decision: answer.opinion.decision });
    return [concluded(step, assignment, answer.opinion, { transcript, diff, exchanges })];
  };
}

/** The event that a seat came to no review. */
export function reviewFailed(step: HeldStep, code: FaultCode, detail: string): PlumblineEvent {
  const { attempt, seat = 'unknown' } = step.name;
  return { type: 'review.failed', data: { step: step.id, attempt, seat, code, detail } };
}

/** Opens the change in a private store that lives only as long as it is read. */
async function openDiff(
  means: ReviewerMeans,
  step: HeldStep,
  assignment: Assignment,
  evidence: Evidence,
): Promise<ShownDiff> {
  const { change, snapshotPack, hunks } = assignment;
  const parent = join(means.workDir, step.taskId);
  const dir = join(parent, `${step.id}-${step.epoch}`);
  const [pack, bundle, gitDir] = [join(dir, 'base.pack'), join(dir, 'change.pack'), join(dir, 'git')];
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await evidence.getFile(snapshotPack, pack);
    await evidence.getFile(change.bundle, bundle);
    const { base, head, tree } = change;
    await openChange({ snapshotPack: pack, bundle, base, head, tree, dir: gitDir });
    return await showDiff({ gitDir, base, head, numbered: hunks, charsMax: means.diffCharsMax });
  } catch (error) {
    if (error instanceof GitError && error.code === 'TOO_LARGE')
      throw new StepFault('REVIEW_INCONCLUSIVE', `the change is too large to be shown: ${error.message}`, {
        cause: error,
      });
    throw error;
  } finally {
    await rm(dir, { recursive: true, force: true });
    // Other steps of the task may be at work beside this one.
    await rmdir(parent).catch(() => undefined);
  }
}

/** One answer, and one more when the first cannot be read. */
async function ask(
  means: ReviewerMeans,
  step: HeldStep,
  { model }: Assignment,
  question: string,
  sampling: Sampling,
): Promise<{ answer: Answer; exchanges: Exchange[] }> {
  const { access, metrics, prompts } = means;
  const exchanges: Exchange[] = [];
  let messages: ChatMessage[] = [
    { role: 'system', content: prompts.text.rubric },
    { role: 'user', content: question },
  ];
  for (;;) {
    step.live({ doing: 'reviewing', ask: exchanges.length + 1 });
    const answered = await askModel({ model, messages, sampling, access, meters: metrics, signal: step.signal });
    const { content, finishReason } = answered.completion;
    const answer: Answer =
      finishReason === 'length'
        ? { ok: false, problem: 'the answer was cut off at the output limit' }
        : readAnswer(content);
    exchanges.push({ sent: messages, answered, ...(answer.ok ? {} : { problem: answer.problem }) });
    if (answer.ok || exchanges.length === asksMax) return { answer, exchanges };
    // What was cut off or endless is not sent back: it would only fill the context.
    const said = content.trim() === '' || content.length > 20_000 ? '(an answer that could not be read)' : content;
    const wrong = `${prompts.text.repair} ${answer.problem}`;
    messages = [...messages, { role: 'assistant', content: said }, { role: 'user', content: wrong }];
  }
}

function concluded(
  step: HeldStep,
  { attempt, seat, model, change }: Assignment,
  opinion: Opinion,
  {
    transcript,
    diff: { unseen },
    exchanges,
  }: { transcript: ArtifactRef; diff: ShownDiff; exchanges: readonly Exchange[] },
): PlumblineEvent {
  // Whose opinion it is, is what was seated, whatever the model says of itself.
  const review = reviewSchema.parse({ ...opinion, seat, model: model.name, family: model.family });
  const data = { step: step.id, attempt, seat, tree: change.tree, review, transcript };
  const named = unseen.slice(0, 2_000);
  if (unseen.length > named.length) named[named.length - 1] = `and ${unseen.length - named.length + 1} more`;
  const tokens = tokensOf(exchanges);
  return { type: 'review.concluded', data: { ...data, unseen: named, ...(tokens === undefined ? {} : { tokens }) } };
}

/** What all questions took together. Undefined when the server did not count one of them: a part must not pass for the whole. */
function tokensOf(exchanges: readonly Exchange[]): { prompt: number; completion: number } | undefined {
  const sum = { prompt: 0, completion: 0 };
  for (const { answered } of exchanges) {
    const { usage } = answered.completion;
    if (usage === undefined) return undefined;
    sum.prompt += usage.promptTokens;
    sum.completion += usage.completionTokens;
  }
  return sum;
}

/** Low temperature: a reviewer is to be steady. Another try of a step is another throw of the dice. */
function samplingOf(step: HeldStep, { attempt, seat }: Assignment): Sampling {
  const text = `${step.taskId}/${attempt}/${seat}/${step.name.try}`;
  return {
    temperature: 0.2,
    topP: 0.95,
    seed: createHash('sha256').update(text).digest().readUInt32BE(0) >>> 1,
    maxTokens,
  };
}
