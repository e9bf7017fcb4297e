import { z } from 'zod';
import { runInTree } from './sandboxed.js';
import { error, type Tool } from './tool.js';

const secondsMax = 300;
const parameters = z.object({
  command: z
    .string()
    .min(1)
    .max(20_000)
    .refine((text) => !text.includes('\0'), 'must not contain NUL'),
  timeoutS: z.coerce.number().int().min(1).max(secondsMax).default(60).describe(`seconds, at most ${secondsMax}`),
});

/** Runs a shell command in the sandbox, with the work tree writable at /work. Ends every process it started. */
export const run: Tool<z.infer<typeof parameters>> = {
  name: 'run',
  description: 'Runs a shell command in the root of the repository, without network. Nothing keeps running afterwards.',
  parameters,
  writes: true,
  async answer({ command, timeoutS }, context) {
    const argv = ['/bin/sh', '-c', command];
    const result = await runInTree(context, { argv, mode: 'rw', wallMs: timeoutS * 1_000, outputBytes: 4 << 20 });
    if (result.outcome === 'not-started') return error(`not run: ${result.fault?.what ?? 'unknown'}`);
    const how = {
      exited: `exit code ${result.exitCode}`,
      'timed-out': `killed after ${timeoutS} seconds`,
      oom: 'killed: out of memory',
      'output-limit': 'killed: more than 4 MiB of output',
      aborted: 'stopped',
    }[result.outcome];
    const parts = [how, result.stdout, result.stderr === '' ? '' : `stderr:\n${result.stderr}`];
    const text = parts.filter((part) => part !== '').join('\n');
    return { outcome: result.outcome === 'exited' && result.exitCode === 0 ? 'ok' : 'error', text };
  },
};
