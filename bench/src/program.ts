import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { appendBench } from './append/append-bench.js';
import type { Bench } from './bench.js';
import { parseCommandLine, usage, type BenchName, type Command } from './command-line.js';
import { latencyBench } from './latency/latency-bench.js';
import { rebuildBench } from './rebuild/rebuild-bench.js';
import { relayBench } from './relay/relay-bench.js';
import { reportOf, unmetOf, type Report } from './report/document.js';
import { markdownOf, withFigures } from './report/markdown.js';
import type { Measurement } from './report/measurement.js';
import { tableOf } from './report/table.js';
import { startBenchNats } from './servers/bench-nats.js';
import { startBenchPostgres } from './servers/bench-postgres.js';
import { machineOf } from './servers/machine.js';

const benches: Readonly<Record<BenchName, Bench>> = {
  append: appendBench,
  latency: latencyBench,
  rebuild: rebuildBench,
  relay: relayBench,
};

/** The program behind `npm run bench`; returns the exit code. Figures go to stdout, everything else to stderr. */
export async function main(args: readonly string[]): Promise<number> {
  const parsed = parseCommandLine(args);
  if (parsed.outcome === 'help') {
    process.stdout.write(usage);
    return 0;
  }
  if (parsed.outcome === 'refused') {
    process.stderr.write(`bench: ${parsed.message}\n\n${usage}`);
    return 2;
  }
  const { command } = parsed;
  const folder = mkdtempSync(join(command.dir ?? tmpdir(), 'plumb-bench-'));
  const cleanUp = (): void => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  // Servers end with this process, by themselves; what they kept on disk is ours to remove.
  process.once('exit', cleanUp);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
  const report = await measure(command, folder);
  print(report, command);
  return command.strict && unmetOf(report).length > 0 ? 1 : 0;
}

async function measure(command: Command, folder: string): Promise<Report> {
  const progress = (what: string): void => void process.stderr.write(`bench: ${what}\n`);
  const measured: Measurement[] = [];
  const versions: Record<string, string> = {};
  progress('starting servers');
  const machine = machineOf(folder);
  const server = await startBenchPostgres(folder);
  try {
    versions['postgres'] = server.version;
    for (const name of command.benches) {
      const [postgres, nats] = await Promise.all([server.createDatabase(), startBenchNats(folder)]);
      versions['nats-server'] = nats.version;
      try {
        measured.push(...(await benches[name].run({ load: command.load, postgres, nats, progress })));
      } finally {
        await nats.stop();
        await postgres.close();
      }
    }
  } finally {
    await server.stop();
  }
  return reportOf(command.title, { ...machine, ...versions }, measured);
}

function print(report: Report, { format, write }: Command): void {
  const figures = (): string => markdownOf(report, new Date());
  if (write !== undefined) writeFileSync(write, withFigures(readFileSync(write, 'utf8'), figures()));
  if (format === 'json') process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else if (format === 'markdown') process.stdout.write(`${figures()}\n`);
  else process.stdout.write(tableOf(report, { colour: process.stdout.isTTY && process.env['NO_COLOR'] === undefined }));
}
