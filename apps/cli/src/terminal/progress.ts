import { duration } from './text.js';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 100;
/** Shorter steps leave no trace: progress is for waits. */
const SHOWN_AFTER_MS = 1_000;

/** Says on stderr that something takes its time. */
export interface Progress {
  /** Runs `work`; shows `title` once it has lasted over a second. Its result or error passes through. */
  step<T>(title: string, work: () => Promise<T>): Promise<T>;
}

/** A spinner with elapsed time on a terminal; elsewhere one line when a step passes a second. */
export function createProgress(stream: NodeJS.WriteStream): Progress {
  return {
    async step(title, work) {
      const startedAt = performance.now();
      const hide = show(stream, title, startedAt);
      try {
        return await work();
      } finally {
        hide();
      }
    },
  };
}

function show(stream: NodeJS.WriteStream, title: string, startedAt: number): () => void {
  let frame = 0;
  let shown = false;
  let timer: NodeJS.Timeout | undefined;
  const draw = (): void => {
    if (stream.isTTY)
      stream.write(
        `\r\u001b[K${FRAMES[frame++ % FRAMES.length] ?? ''} ${title} ${duration(performance.now() - startedAt)}`,
      );
    else if (!shown) stream.write(`  ${title} …\n`);
    shown = true;
  };
  const first = setTimeout(() => {
    draw();
    if (stream.isTTY) timer = setInterval(draw, FRAME_MS);
  }, SHOWN_AFTER_MS);
  return () => {
    clearTimeout(first);
    clearInterval(timer);
    if (shown && stream.isTTY) stream.write('\r\u001b[K');
  };
}
