import { createHash } from 'node:crypto';
import type { Submission, TaskId } from '@plumbline/domain';

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * The task of a submission: derived from the sender's idempotency key where there is one, else from the CloudEvent's source and id, so that
 * the same submission is the same task however often it is delivered.
 */
export function taskIdOf(origin: { source: string; id: string }, submission: Submission): TaskId {
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

/** What was asked for, without the key it came under: two submissions with the same digest ask for the same. */
export function contentDigest(submission: Submission): string {
  const { idempotencyKey: _key, ...content } = submission;
  return createHash('sha256').update(canonical(content)).digest('hex');
}

/** JSON with sorted keys, so that the order in which a client wrote its fields makes no difference. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
  return `{${entries
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`)
    .join(',')}}`;
}
