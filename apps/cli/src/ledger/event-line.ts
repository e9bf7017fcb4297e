import type { EventData, EventType } from '@plumbline/domain';
import { isEventType } from '@plumbline/domain';
import { duration, plain } from '../terminal/text.js';
import type { EventDocument } from './documents.js';

/** How an event reads: `good` and `bad` are outcomes, `quiet` is bookkeeping that a timeline leaves out. */
export interface EventLine {
  readonly text: string;
  readonly tone: 'good' | 'bad' | 'warn' | 'plain' | 'quiet';
}

type Say<T extends EventType> = (data: EventData<T>) => EventLine | string;

const quiet = (text: string): EventLine => ({ text, tone: 'quiet' });
const good = (text: string): EventLine => ({ text, tone: 'good' });
const bad = (text: string): EventLine => ({ text, tone: 'bad' });
const warn = (text: string): EventLine => ({ text, tone: 'warn' });
const short = (id: string): string => id.slice(0, 10);
const failed = ({ code, detail }: { code: string; detail: string }): EventLine => warn(`${code}: ${detail}`);

/** One line per type of event. The table is whole, so that a new type is not forgotten here. */
const lines: { [T in EventType]: Say<T> } = {
  'task.submitted': (d) => `submitted: ${d.issue.title}`,
  'task.snapshot-requested': () => quiet('snapshot of base wanted'),
  'snapshot.taken': (d) => `base is ${short(d.base)}, snapshot of ${d.pack.sizeBytes} bytes`,
  'snapshot.failed': failed,
  'task.admission-refused': (d) => quiet(`no model yet: ${d.reasons[0]?.message ?? 'no reason given'}`),
  'task.capacity-awaited': (d) => quiet(`waits for a model in the seat ${d.seat}`),
  'task.coding-requested': (d) =>
    `attempt ${d.attempt}: ${d.model.name} codes${d.feedback.length > 0 ? ', told why the last one failed' : ''}`,
  'turn.recorded': (d) => `turn ${d.turn}: ${d.tools.join(', ') || 'no tool'}`,
  'change.proposed': (d) => `change ${short(d.head)} proposed: ${d.files.join(', ')}`,
  'attempt.ended': failed,
  'task.gating-requested': () => quiet('gate wanted'),
  'check.concluded': ({ result }) => {
    const text = `check ${result.check}: ${result.outcome}${result.outcome === 'pass' ? '' : `, ${result.summary}`}`;
    return result.outcome === 'fail' ? bad(text) : result.outcome === 'unknown' ? warn(text) : quiet(text);
  },
  'gate.concluded': (d) => {
    const failing = d.concluded.filter(({ outcome }) => outcome === 'fail').length;
    const text = `clean room: ${d.concluded.length} checks, ${failing} failed`;
    return failing > 0 ? bad(text) : text;
  },
  'gate.failed': failed,
  'task.review-requested': (d) => `${d.model.name} reviews as ${d.seat}`,
  'review.concluded': (d) => `${d.review.model} says ${d.review.decision}, ${d.review.findings.length} findings`,
  'review.failed': failed,
  'verdict.reached': (d) => {
    const { verdict, reasons } = d.judgement;
    const why = [...new Set(reasons.map(({ check }) => check))].join(', ');
    if (verdict === 'GO') return good('GO');
    return (verdict === 'NO-GO' ? bad : warn)(`${verdict}: ${why}`);
  },
  'task.publishing-requested': () => quiet('publishing wanted'),
  'change.published': (d) => good(`branch ${d.branch} published at ${short(d.head)}`),
  'publish.failed': failed,
  'task.step-retry-scheduled': (d) => warn(`${d.step} failed (${d.code}), again in ${duration(d.delayMs)}`),
  'task.step-abandoned': (d) => warn(`${d.step} given up: ${d.code}`),
  'escalation.opened': (d) => warn(`escalated to ${d.to === 'human' ? 'a human' : `tier ${d.tier ?? ''}`}`),
  'escalation.resolved': (d) => `escalation ${d.how} by ${d.by}`,
  'task.ruled': (d) => (d.decision === 'go' ? good : bad)(`ruled ${d.decision.toUpperCase()} by ${d.by}: ${d.why}`),
  'task.retried': (d) => `retried by ${d.by}: ${d.why}`,
  'task.cancelled': (d) => warn(`cancelled by ${d.by}: ${d.why}`),
  'task.closed': (d) => `closed: ${d.outcome}`,
  'lease.granted': (d) => quiet(`${d.step} leased to ${d.holder}`),
  'lease.expired': (d) => warn(`lease of ${d.step} expired (${d.holder})`),
  'lease.released': (d) => quiet(`lease of ${d.step} given back`),
  'lease.result-refused': (d) => warn(`late result of ${d.service} refused: ${d.why}`),
  'timer.fired': (d) => quiet(`timer ${d.kind} of ${d.data.step}`),
  'log.epoch-started': (d) => warn(`epoch ${d.number} of the log begins after position ${d.afterPosition}: ${d.why}`),
  'node.registered': (d) => quiet(`node ${d.node}: ${d.models.map(({ name }) => name).join(', ') || 'no model'}`),
  'model.ready': (d) => quiet(`model ${d.model} is ready on ${d.node}`),
  'model.unreachable': (d) => warn(`model ${d.model} on ${d.node} is unreachable: ${d.why}`),
  'grant.reserved': (d) => quiet(`${d.model} granted for ${d.step}`),
  'grant.released': (d) => quiet(`grant released: ${d.why}`),
};

/** An event in one line, safe for a terminal. Types and shapes this build does not know are shown by their type, never an error. */
export function eventLine(event: EventDocument): EventLine {
  if (!isEventType(event.type)) return { text: plain(event.type), tone: 'plain' };
  try {
    const said = (lines[event.type] as Say<EventType>)(event.data as EventData<EventType>);
    const line = typeof said === 'string' ? { text: said, tone: 'plain' as const } : said;
    return { text: plain(line.text), tone: line.tone };
  } catch {
    // Written by another version: its data has another shape.
    return { text: plain(event.type), tone: 'plain' };
  }
}
