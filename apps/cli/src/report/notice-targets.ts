import { z } from 'zod';

/** What the ledger answers the operator's question who is told of what. */
export const noticeTargets = z.looseObject({
  targets: z.array(
    z.object({ target: z.string(), due: z.int().min(0), parkedAt: z.string().nullable(), why: z.string().nullable() }),
  ),
});
