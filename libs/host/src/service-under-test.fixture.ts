import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export type LogLine = Record<string, unknown> & { msg: string; level: string };

/** A service running as a process from its sources, with what it wrote. */
export class ServiceUnderTest {
  readonly lines: LogLine[] = [];
  stderr = '';
  readonly #child: ChildProcess;
  readonly #exit: Promise<number | null>;
  readonly #waiting = new Set<() => void>();

  constructor(main: string, env: Readonly<Record<string, string>>) {
    const hooks = new URL('typescript-hooks.fixture.mjs', import.meta.url).href;
    const flags = ['--conditions=@plumbline/source', '--import', hooks];
    this.#child = spawn(process.execPath, [...flags, fileURLToPath(main)], {
      env: { PATH: process.env['PATH'] ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { stdout, stderr } = this.#child;
    if (!stdout || !stderr) throw new Error('the child has no pipes');
    createInterface(stdout).on('line', (line) => {
      this.lines.push(JSON.parse(line) as LogLine);
      for (const look of [...this.#waiting]) look();
    });
    stderr.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.#exit = once(this.#child, 'close').then(([code, signal]) => {
      for (const look of [...this.#waiting]) look();
      return (code as number | null) ?? signalNumber(signal as NodeJS.Signals);
    });
  }

  /** The exit code once all output was read. */
  get exit(): Promise<number | null> {
    return this.#exit;
  }

  /** The first line with this message, now or later; rejects when the process ends without it. */
  async line(msg: string, timeoutMs = 20_000): Promise<LogLine> {
    const { promise, resolve, reject } = Promise.withResolvers<LogLine>();
    const look = (): void => {
      const found = this.lines.find((line) => line.msg === msg || line.msg.startsWith(`${msg}:`));
      if (found) resolve(found);
      else if (this.#child.exitCode !== null)
        reject(new Error(`exited without ${JSON.stringify(msg)}: ${this.#account()}`));
    };
    const timer = setTimeout(() => reject(new Error(`no ${JSON.stringify(msg)}: ${this.#account()}`)), timeoutMs);
    this.#waiting.add(look);
    look();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(look);
    }
  }

  async ready(): Promise<string> {
    return String((await this.line('ready'))['http']);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** For the end of a test: gone, whatever state it is in. */
  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    await this.#exit;
  }

  #account(): string {
    return `${this.stderr}\n${this.lines.map((line) => JSON.stringify(line)).join('\n')}`;
  }
}

const signalNumber = (signal: NodeJS.Signals | null): number | null => (signal === 'SIGKILL' ? -9 : null);
