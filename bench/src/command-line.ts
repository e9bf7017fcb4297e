import { parseArgs } from 'node:util';
import type { Load } from './bench.js';

export const benchNames = ['append', 'latency', 'rebuild', 'relay'] as const;
export type BenchName = (typeof benchNames)[number];

/** What was asked for. */
export interface Command {
  readonly benches: readonly BenchName[];
  /** The name under which the document says it: one benchmark, or `all`. */
  readonly title: string;
  readonly format: 'table' | 'json' | 'markdown';
  /** A page whose marked figures are replaced. */
  readonly write?: string;
  /** Where servers keep their data: has to be on a disk. */
  readonly dir?: string;
  /** A missed target is exit code 1. */
  readonly strict: boolean;
  readonly load: Load;
}

export type ParsedCommand =
  { outcome: 'run'; command: Command } | { outcome: 'help' } | { outcome: 'refused'; message: string };

export const usage = `npm run -s bench -- append|latency|rebuild|relay|all [options]

  --json            one JSON document (plumbline.bench/1) on stdout
  --markdown        the figures as markdown on stdout
  --write FILE      replaces the marked figures of a page (docs/benchmarks.md)
  --seconds S       of each contestant in each round (default 5)
  --rounds R        interleaved rounds (default 5)
  --events N        in the log that is rebuilt from and relayed (default 100000)
  --dir FOLDER      where servers keep their data; has to be on a disk (default: the system's folder for temporary files)
  --strict          exit with 1 when a target was missed

Exit code: 0 measured, whatever the figures (each says whether its target was met); 1 with --strict, or when something could not be
measured; 2 bad usage; 130 interrupted.
`;

const options = {
  json: { type: 'boolean' },
  markdown: { type: 'boolean' },
  write: { type: 'string' },
  seconds: { type: 'string' },
  rounds: { type: 'string' },
  events: { type: 'string' },
  dir: { type: 'string' },
  strict: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

/** Reads the arguments after the program's name. Every refusal says what was expected. */
export function parseCommandLine(args: readonly string[]): ParsedCommand {
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    return { outcome: 'refused', message: error instanceof Error ? error.message : String(error) };
  }
  const { values, positionals } = parsed;
  if (values.help === true) return { outcome: 'help' };
  const [title, ...rest] = positionals;
  const benches = benchNames.filter((name) => title === 'all' || title === name);
  if (title === undefined || benches.length === 0 || rest.length > 0)
    return refused(`expected one of ${benchNames.join(', ')} or all, got ${positionals.join(' ') || 'nothing'}`);
  if (values.json === true && values.markdown === true) return refused('--json and --markdown exclude each other');
  const seconds = numberOf(values.seconds, 5, 0.05, 600);
  if (seconds === undefined) return refused(`--seconds: expected 0.05 to 600, got ${values.seconds}`);
  const rounds = numberOf(values.rounds, 5, 1, 100);
  if (rounds === undefined || !Number.isInteger(rounds))
    return refused(`--rounds: expected a whole number from 1 to 100, got ${values.rounds}`);
  const events = numberOf(values.events, 100_000, 100, 10_000_000);
  if (events === undefined || !Number.isInteger(events))
    return refused(`--events: expected a whole number from 100 to 10000000, got ${values.events}`);
  const format = values.json === true ? 'json' : values.markdown === true ? 'markdown' : 'table';
  const { write, dir } = values;
  return {
    outcome: 'run',
    command: {
      benches,
      title,
      format,
      ...(write === undefined ? {} : { write }),
      ...(dir === undefined ? {} : { dir }),
      strict: values.strict === true,
      load: { seconds, rounds, events },
    },
  };
}

const refused = (message: string): ParsedCommand => ({ outcome: 'refused', message });

function numberOf(text: string | undefined, otherwise: number, min: number, max: number): number | undefined {
  if (text === undefined) return otherwise;
  const value = text.trim() === '' ? Number.NaN : Number(text);
  return value >= min && value <= max ? value : undefined;
}
