import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, readSync, renameSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** How a server process ended. Exactly one of the two is not null. */
export type ServerExit = { code: number | null; signal: NodeJS.Signals | null };

export type ServerProcess = {
  pid: number;
  /** Resolves once when the process is gone; never rejects. */
  exited: Promise<ServerExit>;
  /** Undefined while the process runs. */
  exit(): ServerExit | undefined;
  /** Asks by `signals` in turn, waiting `patienceMs` after each, then kills. True when no kill was needed. */
  stop(signals: readonly NodeJS.Signals[], patienceMs: number): Promise<boolean>;
  /** SIGKILL, and waits until the process is gone. */
  kill(): Promise<void>;
  /** The last lines the server wrote since this start. */
  lastWords(): string;
};

export type LaunchOptions = {
  command: readonly [string, ...string[]];
  cwd: string;
  logPath: string;
  /** True: outlives this process. False: the kernel (or a watchdog) ends it when this process dies, even by SIGKILL. */
  detached: boolean;
  identity?: { uid: number; gid: number };
};

/** Nothing of ours leaks in: PGDATA, PGPORT or a locale would change what a server does and how it says it. */
export const SERVER_ENV = { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C' };

const LOG_BYTES_MAX = 10 * 1024 * 1024;
const QUOTED_LINES = 15;
const QUOTED_BYTES = 16 * 1024;
/** Both Postgres ("fast") and nats-server shut down cleanly on it. */
const DEATH_SIGNAL = 'INT';
const SETPRIV = '/usr/bin/setpriv';
const POLL_MS = 25;

/**
 * Starts a server in a session of its own, so that Ctrl-C in a terminal reaches only us and we stop servers last. Output
 * goes to `logPath`, of which one older generation is kept. Rejects when the program cannot be started at all.
 */
export async function launch(options: LaunchOptions): Promise<ServerProcess> {
  rotate(options.logPath);
  const log = openSync(options.logPath, 'a', 0o600);
  const logStart = statSync(options.logPath).size;
  const hasParentSignal = existsSync(SETPRIV);
  const [program, ...args] = !options.detached && hasParentSignal ? boundToParent(options.command) : options.command;
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: SERVER_ENV,
    stdio: ['ignore', log, log],
    detached: true,
    ...options.identity,
  });
  closeSync(log);
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', reject);
  });
  if (options.detached) child.unref();
  else if (!hasParentSignal) watchFromOutside(child);
  return handleOf(child, () => tail(options.logPath, logStart));
}

/**
 * Linux: the kernel signals the server when its parent dies. The signal is armed after the fork, so the shell step
 * checks that the parent is still the one that meant to start it.
 */
function boundToParent(command: readonly string[]): [string, ...string[]] {
  const onlyWithParent = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"';
  const guard = ['/bin/sh', '-c', onlyWithParent, 'sh', String(process.pid)];
  return [SETPRIV, '--pdeathsig', DEATH_SIGNAL, '--', ...guard, ...command];
}

/** Elsewhere: a shell that reads a pipe only we hold the other end of, and signals the server when the pipe closes. */
function watchFromOutside(child: ChildProcess): void {
  const script = 'read -r _; kill -s "$1" "$2" 2>/dev/null';
  const watchdog = spawn('/bin/sh', ['-c', script, 'sh', DEATH_SIGNAL, String(child.pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  watchdog.on('error', () => child.kill('SIGKILL'));
  watchdog.unref();
  // With the server gone its pid may be given to another process, which must not be signalled.
  child.once('exit', () => watchdog.kill('SIGKILL'));
}

function handleOf(child: ChildProcess, lastWords: () => string): ServerProcess {
  let ended: ServerExit | undefined;
  const exited = new Promise<ServerExit>((resolve) => {
    child.once('exit', (code, signal) => resolve((ended = { code, signal })));
  });
  const kill = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  return {
    pid: child.pid!,
    exited,
    exit: () => ended,
    kill,
    lastWords,
    async stop(signals, patienceMs) {
      for (const signal of signals) {
        if (ended !== undefined) return true;
        child.kill(signal);
        const timer = new AbortController();
        await Promise.race([exited, sleep(patienceMs, undefined, { signal: timer.signal }).catch(() => {})]);
        timer.abort();
      }
      if (ended !== undefined) return true;
      await kill();
      return false;
    },
  };
}

/**
 * Stops a process we did not start ourselves (a detached server of an earlier run): `signal`, then SIGKILL after
 * `patienceMs`. The caller has made sure that the pid still is that server.
 */
export async function stopByPid(pid: number, signal: NodeJS.Signals, patienceMs: number): Promise<void> {
  const until = Date.now() + patienceMs;
  process.kill(pid, signal);
  while (isAlive(pid)) {
    if (Date.now() > until) process.kill(pid, 'SIGKILL');
    await sleep(POLL_MS);
  }
}

/** Whether a process with this id exists; a zombie of another parent counts as gone. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat[stat.lastIndexOf(')') + 2] !== 'Z';
  } catch {
    return !existsSync('/proc/self/stat');
  }
}

function rotate(logPath: string): void {
  const size = statSync(logPath, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LOG_BYTES_MAX) renameSync(logPath, `${logPath}.1`);
}

function tail(path: string, from: number): string {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  const start = Math.max(from, size - QUOTED_BYTES);
  if (size <= start) return '';
  const buffer = Buffer.alloc(size - start);
  const file = openSync(path, 'r');
  try {
    readSync(file, buffer, 0, buffer.length, start);
  } finally {
    closeSync(file);
  }
  return buffer.toString('utf8').trim().split('\n').slice(-QUOTED_LINES).join('\n');
}
