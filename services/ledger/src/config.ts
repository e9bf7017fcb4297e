import { webhooksSchema } from '@plumbline/domain';
import { envInteger, envJson, envUrl } from '@plumbline/host';
import { z } from 'zod';
import { isLoopback, weakness } from './http/addressed.js';

export const ledgerConfig = z
  .object({
    PLUMB_DATABASE_URL: envUrl(['postgres:', 'postgresql:'], 'postgres://plumb_ledger@127.0.0.1:5432/plumb'),
    PLUMB_DATABASE_ADMIN_URL: envUrl(
      ['postgres:', 'postgresql:'],
      'postgres://postgres@127.0.0.1:5432/plumb',
    ).optional(),
    PLUMB_API_TOKEN: z
      .string('expected the token that clients of the HTTP API send')
      .min(16, 'expected at least 16 characters')
      .regex(/^[\x21-\x7e]+$/, 'expected printable ASCII without spaces, as a header can carry it'),
    PLUMB_HTTP_HOST: z.string().default('127.0.0.1'),
    PLUMB_API_HOSTS: z
      .string()
      .transform((text) =>
        text
          .toLowerCase()
          .split(',')
          .map((name) => name.trim())
          .filter((name) => name !== ''),
      )
      .pipe(z.array(z.string().regex(/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/, 'expected host names separated by commas')))
      .default([]),
    PLUMB_API_REQUESTS_PER_MINUTE: envInteger({ min: 1, max: 10_000_000 }).default(6_000),
    PLUMB_API_HELD_MAX: envInteger({ min: 1, max: 10_000 }).default(256),
    PLUMB_API_UPLOADS_MAX: envInteger({ min: 1, max: 12 }).default(6),
    PLUMB_API_DOWNLOADS_MAX: envInteger({ min: 1, max: 1_000 }).default(32),
    PLUMB_API_HEARTBEAT_MS: envInteger({ min: 10, max: 600_000 }).default(15_000),
    PLUMB_API_STALLED_AFTER_MS: envInteger({ min: 10, max: 600_000 }).default(30_000),
    PLUMB_ARTIFACT_BYTES_MAX: envInteger({ min: 1_024, max: 8 * 1_024 ** 3 }).default(1_024 ** 3),
    PLUMB_WEBHOOKS: envJson(webhooksSchema, 'an array of webhooks').default([]),
  })
  .superRefine((env, context) => {
    const weak = isLoopback(env.PLUMB_HTTP_HOST) ? undefined : weakness(env.PLUMB_API_TOKEN);
    if (weak === undefined) return;
    const message = `expected ${weak}, for other machines reach the API at ${env.PLUMB_HTTP_HOST}`;
    context.addIssue({ code: 'custom', path: ['PLUMB_API_TOKEN'], message });
  })
  .transform((env) => ({
    databaseUrl: env.PLUMB_DATABASE_URL,
    /** With it the ledger brings the schema up to date at its start; without it somebody else does. */
    adminUrl: env.PLUMB_DATABASE_ADMIN_URL,
    apiToken: env.PLUMB_API_TOKEN,
    artifactBytesMax: env.PLUMB_ARTIFACT_BYTES_MAX,
    /** Who is told of verdicts, escalations and ends, besides everybody on NATS. */
    webhooks: env.PLUMB_WEBHOOKS,
    /** Names with dots, besides localhost, under which the API may be asked. */
    apiHosts: env.PLUMB_API_HOSTS,
    /** From one address with the token, artifacts apart. */
    requestsPerMinute: env.PLUMB_API_REQUESTS_PER_MINUTE,
    /** Event streams and long polls at once. */
    heldMax: env.PLUMB_API_HELD_MAX,
    /** Each may hold a connection of the pool that appends use too: fewer than there are. */
    uploadsMax: env.PLUMB_API_UPLOADS_MAX,
    downloadsMax: env.PLUMB_API_DOWNLOADS_MAX,
    streams: { heartbeatMs: env.PLUMB_API_HEARTBEAT_MS, stalledAfterMs: env.PLUMB_API_STALLED_AFTER_MS },
  }));
export type LedgerConfig = z.infer<typeof ledgerConfig>;
