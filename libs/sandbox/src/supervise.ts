import type { ChildProcess } from 'node:child_process';
import { OutputCapture } from './output-capture.js';
import type { RunSpec } from './sandbox.js';

/** Why the supervisor killed the run; null when it ended by itself. */
export type Stop = 'timed-out' | 'output-limit' | 'aborted' | null;

export interface Ended {
  readonly stop: Stop;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly truncated: boolean;
  /** Set when the process could not be created at all. */
  readonly spawnError?: NodeJS.ErrnoException;
}

/**
 * Feeds, watches and, when a limit of time or output is reached or the caller aborts, kills one child process. Settles once the
 * process has ended *and* its output is drained. `kill` must end every descendant; it may be called more than once.
 */
export function supervise(child: ChildProcess, spec: RunSpec, kill: () => void): Promise<Ended> {
  return new Promise((resolve) => {
    let stop: Stop = null;
    let spawnError: NodeJS.ErrnoException | undefined;
    const halt = (reason: Exclude<Stop, null>) => {
      stop ??= reason;
      kill();
    };
    const capture = new OutputCapture(spec.limits.outputBytes, () => halt('output-limit'), spec.onOutput);
    const onAbort = () => halt('aborted');
    const timer = setTimeout(() => halt('timed-out'), spec.limits.wallMs);
    spec.signal?.addEventListener('abort', onAbort, { once: true });
    if (child.stdout) capture.attach('stdout', child.stdout);
    if (child.stderr) capture.attach('stderr', child.stderr);
    // The payload may end without reading its input.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(spec.stdin ?? '');

    const settle = (exitCode: number | null, signal: NodeJS.Signals | null) => {
      clearTimeout(timer);
      spec.signal?.removeEventListener('abort', onAbort);
      resolve({
        stop,
        exitCode,
        signal,
        stdout: capture.text('stdout'),
        stderr: capture.text('stderr'),
        truncated: capture.truncated,
        ...(spawnError ? { spawnError } : {}),
      });
    };
    child.on('error', (error) => {
      if (child.pid !== undefined) return;
      spawnError = error;
      settle(null, null);
    });
    child.on('close', settle);
    if (spec.signal?.aborted) onAbort();
  });
}
