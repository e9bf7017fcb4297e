import { createHmac } from 'node:crypto';

/**
 * The headers of one sending by the Standard Webhooks scheme, version 1 (github.com/standard-webhooks/standard-webhooks,
 * `spec/standard-webhooks.md`, "Verifying signatures"): HMAC-SHA256 over id, time in whole seconds and body, joined by full stops. The
 * same id and body under another time have another signature, so receivers can refuse what is old.
 */
export function webhookHeaders(
  secret: string,
  message: { readonly id: string; readonly body: string; readonly atMs: number },
): Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string> {
  const timestamp = String(Math.floor(message.atMs / 1_000));
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const signature = createHmac('sha256', key).update(`${message.id}.${timestamp}.${message.body}`).digest('base64');
  return { 'webhook-id': message.id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` };
}
