import type { Webhook } from '@plumbline/domain';
import { webhookHeaders } from './webhook-signature.js';

/** How one sending ended. `gone`: the receiver said that it wants nothing more. `why` never holds an address: it may be a secret. */
export type Sending =
  { readonly outcome: 'delivered' } | { readonly outcome: 'failed'; readonly why: string; readonly gone: boolean };

/** All that a receiver gets, from the look-up of its name to the last header of its answer. */
export const webhookTimeoutMs = 15_000;

/**
 * Posts one notice to one receiver. Only a 2xx status delivers: redirects are not followed, for they would carry the notice where nobody
 * wrote that it may go. The answer's body is not read, however long it is. Never throws.
 */
export async function postWebhook(
  { url, secret }: Pick<Webhook, 'url' | 'secret'>,
  { id, body }: { readonly id: string; readonly body: string },
  options: { readonly nowMs: number; readonly signal: AbortSignal; readonly timeoutMs?: number },
): Promise<Sending> {
  const timeoutMs = options.timeoutMs ?? webhookTimeoutMs;
  const late = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, {
      method: 'POST',
      redirect: 'manual',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'plumbline',
        ...webhookHeaders(secret, { id, body, atMs: options.nowMs }),
      },
      body,
      signal: AbortSignal.any([options.signal, late]),
    });
    // Closes the connection where there is more to come. What goes wrong from here on comes after the answer.
    await response.body?.cancel().catch(() => undefined);
    if (response.status >= 200 && response.status < 300) return { outcome: 'delivered' };
    const moved = response.status >= 300 && response.status < 400 ? ', a redirect, which is not followed' : '';
    return { outcome: 'failed', why: `answered ${response.status}${moved}`, gone: response.status === 410 };
  } catch (error) {
    if (options.signal.aborted) return { outcome: 'failed', why: 'the ledger was stopped', gone: false };
    if (late.aborted) return { outcome: 'failed', why: `no answer within ${timeoutMs / 1_000} s`, gone: false };
    return { outcome: 'failed', why: `not reached: ${codeOf(error)}`, gone: false };
  }
}

/** The code of what went wrong below `fetch`, e.g. ECONNREFUSED or CERT_HAS_EXPIRED. Messages may quote the address, codes do not. */
function codeOf(error: unknown): string {
  for (let cause: unknown = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) {
    const { code } = cause as { code?: unknown };
    if (typeof code === 'string') return code;
  }
  return error instanceof Error ? error.name : 'unknown';
}
