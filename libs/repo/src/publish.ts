import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { failpoint } from '@plumbline/failpoint';
import { GitError, gitErrorOf } from './git-error.js';
import { git, gitResult, type Credential, type GitResult, type Remote } from './git.js';
import { assertObjectId, createStore, formatOf, setShallow } from './object-store.js';
import { advertisedRefs } from './snapshot.js';

export type Published =
  | { readonly outcome: 'published' }
  /** The branch was there already, at this very commit: an earlier attempt got through. */
  | { readonly outcome: 'already' }
  /** The branch exists at another commit. Nothing was pushed; it is never overwritten. */
  | { readonly outcome: 'branch-exists'; readonly at: string };

/**
 * Creates `refs/heads/<branch>` at `head` on the remote. Safe to repeat. The remote may create the branch only if it does not exist
 * at the moment of the push. Where the remote wants the history below base, it is fetched from there first.
 */
export async function publishBranch(options: {
  readonly gitDir: string;
  readonly base: string;
  readonly head: string;
  readonly url: string;
  readonly branch: string;
  readonly credential?: Credential;
  readonly timeoutMs?: number;
}): Promise<Published> {
  const { head } = options;
  assertObjectId(options.base);
  assertObjectId(head);
  const ref = `refs/heads/${options.branch}`;
  const named = await gitResult(['check-ref-format', ref]);
  if (named.exitCode !== 0 || options.branch.startsWith('-'))
    throw new GitError('FAILED', `${JSON.stringify(options.branch)} is not a branch name.`);
  const remote: Remote = { url: options.url, ...(options.credential ? { credential: options.credential } : {}) };
  const before = await stateOf(remote, ref, head);
  if (before !== null) return before;

  const target = { head, ref, remote, timeoutMs: options.timeoutMs ?? 300_000 };
  const pushed = await withHistory(options, remote, (gitDir) => createBranch({ gitDir, ...target }));
  if (pushed.exitCode === 0) return { outcome: 'published' };
  // Somebody, perhaps an earlier attempt of ours, may have been faster: what counts is what is there now.
  const after = await stateOf(remote, ref, head);
  if (after !== null) return after;
  throw gitErrorOf(pushed.stderr, 'git push');
}

/**
 * One push that may only create the branch. The empty lease makes the remote compare at the moment of the update, so a branch that
 * appeared after we looked is left alone even when the push would be a fast-forward. A push outlives a killed process that started it,
 * and does no harm: it creates the branch at the very commit that whoever tries next wants there.
 */
export async function createBranch(target: {
  readonly gitDir: string;
  readonly remote: Remote;
  readonly head: string;
  readonly ref: string;
  readonly timeoutMs: number;
}): Promise<GitResult> {
  const { gitDir, remote, head, ref, timeoutMs } = target;
  const args = ['push', '--quiet', '--no-verify', '--no-follow-tags', `--force-with-lease=${ref}:`, '--end-of-options'];
  const onStarted = (): void => failpoint('publish.pushing');
  return gitResult([...args, remote.url, `${head}:${ref}`], { gitDir, remote, timeoutMs, onStarted });
}

async function stateOf(remote: Remote, ref: string, head: string): Promise<Published | null> {
  const at = (await advertisedRefs(remote)).get(ref);
  if (at === undefined) return null;
  return at === head ? { outcome: 'already' } : { outcome: 'branch-exists', at };
}

/**
 * Pushes from a throw-away store that borrows the change's objects. A remote that has base accepts the change as it is; one that
 * calls the push shallow gets it again with base's history, fetched from that remote.
 */
async function withHistory<T extends { exitCode: number | null; stderr: string }>(
  options: { readonly gitDir: string; readonly base: string },
  remote: Remote,
  push: (gitDir: string) => Promise<T>,
): Promise<T> {
  const scratch = await mkdtemp(join(tmpdir(), 'plumbline-push-'));
  try {
    const gitDir = join(scratch, 'git');
    await createStore(gitDir, formatOf(options.base));
    await mkdir(join(gitDir, 'objects', 'info'), { recursive: true });
    await writeFile(join(gitDir, 'objects', 'info', 'alternates'), `${join(options.gitDir, 'objects')}\n`);
    await setShallow(gitDir, options.base);
    const first = await push(gitDir);
    if (first.exitCode === 0 || !/shallow/i.test(first.stderr)) return first;
    await git(['update-ref', 'refs/heads/base', options.base], { gitDir });
    await git(
      [
        'fetch',
        '--quiet',
        '--unshallow',
        '--no-tags',
        '--no-write-fetch-head',
        '--end-of-options',
        remote.url,
        '+refs/heads/*:refs/origin/*',
      ],
      {
        ...{ gitDir, remote, timeoutMs: 900_000 },
      },
    );
    return await push(gitDir);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
