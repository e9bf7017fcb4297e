import { tmpdir } from 'node:os';
import { envInteger, envUrl } from '@plumbline/host';
import { z } from 'zod';

/** The gate's own environment. */
export const gateConfig = z
  .object({
    PLUMB_LEDGER_URL: envUrl(['http:', 'https:'], 'http://127.0.0.1:8080'),
    PLUMB_LEDGER_TOKEN: z.string('expected the bearer token of the ledger, or PLUMB_LEDGER_TOKEN_FILE instead').min(1),
    PLUMB_CONCURRENCY: envInteger({ min: 1, max: 64 }).default(1),
    PLUMB_WORK_DIR: z.string().default(tmpdir()),
    PLUMB_BWRAP: z.string().startsWith('/', 'expected the absolute path of bubblewrap').optional(),
  })
  .transform((env) => ({
    ledger: { url: env.PLUMB_LEDGER_URL.replace(/\/+$/, ''), token: env.PLUMB_LEDGER_TOKEN },
    concurrency: env.PLUMB_CONCURRENCY,
    workDir: env.PLUMB_WORK_DIR,
    /** Where bubblewrap is, when it is not where systems put it. */
    bwrapPath: env.PLUMB_BWRAP,
  }));
export type GateConfig = z.infer<typeof gateConfig>;
