import { duration } from './text.js';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 100;
/** Shorter steps leave no trace: progress is for waits. */
const SHOWN_AFTER_MS = 1_000;

/** Says on stderr that something takes its time. */
export interface Progress {
  /** Runs `work`; shows `title` once it has lasted over a second. Its result or error passes through. */
  step<T>(title: string, work: () => Promise<T>): Promise<T>;
  /** Takes the spinner off the line, so that text can be written there; it comes back below. */
  makeWay(): void;
}

/** A spinner with elapsed time on a terminal; elsewhere one line when a step passes a second. */
export function createProgress(stream: NodeJS.WriteStream): Progress {
  const line = { drawn: false };
  return {
    async step(title, work) {
      const startedAt = performance.now();
      const hide = show(stream, title, startedAt, line);
      try {
        return await work();
      } finally {
        hide();
      }
    },
    makeWay: () => erase(stream, line),
  };
}

/** Whether a spinner stands on the terminal's last line. */
interface SpinnerLine {
  drawn: boolean;
}

function erase(stream: NodeJS.WriteStream, line: SpinnerLine): void {
  if (line.drawn) stream.write('\r\u001b[K');
  line.drawn = false;
}

function show(stream: NodeJS.WriteStream, title: string, startedAt: number, line: SpinnerLine): () => void {
  let frame = 0;
  let timer: NodeJS.Timeout | undefined;
  const draw = (): void => {
    stream.write(
      `\r\u001b[K${FRAMES[frame++ % FRAMES.length] ?? ''} ${title} ${duration(performance.now() - startedAt)}`,
    );
    line.drawn = true;
  };
  const first = setTimeout(() => {
    if (!stream.isTTY) stream.write(`  ${title} …\n`);
    else timer = setInterval(draw, FRAME_MS);
  }, SHOWN_AFTER_MS);
  return () => {
    clearTimeout(first);
    clearInterval(timer);
    erase(stream, line);
  };
}
