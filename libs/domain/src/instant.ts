import { z } from 'zod';

/** ISO 8601 UTC with milliseconds or finer, e.g. `2026-11-20T09:30:00.000Z`. The domain never makes one: instants arrive as arguments. */
export const instantSchema = z.iso.datetime({ offset: false });
export type Instant = z.infer<typeof instantSchema>;
