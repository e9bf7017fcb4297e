import { z } from 'zod';
import { confine, treeInside } from './confined-path.js';
import { runInTree } from './sandboxed.js';
import { error, ok, type Tool } from './tool.js';

const hitsMax = 50;
const parameters = z.object({
  pattern: z.string().min(1).max(1_000).describe('POSIX extended regular expression'),
  path: z.string().default('.').describe('file or directory to search'),
});

/** Searches file contents with grep, inside the sandbox: a pattern of the model is code too, and may take for ever. */
export const search: Tool<z.infer<typeof parameters>> = {
  name: 'search',
  description: 'Searches text files for a regular expression. Answers path:line:text, at most 50 hits.',
  parameters,
  writes: false,
  async answer({ pattern, path }, context) {
    if (/[\0\n]/.test(pattern)) return error('the pattern must be one line');
    const place = await confine(context.treeDir, path);
    if (!place.ok) return error(place.problem);
    const below = place.host.slice(context.treeDir.length + 1);
    const skip = ['.git', 'node_modules'].map((name) => `--exclude-dir=${name}`);
    const argv = [
      '/usr/bin/env',
      'grep',
      '-rnIE',
      '-D',
      'skip',
      ...skip,
      '-e',
      pattern,
      '--',
      below === '' ? '.' : below,
    ];
    const result = await runInTree(context, { argv, mode: 'ro', wallMs: 20_000, outputBytes: 512 << 10 });
    const exit = result.outcome === 'exited' ? result.exitCode : 0;
    if (exit === 127) return error('search is not available here: there is no grep; use run');
    if (exit === 2 && result.stdout === '')
      return error(`grep: ${result.stderr.replaceAll(treeInside, '').slice(0, 500)}`);
    const whole = result.truncated ? result.stdout.slice(0, result.stdout.lastIndexOf('\n') + 1) : result.stdout;
    const hits = whole
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.replace(/^\.\//, ''))
      .sort(byPlace);
    if (hits.length === 0)
      return ok(result.outcome === 'timed-out' ? 'no hit within 20 seconds; narrow the path' : 'no hits');
    const shown = hits.slice(0, hitsMax).map((line) => (line.length > 300 ? `${line.slice(0, 300)}…` : line));
    const more =
      hits.length > hitsMax || result.truncated
        ? `\n(${hits.length - shown.length} more hits or so; narrow the pattern or the path)`
        : '';
    return ok(shown.join('\n') + more);
  },
};

/** By path, then by line number: the order of a directory is not the same on every machine. */
function byPlace(a: string, b: string): number {
  const [pathA = '', lineA = ''] = a.split(':', 2);
  const [pathB = '', lineB = ''] = b.split(':', 2);
  if (pathA !== pathB) return pathA < pathB ? -1 : 1;
  return Number(lineA) - Number(lineB);
}
