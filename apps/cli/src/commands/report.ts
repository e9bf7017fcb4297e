import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { batchNameSchema } from '@plumbline/domain';
import { readBatch } from '../batch/read-batch.js';
import { badInput, exitCodes } from '../failure.js';
import { gatherReport } from '../report/gather.js';
import { instantArgument } from '../report/instant-argument.js';
import { showReport, type ReportFormat } from '../report/show.js';
import type { Session } from '../session.js';
import { plain } from '../terminal/text.js';

export interface ReportOptions {
  readonly since?: string;
  readonly until?: string;
  readonly batch?: string;
  readonly format?: ReportFormat;
}

/** One night, when nothing else is asked for. */
const defaultSince = '24h';

/** `plumb report`: what ran, what came of it, what waits for a person, what it took. Reads only; the exit code says nothing of the verdicts. */
export async function report(session: Session, _args: string[], options: ReportOptions): Promise<number> {
  const now = new Date();
  const until = options.until === undefined ? undefined : instantArgument('--until', options.until, now);
  // A batch has its own beginning.
  const asked = options.since ?? (options.batch === undefined ? defaultSince : undefined);
  const since = asked === undefined ? undefined : instantArgument('--since', asked, now);
  const known = now.toISOString();
  // What is asked for of the future is not known: the report ends now.
  if (since !== undefined && since >= (until === undefined || until > known ? known : until))
    throw badInput('The window of this report ends before it begins.', 'Give --since before --until.');
  const batch = options.batch === undefined ? undefined : await batchOf(options.batch, session.cwd);
  const document = await gatherReport(session, {
    ...(since === undefined ? {} : { since }),
    ...(until === undefined ? {} : { until }),
    ...(batch === undefined ? {} : { batch }),
  });
  showReport(session, document, options.format ?? 'text');
  return exitCodes.ok;
}

/** A batch by its file, so that the report can say what was not submitted, or by its name alone. */
async function batchOf(given: string, cwd: string): Promise<{ name: string; keys?: string[] }> {
  if (existsSync(resolve(cwd, given))) {
    const { taskIdOf } = await import('@plumbline/bus');
    const { name, entries } = readBatch(given, cwd, taskIdOf);
    return { name, keys: entries.map(({ key }) => key) };
  }
  if (batchNameSchema.safeParse(given).success) return { name: given };
  throw badInput(
    `--batch is ${JSON.stringify(plain(given))}, which is neither a file nor a name.`,
    'Give the batch file, or the name in it.',
  );
}
