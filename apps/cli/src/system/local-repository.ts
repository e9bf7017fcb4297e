import { execFileSync } from 'node:child_process';
import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { badInput } from '../failure.js';

/**
 * The top folder of the repository `path` lies in: a work tree's, or a bare one's own. Only looks at names, so that nothing a repository
 * holds (configuration, hooks) takes effect. Throws CliError when there is no such directory or no repository around it.
 */
export function localRepository(path: string): string {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw badInput(
      `--repo is ${JSON.stringify(path)}, which is no directory.`,
      'Give a directory of a git repository, with its changes or without.',
    );
  }
  const start = realpathSync(path);
  for (let folder = start; ; folder = dirname(folder)) {
    if (existsSync(join(folder, '.git')) || isBare(folder)) return folder;
    if (folder === dirname(folder)) break;
  }
  throw badInput(
    `--repo is ${JSON.stringify(path)}, which is in no git repository.`,
    'Give a directory of one, or make it one with `git init` and a first commit.',
  );
}

/** A path inside `.git` counts as none: nobody means that. */
function isBare(folder: string): boolean {
  return ['HEAD', 'objects', 'refs'].every((name) => existsSync(join(folder, name)));
}

/**
 * Throws CliError when git says that `revision` names no commit of the repository. Where git cannot tell (another owner, no git here)
 * nothing is thrown: who opens the repository in earnest will say so.
 */
export function assertCommit(repository: string, revision: string, option: string): void {
  const named = (text: string): boolean => {
    try {
      const args = ['-C', repository, 'rev-parse', '--verify', '--quiet', '--end-of-options', `${text}^{commit}`];
      const { PATH, HOME } = process.env;
      execFileSync('git', args, { stdio: 'ignore', env: { PATH, HOME, GIT_OPTIONAL_LOCKS: '0' } });
      return true;
    } catch (error) {
      return (error as { status?: number | null }).status !== 1;
    }
  };
  if (named(revision)) return;
  if (!named('HEAD')) {
    throw badInput(
      `The repository ${repository} has no commit checked out, and ${option} names none.`,
      'Commit something first.',
    );
  }
  throw badInput(
    `${option} is ${JSON.stringify(revision)}, which names no commit of ${repository}.`,
    'Name a branch, tag or commit that exists there.',
  );
}
