import { z } from 'zod';
import type { Home } from './home.js';
import { readJson, writePrivateJson } from './private-file.js';
import { isRunning } from './process-identity.js';

const processIdentitySchema = z.object({ pid: z.int().min(1), started: z.string().min(1) });

/** What a running system tells the commands: where everything is and how to get in. Mode 0600, because it holds passwords. */
export const runFileSchema = z.object({
  schema: z.literal('plumbline.run/1'),
  state: z.enum(['starting', 'up', 'stopping']),
  supervisor: processIdentitySchema,
  startedAt: z.iso.datetime(),
  api: z.object({ url: z.url(), token: z.string() }).optional(),
  nats: z
    .object({
      url: z.string(),
      external: z.boolean(),
      user: z.object({ name: z.string(), password: z.string() }),
      operator: z.object({ name: z.string(), password: z.string() }),
    })
    .optional(),
  postgres: z.object({ url: z.string(), external: z.boolean() }).optional(),
  model: z.object({ url: z.string(), names: z.array(z.string()) }).optional(),
  processes: z.array(
    z.object({
      name: z.string(),
      pid: z.int().optional(),
      started: z.string().optional(),
      http: z.string().optional(),
      state: z.string(),
      restarts: z.int().min(0),
    }),
  ),
});
export type RunFile = z.infer<typeof runFileSchema>;

/** `stale`: a file of a system that is gone, left by a crash or a reboot. */
export type SystemState =
  | { readonly is: 'absent' }
  | { readonly is: 'stale'; readonly run?: RunFile }
  | { readonly is: 'running'; readonly run: RunFile };

/** Whether a system runs in this home, by its file and the very process the file names. */
export function systemState(home: Home): SystemState {
  const read = readJson(home.runFile);
  if (read === undefined) return { is: 'absent' };
  const parsed = runFileSchema.safeParse(read);
  if (!parsed.success) return { is: 'stale' };
  return isRunning(parsed.data.supervisor) ? { is: 'running', run: parsed.data } : { is: 'stale', run: parsed.data };
}

/** Replaces the file. */
export function writeRunFile(home: Home, run: RunFile): void {
  writePrivateJson(home.runFile, run);
}
