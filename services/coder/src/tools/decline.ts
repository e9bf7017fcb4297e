import { z } from 'zod';
import type { Tool } from './tool.js';

const parameters = z.object({
  reason: z.string().trim().min(1).max(1_800).describe('the evidence, with files and lines'),
});

/** Ends the attempt without a change: an honest no is a good outcome. */
export const decline: Tool<z.infer<typeof parameters>> = {
  name: 'decline',
  description:
    'Ends without a change, when the issue is solved already, contradicts itself, or cannot be solved here. Give evidence.',
  parameters,
  writes: false,
  answer: ({ reason }) => Promise.resolve({ outcome: 'ok', text: 'declined', ending: { kind: 'decline', reason } }),
};
