import { workerConfigOf, workerEnv } from '@plumbline/host';
import { z } from 'zod';
import type { HostAccess } from './repository-access.js';

/** The code-host's own environment: the only service that is given credentials of a repositories' host. */
export const codeHostConfig = workerEnv
  .extend({
    PLUMB_REPOSITORY_LOCAL: z.enum(['allow', 'refuse'], 'expected allow or refuse').default('refuse'),
    PLUMB_GIT_HOST: z
      .string()
      .regex(/^[a-z0-9.-]+(:\d+)?$/i, 'expected a host name, e.g. github.com')
      .optional(),
    PLUMB_GIT_USER: z.string().default('x-access-token'),
    PLUMB_GIT_TOKEN: z.string().min(1).optional(),
    PLUMB_GIT_SSH_KEY_PATH: z.string().startsWith('/', 'expected an absolute path').optional(),
  })
  .refine(
    (env) => env.PLUMB_GIT_HOST !== undefined || (env.PLUMB_GIT_TOKEN ?? env.PLUMB_GIT_SSH_KEY_PATH) === undefined,
    {
      path: ['PLUMB_GIT_HOST'],
      message: 'the host that PLUMB_GIT_TOKEN or PLUMB_GIT_SSH_KEY_PATH is for; credentials are shown to no other',
    },
  )
  .transform((env) => {
    const access: HostAccess = {
      allowLocal: env.PLUMB_REPOSITORY_LOCAL === 'allow',
      ...(env.PLUMB_GIT_HOST === undefined ? {} : { host: env.PLUMB_GIT_HOST.toLowerCase() }),
      ...(env.PLUMB_GIT_TOKEN === undefined
        ? {}
        : { basic: { username: env.PLUMB_GIT_USER, password: env.PLUMB_GIT_TOKEN } }),
      ...(env.PLUMB_GIT_SSH_KEY_PATH === undefined ? {} : { sshKeyPath: env.PLUMB_GIT_SSH_KEY_PATH }),
    };
    return {
      ...workerConfigOf(env),
      access,
    };
  });
export type CodeHostConfig = z.infer<typeof codeHostConfig>;
