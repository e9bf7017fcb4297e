import { createHash } from 'node:crypto';

/** The hash before the first event: 32 zero bytes, as hex. */
export const genesisHash = '0'.repeat(64);

/** What the chain covers: every column of the event, and its position. `data` and `meta` are the stored text, byte for byte. */
export interface ChainedFields {
  pos: string;
  eventId: string;
  streamId: string;
  category: string;
  version: string;
  type: string;
  schemaVersion: string;
  data: string;
  meta: string;
  /** UTC with microseconds: `2026-01-31T12:00:00.000000Z`. */
  occurredAt: string;
  recordedAt: string;
}

/**
 * The chain hash (hex) of an event: SHA-256 over the previous hash and each field as a 4-byte big-endian length and its UTF-8 bytes.
 * Written independently of the SQL that computes the same, so that neither can hide a mistake of the other.
 */
export function chainHash(previousHash: string, fields: ChainedFields): string {
  const hash = createHash('sha256').update(Buffer.from(previousHash, 'hex'));
  const inOrder = [
    fields.pos,
    fields.eventId,
    fields.streamId,
    fields.category,
    fields.version,
    fields.type,
    fields.schemaVersion,
    fields.data,
    fields.meta,
    fields.occurredAt,
    fields.recordedAt,
  ];
  for (const field of inOrder) {
    const bytes = Buffer.from(field, 'utf8');
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    hash.update(length).update(bytes);
  }
  return hash.digest('hex');
}
