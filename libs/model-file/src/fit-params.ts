import { spawn } from 'node:child_process';
import type { Launch } from '@plumbline/domain';
import { ModelFileError } from './failure.js';

/** What llama.cpp itself computes, in bytes; its print-out rounds down, so each is the next MiB. */
export interface FitFigures {
  readonly model: number;
  readonly context: number;
  readonly compute: number;
}

const MiB = 1024 * 1024;
const outputBytesMax = 1024 * 1024;
const fitMs = 120_000;
/** `Host <model> <context> <compute>`, in MiB; other lines are other devices. */
const hostLine = /^\s*Host\s+(\d{1,9})\s+(\d{1,9})\s+(\d{1,9})\s*$/m;

/**
 * Has `llama-fit-params` size a file on disk; it loads no weights. It knows no shared cache, so a unified launch with several slots is refused, and
 * its compute buffer is for logits of every token, more than a server needs. Throws {@link ModelFileError}: anything but a clean exit with the
 * expected line is a failure, never a 0.
 */
export async function runFitParams(
  binary: string,
  model: string,
  launch: Launch,
  signal?: AbortSignal,
): Promise<FitFigures> {
  if (launch.unified && launch.parallel > 1)
    throw failure('knows no cache shared by several slots', 'Give --parallel without --kv-unified.');
  if (launch.device !== 'cpu')
    throw failure('was asked for a device; only the host line is read', 'Leave out --device.');
  const { code, output } = await run(binary, fitArguments(model, launch), signal);
  const found = hostLine.exec(output);
  if (code !== 0 || found === null)
    throw failure(
      code === 0 ? 'printed no line "Host <model> <context> <compute>"' : `ended with ${code}`,
      'Run it by hand to see why; the header is used in its place.',
    );
  const figure = (at: number): number => (Number(found[at]) + 1) * MiB;
  return { model: figure(1), context: figure(2), compute: figure(3) };
}

function fitArguments(model: string, launch: Launch): string[] {
  return [
    ...['-m', model, '-fitp', 'on', '--fit', 'off', '-c', String(launch.ctx), '-np', String(launch.parallel)],
    ...['-b', String(launch.batch), '-ub', String(launch.ubatchFlag), '-ctk', launch.keyType, '-ctv', launch.valueType],
    ...['-fa', launch.flashAttn, '-ngl', '0', '--no-repack', ...(launch.swaFull ? ['--swa-full'] : [])],
  ];
}

function run(
  binary: string,
  args: readonly string[],
  signal: AbortSignal | undefined,
): Promise<{ code: number | string; output: string }> {
  const stop = AbortSignal.any([AbortSignal.timeout(fitMs), ...(signal === undefined ? [] : [signal])]);
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, { stdio: ['ignore', 'pipe', 'ignore'], signal: stop, killSignal: 'SIGKILL' });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      if (output.length < outputBytesMax) output += text;
    });
    child.on('error', (error) =>
      reject(failure(`did not run (${error.message.slice(0, 120)})`, 'Check the path of --oracle.')),
    );
    child.on('close', (code, killed) => resolve({ code: code ?? killed ?? 'unknown', output }));
  });
}

function failure(what: string, mend: string): ModelFileError {
  return new ModelFileError('oracle-failed', `llama-fit-params ${what}.`, mend);
}
