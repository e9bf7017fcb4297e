import { createHash } from 'node:crypto';

/**
 * UUID version 5 (RFC 9562) of `index` in the namespace `commandId`: the same command always yields the same event ids, so the unique
 * index on them is a second guard against recording a command twice.
 */
export function eventIdOf(commandId: string, index: number): string {
  const hash = createHash('sha1')
    .update(Buffer.from(commandId.replaceAll('-', ''), 'hex'))
    .update(String(index))
    .digest();
  hash[6] = ((hash[6] as number) & 0x0f) | 0x50;
  hash[8] = ((hash[8] as number) & 0x3f) | 0x80;
  const hex = hash.toString('hex', 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
