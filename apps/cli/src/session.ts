import { createPalette, wantsColour, type Palette } from './terminal/palette.js';
import { createProgress, type Progress } from './terminal/progress.js';

/** What a command may know of the process it runs in. */
export interface Session {
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** One JSON document (or JSON Lines) on stdout in place of text for people. */
  readonly json: boolean;
  readonly palette: Palette;
  readonly progress: Progress;
  /** Aborted by the first Ctrl-C or SIGTERM; a second one ends the process at once. */
  readonly signal: AbortSignal;
  /** A line for people on stdout; nothing with `--json`. */
  say(line?: string): void;
  /** One JSON document on stdout, on one line when `line` is set (JSON Lines); nothing without `--json`. */
  document(value: unknown, options?: { line?: boolean }): void;
  /** A remark on stderr, with and without `--json`. */
  note(line: string): void;
}

/** A session on the real process. */
export function createSession(options: { json: boolean; signal: AbortSignal; onDocument?: () => void }): Session {
  const { json, signal } = options;
  const progress = createProgress(process.stderr);
  const write = (stream: NodeJS.WriteStream, text: string): void => {
    progress.makeWay();
    stream.write(text);
  };
  return {
    env: process.env,
    cwd: process.cwd(),
    json,
    signal,
    palette: createPalette(wantsColour(process.stdout, process.env)),
    progress,
    say: (line = '') => {
      if (!json) write(process.stdout, `${line}\n`);
    },
    document: (value, { line = false } = {}) => {
      if (!json) return;
      options.onDocument?.();
      write(process.stdout, `${line ? JSON.stringify(value) : JSON.stringify(value, null, 2)}\n`);
    },
    note: (line) => write(process.stderr, `${line}\n`),
  };
}
