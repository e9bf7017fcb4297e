import { createHash } from 'node:crypto';

const namespace = Buffer.from('5b0d6a0e9c5a4f0c8d1e7a2b3c4d5e6f', 'hex');

/**
 * A name-based UUID (version 5, RFC 9562) of the parts: the same cause always makes the same command, so that the ledger answers a
 * repetition with the first result. The parts are joined unambiguously.
 */
export function commandId(...parts: readonly (string | number)[]): string {
  const bytes = createHash('sha1').update(namespace).update(JSON.stringify(parts)).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x50;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
