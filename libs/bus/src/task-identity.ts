import { createHash } from 'node:crypto';
import type { Submission, TaskId } from '@plumbline/domain';

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * The task of a submission: derived from the sender's idempotency key where there is one, else from the CloudEvent's source and id, so that
 * the same submission is the same task however often it is delivered, and whoever submits knows its task before it is recorded.
 */
export function taskIdOf(
  origin: { source: string; id: string },
  submission: Pick<Submission, 'idempotencyKey'>,
): TaskId {
  const name =
    submission.idempotencyKey === undefined ? ['event', origin.source, origin.id] : ['key', submission.idempotencyKey];
  const digest = createHash('sha256').update(JSON.stringify(name)).digest();
  // 26 characters of 5 bits: 130 of the digest's 256 bits.
  let text = '';
  for (let i = 0; i < 26; i++) {
    const bit = i * 5;
    const pair = ((digest[bit >> 3] ?? 0) << 8) | (digest[(bit >> 3) + 1] ?? 0);
    text += alphabet.charAt((pair >> (11 - (bit & 7))) & 31);
  }
  return `t-${text}`;
}
