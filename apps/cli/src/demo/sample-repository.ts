import { execFile } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CliError } from '../failure.js';
import { plain } from '../terminal/text.js';

const run = promisify(execFile);

/** The history the sample gets, oldest first: the files each commit adds, all others come with the last. */
const commits = [
  {
    message: 'Baskets, money and tax',
    files: ['.gitignore', 'README.md', 'build.mjs', 'package.json', 'src/basket*', 'src/money*', 'src/tax*'],
  },
  { message: 'Discounts and receipts', files: ['.'] },
] as const;

const author = 'Corner Shop <till@corner-shop.example>';
/** Fixed, so that the sample has the same commit ids on every machine. */
const dates = ['2026-03-02T09:00:00Z', '2026-03-09T09:00:00Z'] as const;

/** The branch everything starts from. */
export const baseBranch = 'main';

/** Makes a bare repository `origin.git` in `folder` out of the files in `source`; returns its path. Throws CliError when Git fails. */
export async function makeOrigin(source: string, folder: string): Promise<string> {
  const origin = join(folder, 'origin.git');
  const work = join(folder, 'checkout');
  mkdirSync(folder, { recursive: true });
  cpSync(source, work, { recursive: true });
  await git(folder, ['init', '--quiet', '--bare', `--initial-branch=${baseBranch}`, origin]);
  await git(work, ['init', '--quiet', `--initial-branch=${baseBranch}`]);
  for (const [at, { message, files }] of commits.entries()) {
    const date = dates[at] ?? dates[0];
    await git(work, ['add', '--', ...files]);
    await git(work, ['commit', '--quiet', `--author=${author}`, `--date=${date}`, `--message=${message}`], {
      GIT_COMMITTER_DATE: date,
    });
  }
  await git(work, ['push', '--quiet', origin, baseBranch]);
  return origin;
}

/** The branches of a repository with the commits they point at. */
export async function branchesOf(repository: string): Promise<Map<string, string>> {
  const said = await git(repository, ['for-each-ref', '--format=%(refname:short) %(objectname)', 'refs/heads']);
  const rows = said.split('\n').filter((line) => line !== '');
  return new Map(rows.map((line) => line.split(' ') as [string, string]));
}

/** `2 files, +24 -2`: how much changed between two commits of a repository. */
export async function changeSize(repository: string, from: string, to: string): Promise<string> {
  const rows = (await git(repository, ['diff', '--numstat', from, to])).split('\n').filter((line) => line !== '');
  const total = (at: 0 | 1): number => rows.reduce((sum, row) => sum + (Number(row.split('\t')[at]) || 0), 0);
  return `${rows.length} ${rows.length === 1 ? 'file' : 'files'}, +${total(0)} -${total(1)}`;
}

/** Runs Git with none of the user's configuration, hooks or environment: the sample is the same everywhere. */
async function git(cwd: string, args: readonly string[], extra: Record<string, string> = {}): Promise<string> {
  const env = {
    PATH: process.env['PATH'],
    HOME: cwd,
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
    GIT_COMMITTER_NAME: 'Corner Shop',
    GIT_COMMITTER_EMAIL: 'till@corner-shop.example',
    ...extra,
  };
  try {
    return (await run('git', ['-c', 'core.hooksPath=/dev/null', '-c', 'commit.gpgSign=false', ...args], { cwd, env }))
      .stdout;
  } catch (error) {
    const { stderr, code } = error as { stderr?: string; code?: string | number };
    if (code === 'ENOENT')
      throw new CliError(
        'git was not found on PATH.',
        'Install it with your package manager (Debian: `apt-get install git`).',
      );
    throw new CliError(`git ${args[0] ?? ''} failed: ${plain(stderr ?? String(error))}`, 'See `plumb doctor`.', {
      cause: error,
    });
  }
}
