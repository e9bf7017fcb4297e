import { spawn, type ChildProcess } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

export type LogLine = Record<string, unknown> & { msg?: string; level?: string };

/** A failpoint said that it was reached, just before it signalled its process. `at` is this process's `performance.now()`. */
export interface FailpointHit {
  failpoint: string;
  action: 'kill' | 'stop';
  hit: number;
  at: number;
}

/** How one life of a process ended. */
export interface ServiceExit {
  code: number | null;
  signal: NodeJS.Signals | null;
  pid: number;
  /** The failpoint that ended it, when one did. */
  failpoint?: string;
}

export interface ServiceChildOptions {
  /** Everything it writes is also appended there. */
  logFile?: string;
  onHit?: (hit: FailpointHit) => void;
  onExit?: (exit: ServiceExit) => void;
}

/** One service as a process of its own. */
export class ServiceChild {
  /** Every line it wrote on standard output, over all its lives. */
  readonly lines: LogLine[] = [];
  /** Failpoints it reached, over all its lives. */
  readonly hits: FailpointHit[] = [];
  private child: ChildProcess | undefined;
  private exit: Promise<number | null> = Promise.resolve(null);
  private readonly waiting = new Set<() => void>();
  private startedAtLine = 0;
  private stderr = '';

  constructor(
    readonly name: string,
    private readonly command: readonly string[],
    private readonly env: Readonly<Record<string, string>>,
    private readonly options: ServiceChildOptions = {},
  ) {}

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** Starts it, with `extra` over its own environment for this one life. */
  start(extra: Readonly<Record<string, string>> = {}): void {
    if (this.running) throw new Error(`${this.name} runs already`);
    this.startedAtLine = this.lines.length;
    const [program, ...args] = this.command;
    const child = spawn(program ?? process.execPath, args, {
      env: { PATH: process.env['PATH'] ?? '', ...this.env, ...extra },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    endWithUs(child);
    this.exit = new Promise((resolve) =>
      child.once('close', (code, signal) => {
        this.tell();
        resolve(code);
        const failpoint = this.hits.slice(hitsBefore).findLast(({ action }) => action === 'kill')?.failpoint;
        this.options.onExit?.({ code, signal, pid: child.pid ?? 0, ...(failpoint === undefined ? {} : { failpoint }) });
      }),
    );
    const hitsBefore = this.hits.length;
    createInterface({ input: child.stderr }).on('line', (line) => this.heard(line));
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.lines.push(parse(line));
      this.keep(line);
      this.tell();
    });
  }

  private heard(line: string): void {
    this.stderr = `${this.stderr}${line}\n`.slice(-4_000);
    this.keep(line);
    const said = parse(line);
    if (typeof said['failpoint'] !== 'string') return;
    const hit = { ...said, at: performance.now() } as unknown as FailpointHit;
    this.hits.push(hit);
    this.options.onHit?.(hit);
    this.tell();
  }

  private keep(line: string): void {
    if (this.options.logFile !== undefined) appendFileSync(this.options.logFile, `${line}\n`);
  }

  /** Resolves with the first line since the last start that fits; rejects when the process ends or nothing came in time. */
  line(what: string, fits: (line: LogLine) => boolean, timeoutMs = 90_000): Promise<LogLine> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        this.waiting.delete(look);
        settle();
      };
      const look = (): void => {
        const found = this.lines.slice(this.startedAtLine).find(fits);
        if (found !== undefined) end(() => resolve(found));
        else if (!this.running) end(() => reject(new Error(`${this.name} ended before ${what}:\n${this.lastWords()}`)));
      };
      const timer = setTimeout(
        () => end(() => reject(new Error(`${this.name}: no ${what} within ${timeoutMs} ms:\n${this.lastWords()}`))),
        timeoutMs,
      );
      this.waiting.add(look);
      look();
    });
  }

  ready(): Promise<LogLine> {
    return this.line('the line ready', (line) => line.msg === 'ready');
  }

  /** Sends a signal and resolves with the exit code (null after a kill). */
  async kill(signal: NodeJS.Signals): Promise<number | null> {
    if (this.running) this.child?.kill(signal);
    return this.exit;
  }

  /** Sends a signal to the running process: SIGSTOP and SIGCONT, as a machine that sleeps and wakes. */
  signal(signal: NodeJS.Signals): void {
    if (!this.running) throw new Error(`${this.name} does not run`);
    this.child?.kill(signal);
  }

  lastWords(): string {
    return [...this.lines.slice(-15).map((line) => JSON.stringify(line).slice(0, 600)), this.stderr].join('\n');
  }

  private tell(): void {
    for (const look of [...this.waiting]) look();
  }
}

const running = new Set<ChildProcess>();
let endsAll = false;

/** However this process ends, short of being killed: no service is left behind that looks for its broker for ever. */
function endWithUs(child: ChildProcess): void {
  running.add(child);
  child.once('exit', () => running.delete(child));
  if (endsAll) return;
  endsAll = true;
  process.once('exit', () => {
    for (const left of running) left.kill('SIGKILL');
  });
}

function parse(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { msg: line };
  }
}
