import { z } from 'zod';
import { offeredModelSchema } from '@plumbline/domain';

/** What `plumb up` hands to the process that supervises: its one argument, as JSON. Holds no secret. */
export const supervisorInputSchema = z.strictObject({
  home: z.string().min(1),
  root: z.string().min(1),
  models: z.array(offeredModelSchema),
  /** The file with the webhooks. */
  webhooks: z.string().min(1).optional(),
});
export type SupervisorInput = z.infer<typeof supervisorInputSchema>;

/** What the process says while it starts: events as they come, then one of `up` and `failed`. */
export const supervisorMessageSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('starting'), name: z.string() }),
  z.object({ type: z.literal('ready'), name: z.string(), where: z.string(), tookMs: z.number() }),
  z.object({ type: z.literal('note'), text: z.string() }),
  z.object({ type: z.literal('stopping'), name: z.string() }),
  z.object({ type: z.literal('up') }),
  z.object({
    type: z.literal('failed'),
    message: z.string(),
    mend: z.string().optional(),
    detail: z.array(z.string()),
    interrupted: z.boolean(),
  }),
]);
export type SupervisorMessage = z.infer<typeof supervisorMessageSchema>;
