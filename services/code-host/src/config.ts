import { tmpdir } from 'node:os';
import { envInteger, envUrl } from '@plumbline/host';
import { z } from 'zod';

export const codeHostConfig = z
  .object({
    PLUMB_LEDGER_URL: envUrl(['http:', 'https:'], 'http://127.0.0.1:8080'),
    PLUMB_LEDGER_TOKEN: z.string('expected the bearer token of the ledger, or PLUMB_LEDGER_TOKEN_FILE instead').min(1),
    PLUMB_CONCURRENCY: envInteger({ min: 1, max: 64 }).default(2),
    PLUMB_WORK_DIR: z.string().default(tmpdir()),
    PLUMB_REPOSITORY_LOCAL: z.enum(['allow', 'refuse'], 'expected allow or refuse').default('refuse'),
    PLUMB_GIT_USERNAME: z.string().default('git'),
    PLUMB_GIT_TOKEN: z.string().optional(),
    PLUMB_GIT_SSH_KEY: z.string().optional(),
  })
  .transform((env) => ({
    ledger: { url: env.PLUMB_LEDGER_URL.replace(/\/+$/, ''), token: env.PLUMB_LEDGER_TOKEN },
    concurrency: env.PLUMB_CONCURRENCY,
    workDir: env.PLUMB_WORK_DIR,
    /** Whether directories of this machine may be repositories: only where the machine's owner is the one who submits. */
    allowLocal: env.PLUMB_REPOSITORY_LOCAL === 'allow',
    credentials: {
      ...(env.PLUMB_GIT_TOKEN === undefined
        ? {}
        : { https: { kind: 'basic', username: env.PLUMB_GIT_USERNAME, password: env.PLUMB_GIT_TOKEN } as const }),
      ...(env.PLUMB_GIT_SSH_KEY === undefined
        ? {}
        : { ssh: { kind: 'ssh-key', path: env.PLUMB_GIT_SSH_KEY } as const }),
    },
  }));
export type CodeHostConfig = z.infer<typeof codeHostConfig>;
