import { JetStreamApiError, type NextMsgRequest, type SeqMsgRequest, type StoredMsg } from '@nats-io/jetstream';
import type { Bus } from './connection.js';
import { REDO_HEADERS } from './consume-service.js';
import { originalBody, parseDeadLetter, type DeadLetter } from './dead-letter.js';
import { BusError } from './errors.js';
import { headersFromJson } from './headers.js';
import { findDurable } from './topology.js';

/** A stored dead letter; `letter` is undefined if what is stored is not one, which is shown rather than hidden. */
export interface DeadEntry {
  readonly deadSeq: number;
  /** Who published it, by subject: the server enforces that, while the letter's own `service` is only a claim. */
  readonly service: string;
  readonly storedAt: Date;
  readonly sizeBytes: number;
  readonly letter: DeadLetter | undefined;
}

export interface DeadPage {
  readonly entries: readonly DeadEntry[];
  /** All dead letters stored at the moment. */
  readonly total: number;
  /** Pass as `fromSeq` for the next page; undefined after the last one. */
  readonly nextSeq: number | undefined;
}

/** The dead letters from `fromSeq` (default: the oldest) on, oldest first, at most `limit` (100). */
export async function listDead(bus: Bus, options: { fromSeq?: number; limit?: number } = {}): Promise<DeadPage> {
  const { state } = await bus.jsm.streams.info('DEAD');
  const limit = options.limit ?? 100;
  const entries: DeadEntry[] = [];
  let seq = Math.max(options.fromSeq ?? 1, state.first_seq, 1);
  while (seq <= state.last_seq && entries.length < limit) {
    // Servers take this since 2.9; the client's type of the query forgets it.
    const next: SeqMsgRequest & NextMsgRequest = { seq, next_by_subj: 'plumb.dead.>' };
    const stored = await bus.jsm.streams.getMessage('DEAD', next);
    if (!stored) {
      seq = state.last_seq + 1;
      break;
    }
    entries.push(entryOf(stored));
    seq = stored.seq + 1;
  }
  return { entries, total: state.messages, nextSeq: seq <= state.last_seq ? seq : undefined };
}

function entryOf(stored: StoredMsg): DeadEntry {
  return {
    deadSeq: stored.seq,
    service: stored.subject.slice('plumb.dead.'.length),
    storedAt: stored.time,
    sizeBytes: stored.data.length,
    letter: parseDeadLetter(stored.data),
  };
}

/**
 * Sends the original message back to the handler that failed on it, then deletes the dead letter. Killed in between, a second call
 * within the duplicate window sends nothing twice.
 * @returns the entry that was sent
 * @throws BusError `not-found` or `unreadable-dead-letter` (never)
 */
export async function retryDead(bus: Bus, deadSeq: number): Promise<DeadEntry> {
  const entry = await find(bus, deadSeq);
  const { letter, service } = entry;
  const durable = letter && findDurable(letter.durable);
  if (!letter || durable?.service !== service) {
    throw new BusError(
      'unreadable-dead-letter',
      `dead letter ${deadSeq} of ${service} names no durable of ${service}`,
      {
        retry: 'never',
        mend: 'read it with `plumb dead list` and drop it',
        evidence: { deadSeq, service, durable: letter?.durable },
      },
    );
  }
  const headers = headersFromJson(letter.headers);
  headers.set(REDO_HEADERS.subject, letter.subject.replace(/\s/g, ''));
  headers.set(REDO_HEADERS.stream, letter.stream.replace(/\s/g, ''));
  headers.set(REDO_HEADERS.seq, String(letter.seq));
  await bus.js.publish(`plumb.redo.${service}.${letter.durable}`, originalBody(letter), {
    headers,
    msgID: `redo:${deadSeq}:${entry.storedAt.toISOString()}`,
  });
  await remove(bus, deadSeq);
  return entry;
}

/** Deletes a dead letter for good. Returns what was deleted. @throws BusError `not-found` (never) */
export async function dropDead(bus: Bus, deadSeq: number): Promise<DeadEntry> {
  const entry = await find(bus, deadSeq);
  await remove(bus, deadSeq);
  return entry;
}

async function find(bus: Bus, deadSeq: number): Promise<DeadEntry> {
  const valid = Number.isSafeInteger(deadSeq) && deadSeq > 0;
  const stored = valid ? await bus.jsm.streams.getMessage('DEAD', { seq: deadSeq }) : null;
  if (stored) return entryOf(stored);
  throw new BusError('not-found', `there is no dead letter ${deadSeq}`, {
    retry: 'never',
    mend: 'list them with `plumb dead list`; it may have been retried or dropped already',
    evidence: { deadSeq },
  });
}

async function remove(bus: Bus, deadSeq: number): Promise<void> {
  try {
    await bus.jsm.streams.deleteMessage('DEAD', deadSeq);
  } catch (error) {
    // Somebody else has just done the same.
    const gone =
      error instanceof JetStreamApiError && (await bus.jsm.streams.getMessage('DEAD', { seq: deadSeq })) === null;
    if (!gone) throw error;
  }
}
