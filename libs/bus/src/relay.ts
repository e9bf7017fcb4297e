import { JetStreamApiCodes, JetStreamApiError, type JetStreamManager } from '@nats-io/jetstream';
import { headers as natsHeaders } from '@nats-io/transport-node';
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
 * What became of one message. `gap`: LOG's last sequence was not `pos - 1` (`lastSeq` where it stood, if the server said so), so
 * nothing of this and what follows was stored; compare with `verifyLog` and go on from there. `misplaced`: it was stored, but not at `pos`;
 * LOG is no copy of the log any more. `unknown`: no answer; it may be stored, publishing it again is safe.
 */
export type LogOutcome =
  | { readonly outcome: 'published' | 'duplicate'; readonly pos: number }
  | { readonly outcome: 'gap'; readonly pos: number; readonly lastSeq: number | undefined }
  | { readonly outcome: 'misplaced'; readonly pos: number; readonly seq: number }
  | { readonly outcome: 'unknown'; readonly pos: number; readonly error: unknown };

/** The message id that ties a stored message to its place in one epoch of the log. */
export function logMessageId(epoch: string, pos: number): string {
  return `${epoch}:${pos}`;
}

/**
 * Publishes consecutive events to LOG, `windowSize` (256) in flight, each expecting its predecessor to be the last message: a second
 * relay, a replay or a foreign message cannot fork the stream. Stops sending after the first message that was not
 * stored; returns one outcome per message sent, in order, the successes first.
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
    // Servers before 2.10 do not check an expected last sequence of 0.
    return ack.seq === pos ? { outcome: 'published', pos } : { outcome: 'misplaced', pos, seq: ack.seq };
  } catch (error) {
    if (error instanceof JetStreamApiError && WRONG_LAST.has(error.code)) {
      const last = /wrong last sequence: (\d+)/.exec(error.message)?.[1];
      return { outcome: 'gap', pos, lastSeq: last === undefined ? undefined : Number(last) };
    }
    return { outcome: 'unknown', pos, error };
  }
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

/**
 * Whether LOG still is a copy of the log of `epoch` up to its last message. `empty`: nothing stored to judge by; publish
 * from `lastSeq + 1`. `foreign`: made for another epoch, or its last message is not the event of that position: a stranger's
 * message or another log's backup; recreate the stream.
 */
export type LogVerification =
  | { readonly outcome: 'intact' | 'empty'; readonly lastSeq: number }
  | { readonly outcome: 'missing' }
  | {
      readonly outcome: 'foreign';
      readonly lastSeq: number;
      readonly expected: string;
      readonly found: string | undefined;
    };

/**
 * Looks at LOG's epoch and at the id of its last stored message. An older backup of the same log is intact with a smaller `lastSeq`; one
 * that is ahead of `headPos` (the log's own head) is foreign.
 */
export async function verifyLog(jsm: JetStreamManager, epoch: string, headPos: number): Promise<LogVerification> {
  let state: LogState;
  try {
    state = await logState(jsm);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound)
      return { outcome: 'missing' };
    throw error;
  }
  const { lastSeq, createdEpoch } = state;
  const foreign = (expected: string, found: string | undefined): LogVerification => ({
    outcome: 'foreign',
    lastSeq,
    expected,
    found,
  });
  if (createdEpoch !== epoch) return foreign(epoch, createdEpoch);
  if (lastSeq > headPos) return foreign(`last sequence at most ${headPos}`, String(lastSeq));
  if (state.messages === 0) return { outcome: 'empty', lastSeq };
  const last = await jsm.streams.getMessage('LOG', { seq: lastSeq });
  const found = last?.header.get('Nats-Msg-Id') || undefined;
  const expected = logMessageId(epoch, lastSeq);
  return found === expected ? { outcome: 'intact', lastSeq } : foreign(expected, found);
}
