import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { GitError } from './git-error.js';
import { gitResult } from './git.js';
import { listTree, readBlob, splitNul } from './tree-entries.js';

/** Which of the given paths the .gitignore files of a tree ignore, whether or not they are in it. Nothing of this machine is asked. */
export async function ignoredPaths(options: {
  readonly gitDir: string;
  readonly tree: string;
  readonly paths: readonly string[];
}): Promise<Set<string>> {
  const { gitDir, tree, paths } = options;
  const rules = (await listTree({ gitDir, tree })).filter(
    ({ path, mode }) => /(^|\/)\.gitignore$/.test(path) && mode.startsWith('100'),
  );
  if (rules.length === 0 || paths.length === 0) return new Set();
  const workTree = await mkdtemp(join(tmpdir(), 'plumbline-ignore-'));
  try {
    for (const { path, id } of rules) {
      await mkdir(dirname(join(workTree, path)), { recursive: true });
      await writeFile(join(workTree, path), await readBlob({ gitDir, blob: id }));
    }
    // This command knows no literal paths; what begins with ./ has no magic.
    const input = paths.map((path) => `./${path}\0`).join('');
    const asked = await gitResult(['-C', workTree, 'check-ignore', '--no-index', '--stdin', '-z'], {
      ...{ gitDir, workTree, input, env: { GIT_LITERAL_PATHSPECS: '0' } },
    });
    // 1: none of them is ignored.
    if (asked.exitCode === 0 || asked.exitCode === 1)
      return new Set(splitNul(asked.stdout).map((path) => path.slice(2)));
    throw new GitError('FAILED', `git check-ignore: ${asked.stderr.slice(0, 300)}`);
  } finally {
    await rm(workTree, { recursive: true, force: true });
  }
}
