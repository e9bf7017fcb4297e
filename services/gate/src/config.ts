import { workerConfigOf, workerEnv } from '@plumbline/host';
import { z } from 'zod';

/** The gate's own environment. */
export const gateConfig = workerEnv
  .extend({ PLUMB_BWRAP: z.string().startsWith('/', 'expected the absolute path of bubblewrap').optional() })
  .transform((env) => ({
    ...workerConfigOf(env),
    /** Where bubblewrap is, when it is not where systems put it. */
    bwrapPath: env.PLUMB_BWRAP,
  }));
export type GateConfig = z.infer<typeof gateConfig>;
