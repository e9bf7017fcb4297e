import { JetStreamApiCodes, JetStreamApiError, type JetStreamManager } from '@nats-io/jetstream';
import { headers as natsHeaders } from '@nats-io/transport-node';
import { failpoint, isArmed } from '@plumbline/failpoint';
import type { Bus } from './connection.js';
import { epochOf } from './ensure-topology.js';

/** One event of the log on its way to LOG. */
export interface LogMessage {
  readonly epoch: string;
  /** Dense position, from 1; becomes the stream sequence. */
  readonly pos: number;
  /** `log.<category>.<event>.<id>`. */
  readonly subject: string;
  readonly body: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * What became of one message. `duplicate`: it already stands at its position. `gap`: LOG ends at `lastSeq`, before `pos - 1`,
 * so it was not stored; go on from there. `foreign`: something else stands at its position (`found` is that message's id), LOG is
 * no copy of the log and has to be recreated. `unknown`: no answer; it may be stored, publishing it again is safe.
 */
export type LogOutcome =
  | { readonly outcome: 'published' | 'duplicate'; readonly pos: number }
  | { readonly outcome: 'gap'; readonly pos: number; readonly lastSeq: number }
  | { readonly outcome: 'foreign'; readonly pos: number; readonly found: string | undefined }
  | { readonly outcome: 'unknown'; readonly pos: number; readonly error: unknown };

/** The message id that ties a stored message to its place in one epoch of the log. */
export function logMessageId(epoch: string, pos: number): string {
  return `${epoch}:${pos}`;
}

/**
 * Publishes consecutive events to LOG, `windowSize` (256) in flight, each expecting its predecessor to be the last message: a second
 * relay or a replay cannot fork the stream. Stops sending after the first message that does not stand at its position; returns
 * one outcome per message sent, in order. What was in flight behind a `foreign` message may have been stored after it.
 */
export async function publishLog(
  bus: Bus,
  messages: Iterable<LogMessage>,
  options: { windowSize?: number; timeoutMs?: number } = {},
): Promise<LogOutcome[]> {
  const windowSize = options.windowSize ?? 256;
  const outcomes: LogOutcome[] = [];
  const inFlight: Promise<LogOutcome>[] = [];
  let failed = false;
  const settleOldest = async (): Promise<void> => {
    const outcome = await inFlight.shift();
    if (!outcome) return;
    failed ||= outcome.outcome !== 'published' && outcome.outcome !== 'duplicate';
    outcomes.push(outcome);
  };
  for (const message of messages) {
    while (inFlight.length >= windowSize) await settleOldest();
    if (failed) break;
    inFlight.push(publishOne(bus, message, options.timeoutMs ?? 10_000));
    if (isArmed('relay.sent')) {
      await bus.nc.flush();
      failpoint('relay.sent');
    }
  }
  while (inFlight.length > 0) await settleOldest();
  return outcomes;
}

async function publishOne(bus: Bus, message: LogMessage, timeoutMs: number): Promise<LogOutcome> {
  const { epoch, pos, subject, body } = message;
  const headers = natsHeaders();
  for (const [name, value] of Object.entries(message.headers ?? {})) headers.set(name, value);
  try {
    const ack = await bus.js.publish(subject, body, {
      headers,
      msgID: logMessageId(epoch, pos),
      expect: { streamName: 'LOG', lastSequence: pos - 1 },
      timeout: timeoutMs,
    });
    if (ack.duplicate) return { outcome: 'duplicate', pos };
    return { outcome: 'published', pos };
  } catch (error) {
    if (!(error instanceof JetStreamApiError) || !WRONG_LAST.has(error.code)) return { outcome: 'unknown', pos, error };
    return whatStandsThere(bus, epoch, pos).catch((cause: unknown) => ({ outcome: 'unknown', pos, error: cause }));
  }
}

/**
 * Why the server did not store a message: newer servers check the expected sequence before they look for duplicates, and a
 * duplicate outside the window is never recognised, so the stored message itself is looked at.
 */
async function whatStandsThere(bus: Bus, epoch: string, pos: number): Promise<LogOutcome> {
  const { lastSeq } = await logState(bus.jsm);
  if (lastSeq < pos) return { outcome: 'gap', pos, lastSeq };
  const found = await storedId(bus.jsm, pos);
  return found === logMessageId(epoch, pos) ? { outcome: 'duplicate', pos } : { outcome: 'foreign', pos, found };
}

async function storedId(jsm: JetStreamManager, seq: number): Promise<string | undefined> {
  const stored = await jsm.streams.getMessage('LOG', { seq });
  return stored?.header.get('Nats-Msg-Id') || undefined;
}

const WRONG_LAST = new Set<number>([
  JetStreamApiCodes.StreamWrongLastSequence,
  JetStreamApiCodes.StreamWrongLastSequenceUnknown,
]);

/** Where LOG stands. `lastSeq` is 0 if nothing was ever stored; `createdEpoch` is undefined if somebody else made it. */
export interface LogState {
  readonly lastSeq: number;
  readonly firstSeq: number;
  readonly messages: number;
  readonly createdEpoch: string | undefined;
}

/** @throws JetStreamApiError (stream not found) if there is no LOG */
export async function logState(jsm: JetStreamManager): Promise<LogState> {
  const info = await jsm.streams.info('LOG');
  const { first_seq: firstSeq, last_seq: lastSeq, messages } = info.state;
  return { lastSeq, firstSeq, messages, createdEpoch: epochOf(info) };
}

/** The event that a message of LOG carries, by what tells it from every other one. */
export interface CopiedEvent {
  readonly pos: number;
  readonly eventId: string | undefined;
  readonly recordedAt: string | undefined;
}

/**
 * Whether LOG still is a copy of the log of `epoch`. `intact` says which event it ends with, for the log to confirm. `empty`: nothing
 * stored to judge by; publish from `lastSeq + 1`. `ahead`: it ends with a message that was published for this epoch, at a position that
 * the log does not have: the log lost events. `foreign`: made for another epoch, or at `seq` there is not the event of that position: a
 * stranger's message or another log's backup; recreate the stream.
 */
export type LogVerification =
  | { readonly outcome: 'intact'; readonly lastSeq: number; readonly last: CopiedEvent }
  | { readonly outcome: 'empty'; readonly lastSeq: number }
  | { readonly outcome: 'ahead'; readonly lastSeq: number; readonly headPos: number }
  | { readonly outcome: 'missing' }
  | {
      readonly outcome: 'foreign';
      readonly seq: number;
      readonly expected: string;
      readonly found: string | undefined;
    };

/**
 * Looks at LOG's epoch and at the ids of its last `depth` messages (256, the window of `publishLog`: a stranger's message in
 * the middle of a window has ours behind it). An older backup of the same log is intact with a smaller `lastSeq`. `headPos` asks the
 * log how far it reaches; it is asked after LOG was looked at, because another replica may be numbering and publishing meanwhile.
 */
export async function verifyLog(
  jsm: JetStreamManager,
  epoch: string,
  headPos: () => Promise<number>,
  depth = 256,
): Promise<LogVerification> {
  let state: LogState;
  try {
    state = await logState(jsm);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound)
      return { outcome: 'missing' };
    throw error;
  }
  const { lastSeq, createdEpoch } = state;
  if (createdEpoch !== epoch) return { outcome: 'foreign', seq: lastSeq, expected: epoch, found: createdEpoch };
  const head = await headPos();
  if (lastSeq > head) {
    const found = await storedId(jsm, head + 1);
    if (found === logMessageId(epoch, head + 1)) return { outcome: 'ahead', lastSeq, headPos: head };
    return { outcome: 'foreign', seq: head + 1, expected: 'nothing', found };
  }
  if (state.messages === 0) return { outcome: 'empty', lastSeq };
  const first = Math.max(state.firstSeq, lastSeq - depth + 1);
  const sequences = Array.from({ length: lastSeq - first + 1 }, (_, i) => first + i);
  const headers = await Promise.all(
    sequences.map(async (seq) => (await jsm.streams.getMessage('LOG', { seq }))?.header),
  );
  const idAt = (index: number): string | undefined => headers[index]?.get('Nats-Msg-Id') || undefined;
  const wrong = sequences.findIndex((seq, i) => idAt(i) !== logMessageId(epoch, seq));
  const seq = sequences[wrong];
  if (seq !== undefined) return { outcome: 'foreign', seq, expected: logMessageId(epoch, seq), found: idAt(wrong) };
  const of = headers.at(-1);
  const last = { pos: lastSeq, eventId: of?.get('ce-id') || undefined, recordedAt: of?.get('ce-time') || undefined };
  return { outcome: 'intact', lastSeq, last };
}
