import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check } from './checker.js';
import { parseOptions, usage, type Options } from './options.js';
import { planOf } from './plan.js';
import { describeFault, documentOf, listOf, textOf } from './report.js';
import { runPlan, type Progress } from './run.js';

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (typeof options === 'string') {
    say(`${options}\n\n${usage}`);
    return 2;
  }
  const plan = planOf(options);
  if (options.list) {
    process.stdout.write(listOf(plan));
    return 0;
  }
  const repeat = commandOf(options);
  say(`seed ${plan.seed}: ${plan.faults} faults over ${plan.tasks.length} tasks; repeat with: ${repeat}`);
  const startedAt = performance.now();
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => interrupted.abort(new Error(`interrupted by ${signal}`)));
  const run = await runPlan({
    plan,
    onProgress: (progress) => say(progressOf(progress, plan, startedAt)),
    keep: options.keep,
    signal: interrupted.signal,
  }).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
  if (run instanceof Error) {
    say(`the run could not be finished: ${run.message}`);
    return interrupted.signal.aborted ? 130 : 3;
  }
  const checked = check(run.history);
  const kept = options.keep || checked.outcome !== 'held';
  const document = documentOf({
    ...{ plan, history: run.history, starts: run.starts, checked, durationMs: performance.now() - startedAt, repeat },
    ...(run.givenUp === undefined ? {} : { givenUp: run.givenUp }),
    ...(kept ? { folder: run.folder } : {}),
  });
  await run.close(true);
  if (kept) writeFileSync(join(run.folder, 'history.json'), JSON.stringify(run.history, null, 1));
  else rmSync(run.folder, { recursive: true, force: true });
  process.stdout.write(options.json ? `${JSON.stringify(document, null, 2)}\n` : textOf(document, run.history.faults));
  return { held: 0, violated: 1, unknown: 3 }[document.outcome];
}

function commandOf({ seed, faults, tasks, only }: Options): string {
  const more = [
    ...(faults === undefined ? [] : [`--faults ${faults}`]),
    `--tasks ${tasks}`,
    ...(only === undefined ? [] : [`--only ${only}`]),
  ];
  return `npm run faults -- --seed ${seed} ${more.join(' ')}`;
}

function progressOf(
  { ended, submitted, records, last }: Progress,
  plan: { faults: number; tasks: readonly unknown[] },
  startedAt: number,
): string {
  const injected = records.filter(({ outcome }) => outcome === 'injected').length;
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  const what =
    last === undefined
      ? 'a task ended'
      : `${last.outcome} ${describeFault(last.fault)}: ${last.evidence.slice(0, 160)}`;
  return `${String(seconds).padStart(5)} s  tasks ${ended}/${Math.max(submitted, plan.tasks.length)}  faults ${injected}/${plan.faults}  ${what}`;
}

process.exitCode = await main(process.argv.slice(2));
