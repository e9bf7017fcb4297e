import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Transform, type Readable } from 'node:stream';
import { GitError, gitErrorOf } from './git-error.js';

/** How to prove who we are to a remote. Travels in the environment of one git process, never on a command line or in a file. */
export type Credential =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  | { readonly kind: 'ssh-key'; readonly path: string };

/** One remote a git process may talk to; without it every transport is refused. */
export interface Remote {
  readonly url: string;
  readonly credential?: Credential;
}

export interface GitCall {
  readonly gitDir?: string;
  readonly workTree?: string;
  readonly indexFile?: string;
  readonly input?: string | Buffer;
  readonly inputFile?: string;
  /** Standard output goes there instead of into memory. */
  readonly outputFile?: string;
  readonly remote?: Remote;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly maxBytes?: number;
  /** Called when git runs; what it does from then on goes on without this process. */
  readonly onStarted?: () => void;
  /** Largest single file git may write, in bytes; enforced where prlimit exists. */
  readonly maxFileBytes?: number;
}

const PATH = '/usr/local/bin:/usr/bin:/bin';
const PRLIMIT = '/usr/bin/prlimit';
const TIMEOUT_MS = 120_000;
const MAX_BYTES = 64 << 20;
const MAX_STDERR_BYTES = 64 << 10;

/** Settings on the command line outrank every configuration file of a repository. */
const SETTINGS = [
  ...[
    'core.hooksPath=/dev/null',
    'core.fsmonitor=false',
    'core.attributesFile=/dev/null',
    'core.excludesFile=/dev/null',
  ],
  ...[
    'core.autocrlf=false',
    'core.safecrlf=false',
    'core.symlinks=true',
    'core.fileMode=true',
    'core.ignoreCase=false',
  ],
  ...['core.precomposeUnicode=false', 'core.protectHFS=true', 'core.protectNTFS=true', 'core.untrackedCache=false'],
  ...[
    'core.quotePath=false',
    'core.sparseCheckout=false',
    'core.logAllRefUpdates=false',
    'core.pager=cat',
    'core.askPass=',
  ],
  ...['protocol.ext.allow=never', 'protocol.fd.allow=never', 'credential.helper=', 'commit.gpgSign=false', 'gc.auto=0'],
  ...[
    'maintenance.auto=false',
    'submodule.recurse=false',
    'fetch.recurseSubmodules=false',
    'push.recurseSubmodules=no',
  ],
  ...[
    'http.followRedirects=initial',
    'pack.threads=1',
    'index.threads=1',
    'checkout.workers=1',
    'diff.external=',
    'diff.noprefix=false',
  ],
  ...['transfer.fsckObjects=true', 'fetch.fsck.zeroPaddedFilemode=warn', 'fetch.fsck.missingSpaceBeforeDate=warn'],
  ...[
    'fetch.fsck.badTimezone=warn',
    'fetch.writeCommitGraph=false',
    'fetch.unpackLimit=1',
    'receive.autogc=false',
    'advice.detachedHead=false',
  ],
];

/** Runs git with nothing of the machine's or the user's configuration. Answers standard output; throws `GitError`. */
export async function git(args: readonly string[], call: GitCall = {}): Promise<Buffer> {
  const result = await gitResult(args, call);
  if (result.exitCode !== 0) throw gitErrorOf(result.stderr, `git ${args[0] ?? ''}`);
  return result.stdout;
}

/** Like `git`, for a command that answers one line. */
export async function gitLine(args: readonly string[], call: GitCall = {}): Promise<string> {
  return (await git(args, call)).toString('utf8').trim();
}

export interface GitResult {
  readonly exitCode: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Like `git`, with a failure of git itself as a value. Exceeded limits and a missing git are still thrown. */
export async function gitResult(args: readonly string[], call: GitCall = {}): Promise<GitResult> {
  const line = ['git', ...SETTINGS.flatMap((setting) => ['-c', setting]), ...safeDirectory(call), ...args];
  const limited = call.maxFileBytes !== undefined && existsSync(PRLIMIT);
  const [command = '', ...rest] = limited ? [PRLIMIT, `--fsize=${call.maxFileBytes}`, ...line] : line;
  const trust = await trustFile(args, call);
  const env = { ...environment(call), ...(trust === null ? {} : { GIT_CONFIG_GLOBAL: join(trust, 'config') }) };
  const child = spawn(command, rest, { env, cwd: '/', stdio: 'pipe', detached: true });
  if (child.pid !== undefined) call.onStarted?.();
  const doing = `git ${args[0] ?? ''}`;
  let broken: GitError | undefined;
  const stop = (error: GitError) => {
    broken ??= error;
    try {
      // The whole group: fetch and push work through helper processes.
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    } catch {
      // Already gone.
    }
  };
  const timeoutMs = call.timeoutMs ?? TIMEOUT_MS;
  const timer = setTimeout(
    () => stop(new GitError('TIMEOUT', `${doing} took longer than ${timeoutMs} ms.`)),
    timeoutMs,
  );
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', () => reject(new GitError('GIT_MISSING', 'git could not be started.')));
    child.on('close', (exitCode, signal) => resolve(signal === 'SIGXFSZ' ? 153 : exitCode));
  });
  const maxBytes = call.maxBytes ?? MAX_BYTES;
  const tooLarge = () => stop(new GitError('TOO_LARGE', `${doing} produced more than ${maxBytes} bytes.`));
  try {
    const [exitCode, stdout, stderr] = await Promise.all([
      ended,
      collect(child.stdout, maxBytes, call.outputFile, tooLarge),
      head(child.stderr, MAX_STDERR_BYTES),
      feed(child.stdin, call),
    ]);
    if (broken !== undefined) throw broken;
    if (exitCode === 153)
      throw new GitError('TOO_LARGE', `${doing} wrote a file of more than ${call.maxFileBytes} bytes.`);
    return { exitCode, stdout, stderr };
  } finally {
    clearTimeout(timer);
    if (trust !== null) await rm(trust, { recursive: true, force: true });
  }
}

