import type { ServiceName } from '@plumbline/domain';

export type StreamName = 'LOG' | 'INTAKE' | 'REFUSED' | 'DEAD' | 'REDO';

/** A stream as it must exist on the server. Ages in milliseconds, 0 for no limit; counts and sizes -1 for no limit. */
export interface StreamSpec {
  readonly name: StreamName;
  readonly subjects: readonly string[];
  readonly retention: 'limits' | 'workqueue';
  readonly maxAgeMs: number;
  readonly maxMessages: number;
  readonly maxMessageBytes: number;
  /** `new` refuses publishers when full (nothing accepted is dropped), `old` drops the oldest. */
  readonly discard: 'old' | 'new';
  readonly duplicateWindowMs: number;
  /** Deleting or purging single messages is refused by the server; the whole stream can still be deleted. */
  readonly denyDelete: boolean;
}

/** A durable pull consumer: one service, one purpose, one wildcard filter (2.9 servers know no more). */
export interface Durable {
  readonly service: ServiceName;
  readonly stream: StreamName;
  /** `<service>-<purpose>`. */
  readonly durable: string;
  readonly filterSubject: string;
  readonly ackWaitMs: number;
  readonly maxAckPending: number;
}

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
const MIB = 1024 * 1024;

/** The largest message that LOG, INTAKE and REDO store. DEAD takes more: a dead letter wraps the original. */
export const MAX_MESSAGE_BYTES = MIB;

/** The broker must take this much in one message, so that any stored message still fits into a dead letter. */
export const MAX_PAYLOAD_BYTES = 4 * MIB;

const STREAM_DEFAULTS = {
  maxAgeMs: 0,
  maxMessages: -1,
  maxMessageBytes: MAX_MESSAGE_BYTES,
  duplicateWindowMs: 2 * MINUTE,
  denyDelete: false,
} as const;

/** Every stream of the system. LOG is a copy of the event log and can be rebuilt from it at any time. */
export const STREAMS: readonly StreamSpec[] = [
  { ...STREAM_DEFAULTS, name: 'LOG', subjects: ['log.>'], retention: 'limits', discard: 'old', denyDelete: true },
  {
    ...STREAM_DEFAULTS,
    name: 'INTAKE',
    subjects: ['plumb.intake.task.>'],
    retention: 'workqueue',
    // A full intake must refuse the publisher, never forget an accepted submission.
    discard: 'new',
    maxMessages: 1_000_000,
  },
  {
    ...STREAM_DEFAULTS,
    name: 'REFUSED',
    subjects: ['plumb.intake.refused'],
    retention: 'limits',
    discard: 'old',
    maxAgeMs: 7 * DAY,
  },
  {
    ...STREAM_DEFAULTS,
    name: 'DEAD',
    subjects: ['plumb.dead.>'],
    retention: 'limits',
    discard: 'new',
    maxMessages: 1_000_000,
    maxMessageBytes: -1,
  },
  { ...STREAM_DEFAULTS, name: 'REDO', subjects: ['plumb.redo.>'], retention: 'workqueue', discard: 'new' },
];

const purpose = (
  service: ServiceName,
  name: string,
  stream: StreamName,
  filterSubject: string,
  maxAckPending = 64,
): Durable => ({ service, stream, durable: `${service}-${name}`, filterSubject, ackWaitMs: 30_000, maxAckPending });

const WORK: readonly Durable[] = [
  purpose('scheduler', 'intake', 'INTAKE', 'plumb.intake.task.>'),
  purpose('scheduler', 'facts', 'LOG', 'log.>', 1024),
  purpose('coder', 'steps', 'LOG', 'log.task.coding-requested.*'),
  purpose('gate', 'steps', 'LOG', 'log.task.gating-requested.*'),
  purpose('reviewer', 'steps', 'LOG', 'log.task.review-requested.*'),
  purpose('code-host', 'snapshot', 'LOG', 'log.task.snapshot-requested.*'),
  purpose('code-host', 'publish', 'LOG', 'log.task.publishing-requested.*'),
];

/**
 * Every durable consumer. Each service that consumes anything also has `<service>-redo`, where dead letters come back; a
 * service that consumes nothing (ledger, node-agent) has no dead letters and so needs none.
 */
export const DURABLES: readonly Durable[] = [
  ...WORK,
  ...[...new Set(WORK.map((durable) => durable.service))].map((service) =>
    purpose(service, 'redo', 'REDO', `plumb.redo.${service}.>`),
  ),
];

/** The durable of that name, or undefined. */
export function findDurable(name: string): Durable | undefined {
  return DURABLES.find((durable) => durable.durable === name);
}
