import { PubHeaders } from '@nats-io/jetstream';
import { parseJson } from './bounded-json.js';
import type { Bus } from './connection.js';
import { BusError } from './errors.js';
import { MAX_PAYLOAD_BYTES } from './topology.js';

/** A message that could not be handled, with everything needed to understand it and to try it again. */
export interface DeadLetter {
  readonly service: string;
  readonly durable: string;
  readonly subject: string;
  readonly stream: string;
  readonly seq: number;
  readonly reason: string;
  readonly deliveries: number;
  /** How `data` is written: as text if the original was UTF-8, else (or if that is shorter) base64. */
  readonly encoding: 'text' | 'base64';
  readonly data: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  /** ISO 8601, UTC. */
  readonly at: string;
}

/** The dead letter of a message whose body is `bytes`. */
export function deadLetter(fields: Omit<DeadLetter, 'encoding' | 'data'>, bytes: Uint8Array): DeadLetter {
  return { ...fields, ...encodeBody(bytes) };
}

function encodeBody(bytes: Uint8Array): Pick<DeadLetter, 'encoding' | 'data'> {
  const base64 = Buffer.from(bytes).toString('base64');
  try {
    // A byte order mark would be lost by decoding, so it is kept as data.
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    // Control characters grow sixfold in JSON text.
    if (JSON.stringify(text).length <= base64.length * 2) return { encoding: 'text', data: text };
  } catch {
    // Not UTF-8: base64 below.
  }
  return { encoding: 'base64', data: base64 };
}

/** The body of the message as it was. */
export function originalBody(letter: DeadLetter): Uint8Array {
  return letter.encoding === 'text' ? new TextEncoder().encode(letter.data) : Buffer.from(letter.data, 'base64');
}

/** Reads a stored dead letter; undefined if it is not one (any service may publish what it likes on its own subject). */
export function parseDeadLetter(bytes: Uint8Array): DeadLetter | undefined {
  const parsed = parseJson(bytes, { maxBytes: MAX_PAYLOAD_BYTES, maxDepth: 8, forbiddenKeys: ['__proto__'] });
  if (!parsed.ok || parsed.value === null || typeof parsed.value !== 'object') return undefined;
  const it = parsed.value as Record<string, unknown>;
  const texts = ['service', 'durable', 'subject', 'stream', 'reason', 'data', 'at'];
  const sound =
    texts.every((field) => typeof it[field] === 'string') &&
    [it['seq'], it['deliveries']].every((count) => Number.isSafeInteger(count)) &&
    (it['encoding'] === 'text' || it['encoding'] === 'base64') &&
    isHeaderRecord(it['headers']);
  return sound ? (it as unknown as DeadLetter) : undefined;
}

function isHeaderRecord(value: unknown): boolean {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return false;
  return Object.values(value).every((list) => Array.isArray(list) && list.every((item) => typeof item === 'string'));
}

/**
 * Stores a dead letter on `plumb.dead.<service>` and returns once the server has confirmed it. `id` makes a repetition within the
 * duplicate window harmless.
 * @throws BusError `too-large` (never), whatever the server answers otherwise: the original must then not be terminated
 */
export async function publishDeadLetter(bus: Bus, letter: DeadLetter, id: string): Promise<void> {
  const bytes = new TextEncoder().encode(JSON.stringify(letter));
  // Headers count too; these are one name and a short id.
  const spare = PubHeaders.MsgIdHdr.length + id.length + 64;
  if (bytes.length + spare > bus.maxPayloadBytes) {
    throw new BusError(
      'too-large',
      `the dead letter has ${bytes.length} bytes, the broker takes ${bus.maxPayloadBytes}`,
      {
        retry: 'never',
        mend: `set max_payload of the broker to ${MAX_PAYLOAD_BYTES}; until then the message stays in its stream`,
        evidence: { bytes: bytes.length, maxPayloadBytes: bus.maxPayloadBytes },
      },
    );
  }
  await bus.js.publish(`plumb.dead.${letter.service}`, bytes, { msgID: id });
}
