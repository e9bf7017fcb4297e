import { mkdtemp, mkdir, readFile, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CheckDocument, CheckId, Issue, Policy } from '@plumbline/domain';
import {
  commitChange,
  GitError,
  listTree,
  readBlob,
  sealWorkspace,
  takeSnapshot,
  type Workspace,
} from '@plumbline/repo';
import type { Sandbox, Toolchain } from '@plumbline/sandbox';
import { checkDocument } from './check-document.js';
import { allChecks } from './checks/all.js';
import { removeFolder } from './remove-folder.js';
import { runGate } from './run-gate.js';
import { writeBlob, writeTree } from './trees/write-objects.js';

const blobBytesMax = 256 << 20;

export interface CheckRequest {
  /** A repository on this machine: its work tree or its .git. Only ever read. */
  readonly repo: string;
  /** Any revision of it. */
  readonly base: string;
  /** A revision, or `WORKTREE` for the files as they are now, committed or not. */
  readonly head: string;
  readonly issue: Issue | null;
  readonly policy: Policy;
  readonly sandbox: Sandbox;
  readonly toolchain: Toolchain | null;
  readonly dependencies?: string;
  /** Only these checks. */
  readonly only?: readonly CheckId[];
  readonly skip?: readonly CheckId[];
  readonly signal: AbortSignal;
  readonly onStart?: (check: CheckId) => void;
  /** Scratch space; default: that of the system. */
  readonly workDir?: string;
}

/**
 * Runs the gate on a change of a repository on this machine and judges it. Objects are fetched into a private store, so the repository, its
 * index and its work tree stay as they are. Throws GitError for revisions and repositories that cannot be read, GateInfraError when
 * the machine is at fault.
 */
export async function runCheck(request: CheckRequest): Promise<CheckDocument> {
  const startedAt = performance.now();
  const parent = request.workDir ?? tmpdir();
  await mkdir(parent, { recursive: true });
  const workDir = await realpath(await mkdtemp(join(parent, 'plumbline-check-')));
  try {
    const change = await openLocalChange(request, workDir);
    const { issue, policy, sandbox, toolchain, dependencies, only, skip, signal, onStart } = request;
    const checks = allChecks.filter(
      ({ id }) => (only === undefined || only.includes(id)) && !(skip ?? []).includes(id),
    );
    const run = await runGate({
      ...{ ...change, issue, policy, sandbox, toolchain, signal, checks, workDir: join(workDir, 'gate') },
      ...(dependencies === undefined ? {} : { dependencies: await realpath(dependencies) }),
      ...(onStart === undefined ? {} : { onStart: ({ id }) => onStart(id) }),
    });
    return checkDocument(run, { policy, issue, durationMs: Math.round(performance.now() - startedAt) });
  } finally {
    await removeFolder(workDir);
  }
}

interface LocalChange {
  readonly gitDir: string;
  readonly base: string;
  readonly head: string;
  readonly tree: string;
}

async function openLocalChange(request: CheckRequest, workDir: string): Promise<LocalChange> {
  const repo = await realpath(request.repo);
  const store = await seal(repo, request.base, join(workDir, 'base'));
  if (request.head === 'WORKTREE')
    return { ...(await commitWorkTree(store, repo)), gitDir: store.gitDir, base: store.base };
  const head = await seal(repo, request.head, join(workDir, 'head'));
  return { gitDir: store.gitDir, base: store.base, head: head.base, tree: await copyTree(head, store) };
}

async function seal(repo: string, revision: string, dir: string): Promise<Workspace> {
  const { packPath, base, objectFormat } = await takeSnapshot({ url: repo, revision, workDir: join(dir, 'pack') });
  return sealWorkspace({ packPath, base, objectFormat, dir });
}

/** The work tree as a commit in the private store. Its instant is fixed: the same files are the same commit. */
async function commitWorkTree(store: Workspace, repo: string): Promise<{ head: string; tree: string }> {
  const treeDir = await workTreeOf(repo);
  const author = { name: 'Plumbline', email: 'plumbline@localhost' };
  return commitChange({
    gitDir: store.gitDir,
    treeDir,
    base: store.base,
    message: 'WORKTREE',
    author,
    at: new Date(1_700_000_000_000),
  });
}

/** The folder of the work tree's files. A bare repository has none. */
async function workTreeOf(repo: string): Promise<string> {
  const isGitFolder = await readFile(join(repo, 'HEAD')).then(
    () => true,
    () => false,
  );
  const dotGit = await realpath(join(repo, '.git')).catch(() => null);
  if (dotGit === null || isGitFolder)
    throw new GitError('NOT_A_REPOSITORY', `${repo} is not the top folder of a work tree.`);
  return repo;
}

/** Brings the tree of another store into this one; returns its id. Only what is not there yet is copied. */
async function copyTree(from: Workspace, to: Workspace): Promise<string> {
  const known = new Set((await listTree({ gitDir: to.gitDir, tree: to.base })).map(({ id }) => id));
  const entries = await listTree({ gitDir: from.gitDir, tree: from.base });
  for (const { id, mode } of entries) {
    if (known.has(id) || mode === '160000') continue;
    known.add(id);
    await writeBlob(to.gitDir, id, await readBlob({ gitDir: from.gitDir, blob: id, maxBytes: blobBytesMax }));
  }
  return writeTree(to.gitDir, from.base, entries);
}
