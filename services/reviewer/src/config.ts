import { envList, workerConfigOf, workerEnv } from '@plumbline/host';
import { z } from 'zod';

/** The reviewer's own environment. */
export const reviewerConfig = workerEnv
  .extend({ PLUMB_MODEL_ALLOW_HOSTS: z.string().default('') })
  .transform((env) => ({
    ...workerConfigOf(env),
    /** Model hosts outside the house that the operator allows by name, separated by commas. */
    allowHosts: envList(env.PLUMB_MODEL_ALLOW_HOSTS),
  }));
export type ReviewerConfig = z.infer<typeof reviewerConfig>;
