/** Progress on stderr: a spinner line with elapsed seconds on a terminal, plain lines otherwise, nothing when quiet. */
import { spawn } from 'node:child_process';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 100;
/** Shorter steps leave no trace: progress is for waits. */
const SHOWN_AFTER_MS = 1000;

export function createProgress({ quiet = false, stream = process.stderr } = {}) {
  const say = (text) => {
    if (!quiet) stream.write(`${text}\n`);
  };
  return {
    say,
    /** Runs `work`, showing `title` once it has lasted over a second. Its result or error passes through. */
    async step(title, work) {
      const startedAt = performance.now();
      const seconds = () => ((performance.now() - startedAt) / 1000).toFixed(1);
      const spinner = quiet ? undefined : show(stream, title, seconds);
      let mark = '✗';
      try {
        const result = await work();
        mark = '✓';
        return result;
      } finally {
        spinner?.(mark);
      }
    },
  };
}

function show(stream, title, seconds) {
  let shown = false;
  let frame = 0;
  let timer;
  const draw = () => {
    if (stream.isTTY) stream.write(`\r\x1b[K${FRAMES[frame++ % FRAMES.length]} ${title} ${seconds()} s`);
    else if (!shown) stream.write(`  ${title} …\n`);
    shown = true;
  };
  const first = setTimeout(() => {
    draw();
    if (stream.isTTY) timer = setInterval(draw, FRAME_MS);
  }, SHOWN_AFTER_MS);
  return (mark) => {
    clearTimeout(first);
    clearInterval(timer);
    if (shown) stream.write(`${stream.isTTY ? '\r\x1b[K' : ''}${mark} ${title} (${seconds()} s)\n`);
  };
}

/** Runs a command without stdin; resolves with its exit code and all it said. A program that does not exist gives code 127. */
export function run(command, args, { cwd, env = process.env } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let stdout = '';
    child.stdout.on('data', (chunk) => ((output += chunk), (stdout += chunk)));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', (error) => resolve({ code: 127, output: error.message, stdout: '' }));
    child.on('close', (code, signal) =>
      resolve({ code: code ?? 1, output: signal ? `${output}\nended by ${signal}` : output, stdout }),
    );
  });
}
