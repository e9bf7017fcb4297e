import { webhooksSchema } from '@plumbline/domain';
import { envInteger, envJson, envUrl } from '@plumbline/host';
import { z } from 'zod';

export const ledgerConfig = z
  .object({
    PLUMB_DATABASE_URL: envUrl(['postgres:', 'postgresql:'], 'postgres://plumb_ledger@127.0.0.1:5432/plumb'),
    PLUMB_DATABASE_ADMIN_URL: envUrl(
      ['postgres:', 'postgresql:'],
      'postgres://postgres@127.0.0.1:5432/plumb',
    ).optional(),
    PLUMB_API_TOKEN: z
      .string('expected the token that clients of the HTTP API send')
      .min(16, 'expected at least 16 characters'),
    PLUMB_ARTIFACT_BYTES_MAX: envInteger({ min: 1_024, max: 8 * 1_024 ** 3 }).default(1_024 ** 3),
    PLUMB_WEBHOOKS: envJson(webhooksSchema, 'an array of webhooks').default([]),
  })
  .transform((env) => ({
    databaseUrl: env.PLUMB_DATABASE_URL,
    /** With it the ledger brings the schema up to date at its start; without it somebody else does. */
    adminUrl: env.PLUMB_DATABASE_ADMIN_URL,
    apiToken: env.PLUMB_API_TOKEN,
    artifactBytesMax: env.PLUMB_ARTIFACT_BYTES_MAX,
    /** Who is told of verdicts, escalations and ends, besides everybody on NATS. */
    webhooks: env.PLUMB_WEBHOOKS,
  }));
export type LedgerConfig = z.infer<typeof ledgerConfig>;
