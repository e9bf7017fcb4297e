import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { createWriteStream, existsSync, renameSync, statSync, type WriteStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { CliError, Interrupted } from '../failure.js';
import { plain } from '../terminal/text.js';
import type { Exit, Instance } from './kept-alive.js';

/** How one service is started. `command` is a program with its arguments. */
export interface ServicePlan {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly logPath: string;
  readonly readyTimeoutMs: number;
  /** How long it may take to hand its work back when it is asked to stop. */
  readonly stopPatienceMs: number;
  /** The address in the line on stdout that says it is ready, undefined for other lines; by default {@link readyAddress}. */
  readonly readyLine?: (line: string) => string | undefined;
}

type Child = ChildProcessByStdio<null, Readable, Readable>;

const LOG_BYTES_MAX = 10 * 1024 * 1024;
const LAST_LINES = 12;
const SETPRIV = '/usr/bin/setpriv';

/**
 * Starts a service and returns once it has written its line with msg "ready". Throws CliError, quoting its last lines, when it ends or says
 * nothing before its time; then nothing of it is left running. Output goes to `logPath`, of which one older generation is kept.
 */
export async function startService(plan: ServicePlan, signal: AbortSignal): Promise<Instance> {
  if (signal.aborted) throw new Interrupted();
  const log = openLog(plan.logPath);
  const child = launch(plan);
  const lastLines: string[] = [];
  let exit: Exit | undefined;
  const exited = new Promise<Exit>((resolve) => {
    const ended = (how: Exit): void => {
      exit ??= how;
      log.end();
      resolve(exit);
    };
    child.once('error', (error) => {
      lastLines.push(error.message);
      ended({ code: 127, signal: null });
    });
    // `close`, not `exit`: only then everything it said has been read.
    child.once('close', (code, by) => ended({ code, signal: by }));
  });
  const ready = readLines(child, log, lastLines, plan.readyLine ?? readyAddress);
  const instance = {
    pid: child.pid ?? 0,
    exited,
    stop: () => stopChild(child, exited, plan.stopPatienceMs),
    kill: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
  const timer = new AbortController();
  try {
    const first = await Promise.race([
      ready,
      exited,
      sleep(plan.readyTimeoutMs, 'late' as const, { signal: timer.signal }),
      aborted(signal, timer.signal),
    ]);
    if (typeof first === 'object' && 'http' in first) return { ...instance, http: first.http };
    await instance.kill();
    if (first === 'aborted') throw new Interrupted();
    const what =
      first === 'late'
        ? `was not ready after ${plan.readyTimeoutMs / 1000} s`
        : `ended while starting (${describeExit(first)})`;
    throw new CliError(
      `The service ${plan.name} ${what}.`,
      `Its log is ${plan.logPath}; mend what it says and start again.`,
      {
        detail: lastLines.map(readable),
      },
    );
  } finally {
    timer.abort();
  }
}

/** `exit code 1` or `signal SIGKILL`. */
export function describeExit(exit: Exit): string {
  return exit.signal === null ? `exit code ${exit.code ?? 'unknown'}` : `signal ${exit.signal}`;
}

function launch({ command, env, cwd }: ServicePlan): Child {
  const [program, ...args] = boundToUs(command);
  // A session of its own: Ctrl-C in a terminal reaches only us, and we stop things in their order.
  return spawn(program, args, { cwd, env: { ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
}

/**
 * On Linux the kernel sends SIGTERM to the service when we die, even by SIGKILL. The signal is armed after the fork, so the shell step
 * checks that we are still the parent.
 */
function boundToUs(command: readonly [string, ...string[]]): readonly [string, ...string[]] {
  if (!existsSync(SETPRIV)) return command;
  const onlyWithParent = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"';
  return [SETPRIV, '--pdeathsig', 'TERM', '--', '/bin/sh', '-c', onlyWithParent, 'sh', String(process.pid), ...command];
}

function openLog(path: string): WriteStream {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LOG_BYTES_MAX) renameSync(path, `${path}.1`);
  const stream = createWriteStream(path, { flags: 'a', mode: 0o600 });
  // A full disk must not take the supervisor down with it.
  stream.on('error', () => {});
  return stream;
}

/** Copies output to the log; resolves with the address in the ready line. Never rejects. */
function readLines(
  child: Child,
  log: WriteStream,
  lastLines: string[],
  addressIn: (line: string) => string | undefined,
): Promise<{ http: string }> {
  return new Promise((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream, crlfDelay: Infinity }).on('line', (line) => {
        if (!log.writableEnded) log.write(`${line}\n`);
        lastLines.push(line);
        if (lastLines.length > LAST_LINES) lastLines.shift();
        const http = stream === child.stdout ? addressIn(line) : undefined;
        if (http !== undefined) resolve({ http });
      });
    }
  });
}

/** The address in a service's ready line, or undefined for any other line. */
export function readyAddress(line: string): string | undefined {
  if (!line.startsWith('{') || !line.includes('"ready"')) return undefined;
  try {
    const { msg, http } = JSON.parse(line) as { msg?: unknown; http?: unknown };
    return msg === 'ready' && typeof http === 'string' ? http : undefined;
  } catch {
    return undefined;
  }
}

/** A log line for people: the message and the error of a JSON line, other lines as they are. */
export function readable(line: string): string {
  try {
    const { msg, err } = JSON.parse(line) as { msg?: unknown; err?: { message?: unknown } };
    const parts = [msg, err?.message].filter((part) => typeof part === 'string' && part !== '') as string[];
    const [first, second] = parts;
    if (first !== undefined)
      return plain(second === undefined || first.includes(second) ? first : `${first}: ${second}`);
  } catch {
    // Not JSON: a crash before logging was set up.
  }
  return plain(line);
}

async function stopChild(child: Child, exited: Promise<Exit>, patienceMs: number): Promise<boolean> {
  child.kill('SIGTERM');
  const timer = new AbortController();
  const ended = exited.then(() => true);
  const late = sleep(patienceMs, false, { signal: timer.signal }).catch(() => false);
  const clean = await Promise.race([ended, late]);
  timer.abort();
  if (!clean) child.kill('SIGKILL');
  await exited;
  return clean;
}

function aborted(signal: AbortSignal, until: AbortSignal): Promise<'aborted'> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve('aborted'), { once: true, signal: until });
  });
}
