import { createHash } from 'node:crypto';
import type { Submission } from '@plumbline/domain';

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
