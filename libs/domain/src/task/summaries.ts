import { cut } from '../cut.js';
import type { EventData, EventType, PlumblineEvent } from '../events/catalogue.js';

const lineCharsMax = 300;

/** What happened, in one line for people. One entry per event type: a type without one does not compile. */
const summaries: { readonly [T in EventType]: (data: EventData<T>) => string } = {
  'task.submitted': ({ issue, repository, policy }) =>
    `submitted: ${issue.title} (${repository.base}, policy ${policy.name})`,
  'task.snapshot-requested': ({ dispatch }) => `asked for the snapshot of base${again(dispatch)}`,
  'snapshot.taken': ({ base }) => `base is ${short(base)}`,
  'snapshot.failed': ({ code, detail }) => `no snapshot of base: ${code}: ${detail}`,
  'task.admission-refused': ({ reasons }) => `no model could be admitted: ${reasons[0]?.message ?? 'no reason given'}`,
  'task.capacity-awaited': ({ attempt, seat, tier }) => `attempt ${attempt} waits for a ${seat} of tier ${tier}`,
  'task.coding-requested': ({ attempt, model, dispatch }) =>
    `attempt ${attempt} handed to ${model.name} on ${model.node}${again(dispatch)}`,
  'turn.recorded': ({ turn, tools, tokens }) =>
    `turn ${turn}: ${tools.join(', ') || 'no tools'}; ${tokens.prompt + tokens.completion} tokens`,
  'change.proposed': ({ attempt, head, files }) =>
    `attempt ${attempt} proposes ${short(head)}: ${plural(files.length, 'file')}`,
  'attempt.ended': ({ attempt, code, detail }) => `attempt ${attempt} ended without a change: ${code}: ${detail}`,
  'task.gating-requested': ({ attempt, dispatch }) => `asked the gate about attempt ${attempt}${again(dispatch)}`,
  'check.concluded': ({ result }) => `${result.check}: ${result.outcome}: ${result.summary}`,
  'gate.concluded': ({ attempt, concluded }) => {
    const failed = concluded.filter((entry) => entry.outcome === 'fail').map((entry) => entry.check);
    return `the gate concluded ${plural(concluded.length, 'check')} on attempt ${attempt}; failed: ${failed.join(', ') || 'none'}`;
  },
  'gate.failed': ({ code, detail }) => `the gate could not conclude: ${code}: ${detail}`,
  'task.review-requested': ({ attempt, seat, model, dispatch }) =>
    `asked ${model.name} for the review of attempt ${attempt} as ${seat}${again(dispatch)}`,
  'review.concluded': ({ seat, review }) =>
    `${seat} (${review.model}): ${review.decision}, ${plural(review.findings.length, 'finding')}`,
  'review.failed': ({ seat, code, detail }) => `no review from the ${seat}: ${code}: ${detail}`,
  'verdict.reached': ({ attempt, judgement }) => {
    const first = judgement.reasons[0];
    const rest = judgement.reasons.length > 1 ? ` (and ${judgement.reasons.length - 1} more)` : '';
    return `attempt ${attempt} is ${judgement.verdict}${first === undefined ? '' : `: ${first.check}: ${first.summary}${rest}`}`;
  },
  'task.publishing-requested': ({ branch, label, dispatch }) =>
    `asked to publish ${branch} as ${label}${again(dispatch)}`,
  'change.published': ({ branch, head, already }) =>
    `${branch} is at ${short(head)}${already ? ', and was already' : ''}`,
  'publish.failed': ({ code, detail }) => `not published: ${code}: ${detail}`,
  'task.step-retry-scheduled': ({ step, code, delayMs }) =>
    `${step} is tried again in ${delayMs / 1000} s after ${code}`,
  'task.step-abandoned': ({ step, code, detail }) => `${step} is given up: ${code}: ${detail}`,
  'escalation.opened': ({ to, tier, reasons }) =>
    `escalated to ${to === 'tier' ? `tier ${tier ?? '?'}` : 'a human'}: ${reasons[0] ?? 'no reason was recorded'}`,
  'escalation.resolved': ({ how, by }) => `escalation ${how} by ${by}`,
  'task.ruled': ({ decision, by, attempt, why }) =>
    `${by} rules ${decision.toUpperCase()} on attempt ${attempt}: ${why}`,
  'task.retried': ({ by, why }) => `${by} asks for another try: ${why}`,
  'task.cancelled': ({ by, why }) => `cancelled by ${by}: ${why}`,
  'task.closed': ({ outcome, verdict }) => `closed: ${outcome}${verdict === null ? '' : `, verdict ${verdict}`}`,
  'lease.granted': ({ step, holder, epoch }) => `${holder} works on ${step} (epoch ${epoch})`,
  'lease.expired': ({ step, holder, epoch }) => `${holder} lost ${step} (epoch ${epoch})`,
  'lease.released': ({ step, holder }) => `${holder} hands ${step} back`,
  'lease.result-refused': ({ step, service, epoch, why }) =>
    `late facts of ${service} about ${step} (epoch ${epoch}) refused: ${why}`,
  'timer.fired': ({ kind, data }) => `${kind} of ${data.step} is due`,
  'log.epoch-started': ({ number, afterPosition, why }) =>
    `epoch ${number} of the log begins after position ${afterPosition}: ${why.slice(0, 200)}`,
  'node.registered': ({ node, models, pools }) =>
    `${node} offers ${plural(models.length, 'model')} on ${plural(pools.length, 'pool')}`,
  'model.ready': ({ node, model }) => `${model} on ${node} answers`,
  'model.unreachable': ({ node, model, why }) => `${model} on ${node} does not answer: ${why}`,
  'grant.reserved': ({ model, node, pool, bytes, step }) =>
    `${bytes} bytes of ${node}/${pool} reserved for ${model} (${step})`,
  'grant.released': ({ grantId, why }) => `grant ${grantId} released: ${why}`,
};

/** One line about an event, at most 300 characters, without control characters: much of it was written by models. */
export function summariseEvent(event: PlumblineEvent): string {
  const summary = summaries[event.type] as (data: unknown) => string;
  const line = summary(event.data).replace(/\s+/g, ' ').replace(/\p{C}/gu, '');
  return cut(line.trim(), lineCharsMax);
}

const again = (dispatch: number): string => (dispatch > 1 ? ` (${dispatch}. time)` : '');
const short = (id: string): string => id.slice(0, 12);
const plural = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;
