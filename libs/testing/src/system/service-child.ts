import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

export type LogLine = Record<string, unknown> & { msg?: string; level?: string };

/** One service as a process of its own. */
export class ServiceChild {
  /** Every line it wrote on standard output, over all its lives. */
  readonly lines: LogLine[] = [];
  private child: ChildProcess | undefined;
  private exit: Promise<number | null> = Promise.resolve(null);
  private readonly waiting = new Set<() => void>();
  private startedAtLine = 0;
  private stderr = '';

  constructor(
    readonly name: string,
    private readonly command: readonly string[],
    private readonly env: Readonly<Record<string, string>>,
  ) {}

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  start(): void {
    if (this.running) throw new Error(`${this.name} runs already`);
    this.startedAtLine = this.lines.length;
    const [program, ...args] = this.command;
    const child = spawn(program ?? process.execPath, args, {
      env: { PATH: process.env['PATH'] ?? '', ...this.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    this.exit = new Promise((resolve) =>
      child.once('close', (code) => {
        this.tell();
        resolve(code);
      }),
    );
    child.stderr.on('data', (chunk: Buffer) => (this.stderr = (this.stderr + chunk.toString()).slice(-4_000)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.lines.push(parse(line));
      this.tell();
    });
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

  lastWords(): string {
    return [...this.lines.slice(-15).map((line) => JSON.stringify(line).slice(0, 600)), this.stderr].join('\n');
  }

  private tell(): void {
    for (const look of [...this.waiting]) look();
  }
}

function parse(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { msg: line };
  }
}
