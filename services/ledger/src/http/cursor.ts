import { createHmac, timingSafeEqual } from 'node:crypto';

/** Bytes of the mark that a cursor was made here, for this list and these filters. */
const sealBytes = 12;

/**
 * Where the next page of a list begins, as text that only the maker can read anything into. A cursor names the last position shown, so
 * that what is added meanwhile moves nothing; it is sealed with the list's name and filters, so that a cursor of another list, of other
 * filters, or one that somebody wrote is told from ours. Ledgers with the same key (replicas) read each other's.
 */
export class Cursors {
  constructor(private readonly key: string) {}

  /** The cursor for what follows `position` in a list with these filters. */
  write(list: string, filters: Readonly<Record<string, unknown>>, position: number): string {
    const place = Buffer.alloc(8);
    place.writeBigUInt64BE(BigInt(position));
    return Buffer.concat([place, this.seal(list, filters, place)]).toString('base64url');
  }

  /** The position a cursor names; undefined for one that was not made for this list with these filters. */
  read(list: string, filters: Readonly<Record<string, unknown>>, cursor: string): number | undefined {
    const bytes = Buffer.from(cursor, 'base64url');
    // Decoding is lenient: what does not read back as it was written is not ours.
    if (bytes.length !== 8 + sealBytes || bytes.toString('base64url') !== cursor) return undefined;
    const place = bytes.subarray(0, 8);
    if (!timingSafeEqual(bytes.subarray(8), this.seal(list, filters, place))) return undefined;
    const position = Number(place.readBigUInt64BE());
    return Number.isSafeInteger(position) ? position : undefined;
  }

  private seal(list: string, filters: Readonly<Record<string, unknown>>, place: Buffer): Buffer {
    const given = Object.entries(filters).filter(([, value]) => value !== undefined);
    const canonical = JSON.stringify([list, given.sort(([a], [b]) => (a < b ? -1 : 1))]);
    return createHmac('sha256', `plumbline cursor ${this.key}`)
      .update(canonical)
      .update(place)
      .digest()
      .subarray(0, sealBytes);
  }
}
