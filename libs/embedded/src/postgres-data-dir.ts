import { execFile } from 'node:child_process';
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
} from 'node:fs';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { EmbeddedError } from './embedded-error.js';
import type { ServerIdentity } from './server-identity.js';
import { isAlive, SERVER_ENV } from './server-process.js';

const run = promisify(execFile);

export type InitOptions = {
  dataDir: string;
  binFolder: string;
  identity: ServerIdentity;
  superuserPassword: string;
  sync: boolean;
};

/**
 * Creates the database files unless they are there. Works in a folder beside `dataDir` and renames it in the end, so a
 * kill at any moment leaves either no database or a whole one.
 */
export async function ensureInitialized(options: InitOptions): Promise<void> {
  const { dataDir } = options;
  if (existsSync(join(dataDir, 'PG_VERSION'))) return;
  if (existsSync(dataDir) && readdirSync(dataDir).length > 0) {
    throw new EmbeddedError(
      'data-dir-foreign',
      `${dataDir} holds files but no Postgres database.`,
      'Name an empty or a new folder for the data.',
    );
  }
  mkdirSync(dirname(dataDir), { recursive: true });
  removeAbandonedStagings(dataDir);
  const staging = mkdtempSync(`${dataDir}.init-${process.pid}-`);
  try {
    await initialize(staging, options);
    renameSync(join(staging, 'data'), dataDir);
  } catch (error) {
    throw isTaken(error) ? inUse(dataDir) : error;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

async function initialize(
  staging: string,
  { binFolder, identity, superuserPassword, sync }: InitOptions,
): Promise<void> {
  const passwordFile = join(staging, 'password');
  writeFileSync(passwordFile, superuserPassword, { mode: 0o600 });
  if (identity.kind === 'other-user') {
    for (const path of [staging, passwordFile]) chownSync(path, identity.uid, identity.gid);
  }
  const [program, ...args] = asIdentity(identity, [
    join(binFolder, 'initdb'),
    ...['--pgdata', join(staging, 'data'), '--username', 'postgres', '--encoding', 'UTF8', '--no-locale'],
    ...['--auth', 'scram-sha-256', '--pwfile', passwordFile, '--no-instructions'],
    ...(sync ? [] : ['--no-sync']),
  ]);
  const drop = identity.kind === 'other-user' ? { uid: identity.uid, gid: identity.gid } : {};
  try {
    await run(program, args, { cwd: staging, env: SERVER_ENV, ...drop });
  } catch (error) {
    throw initFailure(staging, identity, error as Error & { stdout?: string; stderr?: string });
  }
}

/** The command as the identity runs it; for `other-user` the spawn options do it. */
export function asIdentity(identity: ServerIdentity, command: readonly [string, ...string[]]): [string, ...string[]] {
  const [first, ...rest] = identity.kind === 'namespace' ? [...identity.prefix, ...command] : command;
  return [first ?? command[0], ...rest];
}

function initFailure(
  staging: string,
  identity: ServerIdentity,
  error: Error & { stdout?: string; stderr?: string },
): EmbeddedError {
  const said = `${error.stdout ?? ''}${error.stderr ?? ''}`.trim() || error.message;
  const log = said.split('\n').slice(-15).join('\n');
  if (/No space left on device/.test(said)) return diskFull(dirname(staging), log);
  if (identity.kind === 'other-user' && /EACCES|Permission denied/.test(`${said}${error.message}`)) {
    return new EmbeddedError(
      'root-refused',
      `Postgres refuses to run as root, and user ${identity.name} cannot reach ${dirname(staging)} or the Postgres binaries.`,
      'Run this as an ordinary user, or from a folder that other users may enter.',
      log,
    );
  }
  return new EmbeddedError('start-failed', 'The Postgres database could not be created.', 'See what initdb said.', log);
}

/** The data of another major version is refused by name before Postgres is asked. */
export function assertSameMajor(dataDir: string, binaryVersion: string): void {
  const have = readFileSync(join(dataDir, 'PG_VERSION'), 'utf8').trim();
  const want = binaryVersion.split('.')[0];
  if (have === want) return;
  throw new EmbeddedError(
    'data-dir-other-version',
    `${dataDir} was written by Postgres ${have}; the server here is ${binaryVersion}.`,
    `Use Postgres ${have}, or move the folder away to begin with an empty database.`,
  );
}

/** The postmaster of `dataDir` that runs now, by its own lock file; undefined when none does. `ready`: accepts connections. */
export function runningPostmaster(dataDir: string): { pid: number; port: number; ready: boolean } | undefined {
  let lines: string[];
  try {
    lines = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
  } catch {
    return undefined;
  }
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 0 || !isAlive(pid) || !mayBePostgres(pid)) return undefined;
  return { pid, port: Number(lines[3]), ready: lines[7]?.trim() === 'ready' };
}

/**
 * After a kill the lock file names a pid that may by now be anybody's, and Postgres would refuse to start for ever. It is
 * removed only if that process is no Postgres and no orphaned backend still sits in the folder.
 */
export function clearReusedPid(dataDir: string): void {
  const file = join(dataDir, 'postmaster.pid');
  if (!existsSync(file) || !existsSync('/proc/self/cwd')) return;
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0]);
  if (!Number.isInteger(pid) || pid <= 0 || !isAlive(pid) || mayBePostgres(pid)) return;
  if (!someProcessWorksIn(dataDir)) rmSync(file);
}

/** Gives every file to the user the server runs as. */
export function giveTo(folder: string, { uid, gid }: { uid: number; gid: number }): void {
  if (lstatSync(folder).uid === uid) return;
  chownSync(folder, uid, gid);
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isSymbolicLink()) chownSync(join(entry.parentPath, entry.name), uid, gid);
  }
}

export function inUse(dataDir: string): EmbeddedError {
  const running = runningPostmaster(dataDir);
  const by = running === undefined ? 'another server' : `process ${running.pid} on port ${running.port}`;
  return new EmbeddedError(
    'data-dir-in-use',
    `${dataDir} is in use by ${by}.`,
    'Stop that server, or name another folder.',
  );
}

export function diskFull(folder: string, log: string): EmbeddedError {
  return new EmbeddedError(
    'disk-full',
    `The disk holding ${folder} is full.`,
    'Free some space there and start again.',
    log,
  );
}

function isTaken(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOTEMPTY' || code === 'EEXIST';
}

function mayBePostgres(pid: number): boolean {
  try {
    return /postgres|postmaster/.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  } catch {
    return true;
  }
}

function someProcessWorksIn(folder: string): boolean {
  const place = resolve(folder);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .some((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`) === place;
      } catch {
        return false;
      }
    });
}

function removeAbandonedStagings(dataDir: string): void {
  const prefix = `${basename(dataDir)}.init-`;
  for (const name of readdirSync(dirname(dataDir))) {
    if (!name.startsWith(prefix)) continue;
    const pid = Number(name.slice(prefix.length).split('-')[0]);
    if (!isAlive(pid)) rmSync(join(dirname(dataDir), name), { recursive: true, force: true });
  }
}
