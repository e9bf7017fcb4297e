import { envInteger } from '@plumbline/host';
import { z } from 'zod';

export const schedulerConfig = z
  .object({
    PLUMB_RECONCILE_INTERVAL_MS: envInteger({ min: 100, max: 600_000 }).default(5_000),
    PLUMB_STEP_IDLE_AFTER_MS: envInteger({ min: 100, max: 3_600_000 }).default(30_000),
    PLUMB_REPOSITORY_LOCAL: z.enum(['allow', 'refuse'], 'expected allow or refuse').default('refuse'),
    PLUMB_CONCURRENCY: envInteger({ min: 1, max: 64 }).default(8),
  })
  .transform((env) => ({
    reconcileIntervalMs: env.PLUMB_RECONCILE_INTERVAL_MS,
    /** How long a requested step may be without a live lease before it is requested again. */
    stepIdleAfterMs: env.PLUMB_STEP_IDLE_AFTER_MS,
    concurrency: env.PLUMB_CONCURRENCY,
    /** Whether directories of this machine may be submitted as repositories; the code-host must allow them too. */
    allowLocal: env.PLUMB_REPOSITORY_LOCAL === 'allow',
  }));
export type SchedulerConfig = z.infer<typeof schedulerConfig>;
