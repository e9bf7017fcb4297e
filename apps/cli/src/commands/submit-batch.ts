import type { NatsConnection } from '@nats-io/transport-node';
import { batchParallelDefault, batchParallelMax } from '@plumbline/domain';
import { BatchRun, type EditedEntry, type Track, type TrackNews } from '../batch/batch-run.js';
import { Outage } from '../batch/outage.js';
import { readBatch } from '../batch/read-batch.js';
import { badInput, CliError, exitCodes, explain } from '../failure.js';
import { gatherReport } from '../report/gather.js';
import { showReport } from '../report/show.js';
import type { Session } from '../session.js';
import { brokerIsAway, busLogin, withBus, type BusLogin } from '../system/bus-client.js';
import { openLedger } from '../system/connect.js';
import { columnsMax, cut, plain } from '../terminal/text.js';
import { paintVerdict } from '../terminal/verdict.js';

/** `plumb submit --batch`: hands in many issues, follows them to their rest and ends with their report. May be ended and begun again at any time. */
export async function submitBatch(
  session: Session,
  file: string,
  options: { readonly parallel?: number },
): Promise<number> {
  const { taskIdOf } = await import('@plumbline/bus');
  const batch = readBatch(file, session.cwd, taskIdOf);
  const parallel = options.parallel ?? batch.parallel ?? batchParallelDefault;
  if (!Number.isInteger(parallel) || parallel < 1 || parallel > batchParallelMax)
    throw badInput(`--parallel is ${parallel}.`, `Give a whole number from 1 to ${batchParallelMax}.`);
  const { signal } = session;
  const outage = new Outage({ signal, say: (line) => session.note(`  ! ${line}`) });
  const run = new BatchRun(batch, {
    ledger: () => openLedger(session),
    onBus: async (work) => onBusPatiently(busLogin(session, 'user'), work),
    outage,
    signal,
    onNews: (track, news) => tell(session, run, track, news),
  });
  const edited = await session.progress.step('Looking what the log has of this batch', () => run.look());
  if (edited.length > 0) throw refuseEdited(edited);
  introduce(session, batch.name, run, parallel);
  try {
    await session.progress.step('Working', () => run.run(parallel));
  } catch (error) {
    if (signal.aborted) session.note(howToGoOn(run, file));
    throw error;
  }
  const keys = batch.entries.map(({ key }) => key);
  const report = await outage.through(() => gatherReport(session, { batch: { name: batch.name, keys } }));
  session.say();
  showReport(session, report, 'text');
  return run.exitCode;
}

/** As {@link withBus}; a connection that breaks meanwhile is an error to wait for too. */
export async function onBusPatiently<T>(login: BusLogin, work: (nc: NatsConnection) => Promise<T>): Promise<T> {
  try {
    return await withBus(login, work);
  } catch (error) {
    throw asOutage(error);
  }
}

/** What the client of the broker throws by itself is a connection that broke: something to wait for. */
function asOutage(error: unknown): unknown {
  if (error instanceof CliError || !brokerIsAway(error)) return error;
  const message = `The connection to NATS broke: ${plain(explain(error).message)}.`;
  return new CliError(message, 'See `plumb doctor`.', { cause: error, retry: 'later' });
}

function introduce(session: Session, name: string, run: BatchRun, parallel: number): void {
  const { palette } = session;
  const inFile = run.tracks.filter(({ entry }) => entry !== undefined);
  const known = inFile.filter(({ submitted }) => submitted);
  const removed = run.tracks.filter(({ entry }) => entry === undefined);
  session.say(`${palette.bold(`Batch ${name}`)}: ${inFile.length} issues, at most ${parallel} at once.`);
  if (known.length > 0) {
    const rest = known.filter(({ progress }) => progress.resting).length;
    session.say(
      `The log has ${known.length} of them: ${rest} done, ${known.length - rest} under way; ${inFile.length - known.length} to come.`,
    );
  }
  if (removed.length > 0) {
    const names = cut(removed.map(({ key }) => plain(key)).join(', '), 200);
    session.say(palette.warn(`Not in the file any more, but submitted, and counted until they are done: ${names}`));
  }
  session.say(palette.dim('Ctrl-C ends only this command; tasks go on, and the same command finds them again.'));
}

/** One line a piece of news, and after every end where the batch is. */
function tell(session: Session, run: BatchRun, track: Track, news: TrackNews): void {
  const { palette } = session;
  const { key, taskId, title, progress, refused } = track;
  const time = palette.dim(new Date().toTimeString().slice(0, 8));
  const name = cut(plain(key), 24).padEnd(24);
  const line = (state: string, more: string): void => {
    const width = columnsMax - 8 - 24 - 12 - 12 - 8;
    session.say(
      `${time}  ${name}  ${palette.accent(taskId.slice(0, 10))}  ${state}  ${cut(plain(more), Math.max(20, width))}`,
    );
  };
  if (news === 'submitted') return line(palette.dim('submitted'.padEnd(10)), title);
  const verdict = progress.verdict ?? 'no verdict';
  const painted = paintVerdict(palette, verdict) + ' '.repeat(Math.max(0, 10 - verdict.length));
  const reasons = [...new Set(progress.reasons.map(({ check }) => check))].join(', ');
  if (news === 'verdict') return line(painted, reasons);
  if (refused !== undefined) line(palette.bad('refused   '), refused);
  else if (progress.outcome !== undefined)
    line(palette.bold('closed    '), `${progress.outcome} ${progress.branch ?? ''}`);
  else line(palette.warn('waits     '), `for a person: ${reasons}`);
  session.say(palette.dim(`          ${summary(run)}`));
}

function summary({ tracks }: BatchRun): string {
  const done = tracks.filter((track) => track.refused !== undefined || (track.submitted && track.progress.resting));
  const underWay = tracks.filter((track) => track.submitted && !track.progress.resting).length;
  const verdicts = new Map<string, number>();
  for (const { progress, refused } of done) {
    const verdict = refused === undefined ? (progress.verdict ?? 'no verdict') : 'refused';
    verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
  }
  const named = [...verdicts].map(([verdict, n]) => `${n} ${verdict}`).join(', ');
  return `${done.length} of ${tracks.length} done${named === '' ? '' : ` (${named})`}, ${underWay} under way, ${tracks.length - done.length - underWay} to come`;
}

function howToGoOn({ tracks }: BatchRun, file: string): string {
  const underWay = tracks.filter((track) => track.submitted && !track.progress.resting).length;
  const toCome = tracks.filter((track) => !track.submitted).length;
  return `${underWay} tasks go on by themselves, ${toCome} are not submitted. Go on with: plumb submit --batch ${file}`;
}

const editedShown = 20;

function refuseEdited(edited: readonly EditedEntry[]): CliError {
  const lines = edited.flatMap(({ key, taskId, differences }) => [
    `${key} (${taskId}):`,
    ...differences.flatMap(({ field, submitted, now }) => [
      `  ${field} was ${plain(submitted)}`,
      `  ${field} is  ${plain(now)}`,
    ]),
  ]);
  const more = lines.length > editedShown * 3 ? [`and ${lines.length - editedShown * 3} lines more`] : [];
  return new CliError(
    `${edited.length === 1 ? 'An entry was' : `${edited.length} entries were`} edited after ${edited.length === 1 ? 'it was' : 'they were'} submitted; nothing was submitted now.`,
    'Undo the edit, or give the new text a key of its own; `plumb cancel TASK --why …` ends the old one.',
    { exitCode: exitCodes.usage, detail: [...lines.slice(0, editedShown * 3), ...more] },
  );
}
