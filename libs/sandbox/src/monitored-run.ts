import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { MADE_FILES } from './bubblewrap-options.js';
import type { ControlGroup } from './control-group.js';

/** Descriptors of bubblewrap besides its three streams; the made files follow `firstFile`. */
export const FDS = { status: 3, args: 4, firstFile: 5 };
const GRACE_MS = 2_000;

/**
 * One started bubblewrap: its monitor process outside, and the first process of the pid namespace, which it reports. Reads the status
 * descriptor, which the payload cannot reach, and kills the run as a whole.
 */
export class MonitoredRun {
  /** The payload's exit code; stays null when bubblewrap never executed it. */
  payloadExit: number | null = null;
  private firstPid: number | null = null;
  private released = false;
  private killed = false;

  constructor(
    private readonly monitor: ChildProcess,
    private readonly group: ControlGroup | null,
  ) {
    if (monitor.pid === undefined) return;
    let text = '';
    const status = monitor.stdio[FDS.status] as Readable;
    status.on('error', () => undefined);
    status.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      this.read(text);
    });
  }

  /** Hands over the options; until then bubblewrap waits and has forked nothing. Does nothing after a kill. */
  release(options: readonly string[]): void {
    if (this.killed) return;
    this.released = true;
    this.send(FDS.args, options.map((option) => `${option}\0`).join(''));
    MADE_FILES.forEach((file, index) => this.send(FDS.firstFile + index, file.text));
  }

  /**
   * Kills the first process of the pid namespace, and with it, by the kernel, everything in the namespace. The monitor is left alive for
   * a moment so that it can still report whether the payload had started. It must not be killed between its fork and the moment the
   * child has tied its life to it, or the child would live on: hence the wait for the child's process id.
   */
  kill(): void {
    const first = !this.killed;
    this.killed = true;
    if (!this.released) {
      this.monitor.kill('SIGKILL');
      return;
    }
    this.killFirst();
    if (!first) return;
    const timer = setTimeout(() => {
      this.monitor.kill('SIGKILL');
      void this.group?.killMembers();
    }, GRACE_MS);
    this.monitor.once('close', () => clearTimeout(timer));
  }

  private read(text: string): void {
    const pid = /"child-pid": (\d+)/.exec(text)?.[1];
    const exit = /"exit-code": (\d+)/.exec(text)?.[1];
    if (exit !== undefined) this.payloadExit = Number(exit);
    if (pid === undefined || this.firstPid !== null) return;
    this.firstPid = Number(pid);
    if (this.killed) this.killFirst();
  }

  private killFirst(): void {
    // Guards against a recycled process id: only a child of the monitor may be killed.
    if (this.firstPid === null || parentOf(this.firstPid) !== this.monitor.pid) return;
    process.kill(this.firstPid, 'SIGKILL');
  }

  private send(fd: number, text: string): void {
    const stream = this.monitor.stdio[fd] as Writable;
    stream.on('error', () => undefined);
    stream.end(text);
  }
}

function parentOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return null;
  }
}