/**
 * The far end of a local fetch is a git of its own, which refuses directories of other users and hears of exceptions only from a
 * file. Reading from such a directory runs nothing of it. A push would run its hooks, so for a push the refusal stands.
 */
async function trustFile(args: readonly string[], call: GitCall): Promise<string | null> {
  if (call.remote === undefined || transportOf(call.remote.url) !== 'file' || args[0] === 'push') return null;
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-git-'));
  await writeFile(join(dir, 'config'), '[safe]\n\tdirectory = *\n');
  return dir;
}

function transportOf(url: string): 'file' | 'https' | 'ssh' {
  return url.startsWith('/') || /^file:/i.test(url) ? 'file' : /^https:/i.test(url) ? 'https' : 'ssh';
}

async function collect(
  stream: Readable,
  maxBytes: number,
  file: string | undefined,
  tooLarge: () => void,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > maxBytes) {
        tooLarge();
        done();
        return;
      }
      if (file === undefined) chunks.push(chunk);
      done(null, file === undefined ? undefined : chunk);
    },
  });
  if (file === undefined) await pipeline(stream, measure.resume());
  else await pipeline(stream, measure, createWriteStream(file, { flags: 'wx', mode: 0o600 }));
  return Buffer.concat(chunks);
}

async function head(stream: Readable, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (bytes < maxBytes) chunks.push(chunk);
    bytes += chunk.length;
  }
  return Buffer.concat(chunks).toString('utf8').slice(0, maxBytes);
}

async function feed(stdin: NodeJS.WritableStream, call: GitCall): Promise<void> {
  // git may end without reading all its input; its exit status says why.
  stdin.on('error', () => undefined);
  if (call.inputFile !== undefined) await pipeline(createReadStream(call.inputFile), stdin).catch(ignorePipe);
  else stdin.end(call.input ?? '');
}

function ignorePipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
}

/** Our own stores only: a foreign directory is never opened with `gitDir`, it is fetched from. */
function safeDirectory(call: GitCall): string[] {
  return call.gitDir === undefined ? [] : ['-c', `safe.directory=${call.gitDir}`];
}

function environment(call: GitCall): Record<string, string> {
  const env: Record<string, string> = {
    ...{ PATH, HOME: '/nonexistent', XDG_CONFIG_HOME: '/nonexistent', LC_ALL: 'C', TZ: 'UTC' },
    ...{
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_ATTR_NOSYSTEM: '1',
      GIT_NO_REPLACE_OBJECTS: '1',
    },
    ...{
      GIT_TERMINAL_PROMPT: '0',
      GIT_ASKPASS: '/bin/false',
      SSH_ASKPASS: '/bin/false',
      GIT_PAGER: 'cat',
      GIT_EDITOR: '/bin/false',
    },
    ...{ GIT_OPTIONAL_LOCKS: '0', GIT_LITERAL_PATHSPECS: '1', GIT_PROTOCOL_FROM_USER: '0', GIT_ALLOW_PROTOCOL: 'none' },
    ...call.env,
  };
  if (call.gitDir !== undefined) env['GIT_DIR'] = call.gitDir;
  if (call.workTree !== undefined) env['GIT_WORK_TREE'] = call.workTree;
  if (call.indexFile !== undefined) env['GIT_INDEX_FILE'] = call.indexFile;
  if (call.remote !== undefined) Object.assign(env, remoteEnvironment(call.remote));
  return env;
}

function remoteEnvironment({ url, credential }: Remote): Record<string, string> {
  const transport = transportOf(url);
  const key =
    credential?.kind === 'ssh-key' ? ` -o IdentitiesOnly=yes -i '${credential.path.replaceAll("'", `'\\''`)}'` : '';
  const env: Record<string, string> = {
    GIT_ALLOW_PROTOCOL: transport,
    GIT_SSH_COMMAND: `ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=20${key}`,
  };
  const settings: [string, string][] = [];
  if (credential?.kind === 'basic' && transport === 'https') {
    const token = Buffer.from(`${credential.username}:${credential.password}`).toString('base64');
    // Bound to this address, and no redirect is followed with it.
    settings.push([`http.${url}.extraHeader`, `Authorization: Basic ${token}`], ['http.followRedirects', 'false']);
  }
  env['GIT_CONFIG_COUNT'] = String(settings.length);
  settings.forEach(([name, value], index) => {
    env[`GIT_CONFIG_KEY_${index}`] = name;
    env[`GIT_CONFIG_VALUE_${index}`] = value;
  });
  return env;
}
