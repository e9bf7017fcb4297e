import { z } from 'zod';
import { batchNameOf } from '../batch/batch.js';
import { publishedVerdictSchema } from '../contracts.js';
import type { RecordedEvent } from '../events/catalogue.js';
import { instantSchema } from '../instant.js';
import { taskIdSchema } from '../names.js';
import { commandsFor } from '../report/task-report.js';
import { oneLine } from '../report/words.js';
import type { TaskState } from '../task/state.js';

/** What people can be told of: a verdict on an attempt, a task that waits for a person, a task's end. */
export const noticeKinds = ['verdict', 'escalation', 'closed'] as const;
export type NoticeKind = (typeof noticeKinds)[number];

/** What is sent to webhooks and published on `plumb.notify.<kind>.<task>`. Fields are added, never renamed or removed. */
export const noticeDocumentSchema = z.object({
  schema: z.literal('plumbline.notice/1'),
  /** Of the event it tells of, and the `webhook-id`: whoever has seen it drops the repetition. */
  id: z.uuid(),
  kind: z.enum(noticeKinds),
  at: instantSchema,
  /** In the log: notices may overtake each other, positions do not. */
  position: z.int().min(1),
  task: z.object({
    id: taskIdSchema,
    title: z.string(),
    repository: z.string(),
    base: z.string(),
    /** The batch it came from, and its key there. */
    batch: z.string().optional(),
    key: z.string().optional(),
    /** Below the ledger's address, with its token. */
    path: z.string(),
  }),
  attempt: z.int().min(0).optional(),
  verdict: publishedVerdictSchema.nullable(),
  outcome: z.enum(['go', 'go-waived', 'no-go', 'cancelled']).optional(),
  /** At most ten, a line each. */
  reasons: z.array(z.string()),
  branch: z.string().optional(),
  /** What a person may type next; `…` is theirs. */
  commands: z.array(z.string()),
  /** All of it for people: what receivers like Slack, Mattermost and ntfy show. Nothing in it pings, links or formats. */
  text: z.string(),
});
export type NoticeDocument = z.infer<typeof noticeDocumentSchema>;

const reasonsMax = 10;
const reasonsShown = 3;

/** The kind of notice an event calls for; undefined for all that nobody is told of. */
export function noticeKindOf(event: Pick<RecordedEvent, 'type' | 'data'>): NoticeKind | undefined {
  if (event.type === 'verdict.reached') return 'verdict';
  if (event.type === 'task.closed') return 'closed';
  if (event.type === 'escalation.opened' && (event.data as { to?: string }).to === 'human') return 'escalation';
  return undefined;
}

/**
 * The notice of an event; `state` is its task after it. Undefined when the event calls for none, or belongs to a task that was never
 * submitted. Pure: the same event of the same history gives the same notice.
 */
export function noticeOf(state: TaskState, event: RecordedEvent, position: number): NoticeDocument | undefined {
  const kind = noticeKindOf(event);
  const { submission } = state;
  if (kind === undefined || submission === undefined) return undefined;
  const { taskId, issue, repository, source, submissionId } = submission;
  const batch = batchNameOf(source);
  const said = whatIsSaid(state, event);
  const notice: Omit<NoticeDocument, 'text'> = {
    schema: 'plumbline.notice/1',
    id: event.eventId,
    kind,
    at: event.at,
    position,
    task: {
      id: taskId,
      title: oneLine(issue.title, 500),
      repository: withoutLogin(repository.url),
      base: repository.base,
      ...(batch === undefined ? {} : { batch, key: submissionId }),
      path: `/v1/tasks/${taskId}`,
    },
    ...said,
    reasons: said.reasons.slice(0, reasonsMax).map((reason) => oneLine(reason)),
    ...(state.published === undefined ? {} : { branch: state.published.branch }),
    commands: kind === 'escalation' ? commandsFor(taskId, state) : [`plumb show ${taskId}`],
  };
  return { ...notice, text: noticeText(notice) };
}

function whatIsSaid(
  state: TaskState,
  event: RecordedEvent,
): Pick<NoticeDocument, 'verdict' | 'reasons'> & Partial<Pick<NoticeDocument, 'attempt' | 'outcome'>> {
  const last = state.attempts.findLast((attempt) => attempt.judgement !== undefined)?.judgement;
  switch (event.type) {
    case 'verdict.reached': {
      const { attempt, judgement } = event.data;
      const reasons = judgement.reasons.map(({ check, summary }) => `${check}: ${summary}`);
      return { attempt, verdict: judgement.verdict, reasons };
    }
    case 'escalation.opened':
      return { attempt: event.data.attempt, verdict: last?.verdict ?? null, reasons: event.data.reasons };
    case 'task.closed': {
      const { outcome, verdict } = event.data;
      const { ruling } = state;
      const ruled =
        ruling === undefined ? [] : [`ruled ${ruling.decision.toUpperCase()} by ${ruling.by}: ${ruling.why}`];
      return { outcome, verdict, reasons: ruled };
    }
    default:
      return { verdict: null, reasons: [] };
  }
}

function noticeText({
  kind,
  task,
  verdict,
  outcome,
  attempt,
  reasons,
  branch,
  commands,
}: Omit<NoticeDocument, 'text'>): string {
  const name = harmless(`${task.batch === undefined ? '' : `${task.batch}/${task.key ?? ''}: `}${task.title}`);
  const first = {
    verdict: `${verdict ?? 'No verdict'} on attempt ${attempt ?? '?'}: ${name}`,
    escalation: `Waits for you: ${name}`,
    closed: `Closed, ${outcome ?? 'ended'}: ${name}`,
  }[kind];
  const shown = reasons.slice(0, reasonsShown).map((reason) => `• ${harmless(reason)}`);
  const more = reasons.length > reasonsShown ? [`• and ${reasons.length - reasonsShown} more`] : [];
  const where = branch === undefined || kind !== 'closed' ? [] : [`Branch ${harmless(branch)}`];
  return [first, ...shown, ...more, ...where, ...commands].join('\n');
}

const lookalikes: Readonly<Record<string, string>> = {
  '<': '‹',
  '>': '›',
  '@': '＠',
  '[': '⟦',
  ']': '⟧',
  '`': 'ˋ',
  '*': '∗',
  _: '＿',
  '~': '∼',
  '#': '＃',
};

/** Foreign text that no chat takes for more than words: marks that ping, link or format are replaced by characters that look like them. */
const harmless = (text: string): string =>
  oneLine(text, 200)
    .replace(/[<>@[\]`*_~#]/g, (mark) => lookalikes[mark] ?? mark)
    .replace(/:(?=\/\/)/g, '\u2236');

/** An address may have been written with a login in it; receivers are told none. */
const withoutLogin = (url: string): string => url.replace(/\/\/[^/@\s]*@/g, '//');
