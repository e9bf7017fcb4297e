import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError, gitErrorOf } from './git-error.js';
import { git, gitLine, gitResult, type Credential, type Remote } from './git.js';
import { createStore, formatOf, type ObjectFormat } from './object-store.js';

export interface SnapshotRequest {
  /** Validated before by `parseRepositoryUrl` and `parseRevision`. */
  readonly url: string;
  readonly revision: string;
  /** The pack is left there; scratch space is removed. */
  readonly workDir: string;
  readonly credential?: Credential;
  /** Largest pack, in bytes; default 2 GiB. */
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
}

export interface Snapshot {
  readonly base: string;
  readonly tree: string;
  readonly objectFormat: ObjectFormat;
  /** One commit with its tree and files; no history, no other branch. */
  readonly packPath: string;
  readonly sizeBytes: number;
}

const FETCHED = 'refs/plumbline/base';
const FULL_ID = /^([0-9a-f]{40}|[0-9a-f]{64})$/;

/**
 * Fetches one commit, without history where the server allows it, and writes it as a self-contained pack. Throws `GitError`:
 * `UNKNOWN_REVISION`, `AUTH`, `UNREACHABLE`, `NOT_A_REPOSITORY`, `TOO_LARGE`, …
 */
export async function takeSnapshot(request: SnapshotRequest): Promise<Snapshot> {
  const maxBytes = request.maxBytes ?? 2 ** 31;
  await mkdir(request.workDir, { recursive: true });
  const scratch = await mkdtemp(join(request.workDir, 'fetch-'));
  try {
    const remote: Remote = { url: request.url, ...(request.credential ? { credential: request.credential } : {}) };
    const advertised = await advertisedRefs(remote, request.timeoutMs);
    const objectFormat = formatOf(
      [...advertised.values()][0] ?? (FULL_ID.test(request.revision) ? request.revision : ''),
    );
    const gitDir = join(scratch, 'git');
    await createStore(gitDir, objectFormat);
    const fetch = (refspecs: readonly string[], depth: readonly string[]) =>
      gitResult(
        [
          'fetch',
          '--quiet',
          '--no-tags',
          '--no-write-fetch-head',
          ...depth,
          '--end-of-options',
          request.url,
          ...refspecs,
        ],
        {
          ...{ gitDir, remote, maxFileBytes: maxBytes },
          timeoutMs: request.timeoutMs ?? 900_000,
        },
      );
    const fetchError = async (stderr: string) => {
      return (await isFull(gitDir, maxBytes)) ? tooLarge(maxBytes) : gitErrorOf(stderr, 'git fetch');
    };
    const base = await fetchCommit(request.revision, advertised, gitDir, fetch, fetchError);
    return await writePack(gitDir, base, objectFormat, request.workDir, maxBytes);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function tooLarge(maxBytes: number): GitError {
  return new GitError('TOO_LARGE', `The snapshot exceeds ${maxBytes} bytes.`);
}

/** git's messages do not say that a pack hit the file size limit, but the pack it left behind does. */
async function isFull(gitDir: string, maxBytes: number): Promise<boolean> {
  const dir = join(gitDir, 'objects', 'pack');
  for (const name of await readdir(dir).catch(() => [])) {
    if ((await stat(join(dir, name))).size >= maxBytes) return true;
  }
  return false;
}

/** Names and ids a remote advertises, with peeled tags under `name^{}`. */
export async function advertisedRefs(remote: Remote, timeoutMs = 60_000): Promise<Map<string, string>> {
  const text = (await git(['ls-remote', '--end-of-options', remote.url], { remote, timeoutMs })).toString('utf8');
  return new Map(
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => {
        const tab = line.indexOf('\t');
        return [line.slice(tab + 1), line.slice(0, tab)] as const;
      }),
  );
}

type Fetch = (refspecs: readonly string[], depth: readonly string[]) => ReturnType<typeof gitResult>;

async function fetchCommit(
  revision: string,
  advertised: Map<string, string>,
  gitDir: string,
  fetch: Fetch,
  fetchError: (stderr: string) => Promise<GitError>,
): Promise<string> {
  // The order of git's own rules (gitrevisions), without the ones for other remotes.
  const name = [revision, `refs/${revision}`, `refs/tags/${revision}`, `refs/heads/${revision}`].find((ref) =>
    advertised.has(ref),
  );
  const wanted = FULL_ID.test(revision) ? revision : name;
  if (wanted !== undefined) {
    const shallow = await fetch([`+${wanted}:${FETCHED}`], ['--depth=1']);
    if (shallow.exitCode === 0) return commitOf(gitDir, FETCHED, revision);
    if (!/unadvertised object|not our ref|couldn't find remote ref/i.test(shallow.stderr)) {
      throw await fetchError(shallow.stderr);
    }
  }
  // An abbreviated id, an expression such as main~2, or a server that gives out only branch tips: history is needed to find it.
  const whole = await fetch(['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'], []);
  if (whole.exitCode !== 0) throw await fetchError(whole.stderr);
  return commitOf(
    gitDir,
    revision === 'HEAD' || /^HEAD[~^]/.test(revision) ? headOf(revision, advertised) : revision,
    revision,
  );
}

/** The remote's HEAD is a commit of one of the branches just fetched. */
function headOf(revision: string, advertised: Map<string, string>): string {
  return revision.replace(/^HEAD/, advertised.get('HEAD') ?? 'HEAD');
}

async function commitOf(gitDir: string, expression: string, asked: string): Promise<string> {
  const found = await gitResult(['rev-parse', '--verify', '--quiet', '--end-of-options', `${expression}^{commit}`], {
    gitDir,
  });
  const id = found.stdout.toString('latin1').trim();
  if (found.exitCode !== 0 || !FULL_ID.test(id))
    throw new GitError('UNKNOWN_REVISION', `${asked} names no commit there.`);
  return id;
}

async function writePack(
  gitDir: string,
  base: string,
  objectFormat: ObjectFormat,
  workDir: string,
  maxBytes: number,
): Promise<Snapshot> {
  const objects = await git(['rev-list', '--objects', '--no-object-names', '--max-count=1', base], { gitDir });
  const packPath = join(workDir, `base-${base}.pack`);
  await rm(packPath, { force: true });
  const options = { gitDir, input: objects, outputFile: packPath, maxBytes, timeoutMs: 600_000 };
  try {
    await git(['pack-objects', '--quiet', '--stdout', '--no-reuse-delta'], options);
  } catch (error) {
    await rm(packPath, { force: true });
    throw error;
  }
  const tree = await gitLine(['rev-parse', '--verify', `${base}^{tree}`], { gitDir });
  return { base, tree, objectFormat, packPath, sizeBytes: (await stat(packPath)).size };
}
