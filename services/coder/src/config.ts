import { envList, workerConfigOf, workerEnv } from '@plumbline/host';
import { z } from 'zod';

/** The coder's own environment. */
export const coderConfig = workerEnv
  .extend({
    PLUMB_BWRAP: z.string().startsWith('/', 'expected the absolute path of bubblewrap').optional(),
    PLUMB_MODEL_ALLOW_HOSTS: z.string().default(''),
  })
  .transform((env) => ({
    ...workerConfigOf(env),
    /** Where bubblewrap is, when it is not where systems put it. */
    bwrapPath: env.PLUMB_BWRAP,
    /** Model hosts outside the house that the operator allows by name, separated by commas. */
    allowHosts: envList(env.PLUMB_MODEL_ALLOW_HOSTS),
  }));
export type CoderConfig = z.infer<typeof coderConfig>;
