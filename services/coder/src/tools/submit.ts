import { z } from 'zod';
import type { Tool } from './tool.js';

const parameters = z.object({
  summary: z.string().trim().min(1).max(4_000).describe('what was changed and why, for the commit message'),
});

/** Hands in the work tree as it is. What becomes of it is not up to the model. */
export const submit: Tool<z.infer<typeof parameters>> = {
  name: 'submit',
  description: 'Hands in the work tree as your change. Call it once the issue is solved and tested.',
  parameters,
  writes: false,
  answer: ({ summary }) => Promise.resolve({ outcome: 'ok', text: 'handed in', ending: { kind: 'submit', summary } }),
};
