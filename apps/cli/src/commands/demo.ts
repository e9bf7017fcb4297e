import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { usableBroker, type GivenBroker } from '../demo/broker-choice.js';
import { realModel, scriptedModels, type DemoModels } from '../demo/models.js';
import { brokenPromises, demoExitCode, logState, type DemoFindings } from '../demo/outcome.js';
import { furtherLines, logLine, timelineLine, verdictLines } from '../demo/report.js';
import { baseBranch, branchesOf, makeOrigin, changeSize } from '../demo/sample-repository.js';
import { followBoth, openEscalations, refusalOf, submitBoth, type DemoTask } from '../demo/tasks.js';
import { CliError, exitCodes, Interrupted, throwIfAborted } from '../failure.js';
import { LedgerApi } from '../ledger/ledger-api.js';
import type { Session } from '../session.js';
import { System } from '../supervisor/system.js';
import { checkout } from '../system/checkout.js';
import { withBus } from '../system/bus-client.js';
import { homeAt, type Home } from '../system/home.js';
import { duration } from '../terminal/text.js';

export interface DemoOptions {
  readonly modelUrl?: string;
  readonly modelName?: string;
  readonly keep?: boolean;
}

const sample = join(checkout, 'apps', 'cli', 'sample');
const SCRIPTED_TIMEOUT_MS = 5 * 60_000;
const REAL_TIMEOUT_MS = 4 * 3_600_000;

/** Where one run of the demo lives; all of it below one temporary directory. */
interface Place {
  readonly folder: string;
  readonly home: Home;
  readonly origin: string;
}

/** `plumb demo`: two tasks in a bundled repository, from NATS to their verdicts, on a system of its own that ends with the command. */
export async function demo(session: Session, _args: string[], options: DemoOptions): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'plumb-demo-'));
  const cleanUps: (() => Promise<void> | void)[] = [];
  if (options.keep !== true)
    cleanUps.push(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 }));
  // A second Ctrl-C ends the process at once; then at least the files go.
  if (options.keep !== true) process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  try {
    return await play(session, options, folder, cleanUps);
  } finally {
    await session.progress.step('Cleaning up', async () => {
      for (const cleanUp of cleanUps.reverse()) await cleanUp();
    });
  }
}

async function play(
  session: Session,
  options: DemoOptions,
  folder: string,
  cleanUps: (() => Promise<void> | void)[],
): Promise<number> {
  const startedAt = performance.now();
  const home = homeAt(join(folder, 'home'));
  mkdirSync(home.logs, { recursive: true, mode: 0o700 });
  session.say(session.palette.bold('Two issues, one honest answer and one trap. The harness decides.'));
  const origin = await makeOrigin(join(sample, 'repository'), join(folder, 'repository'));
  const place: Place = { folder, home, origin };
  const models = await modelsFor(options, home, session.signal);
  cleanUps.push(() => models.stop());
  introduce(session, models);
  const system = await startSystem(session, place, models, cleanUps);
  session.say(
    `Up in ${duration(performance.now() - startedAt)}: Postgres, NATS and seven services, each a process of its own.\n`,
  );
  const findings = await session.progress.step('Working', () => run(session, place, models, system, startedAt));
  return conclude(session, place, models, findings, { startedAt, kept: options.keep === true });
}

async function modelsFor(options: DemoOptions, home: Home, signal: AbortSignal): Promise<DemoModels> {
  if (options.modelUrl !== undefined) return realModel(options.modelUrl, options.modelName, signal);
  return scriptedModels({ root: checkout, scenarios: join(sample, 'scenarios'), logs: home.logs }, signal);
}

function introduce(session: Session, models: DemoModels): void {
  const { palette } = session;
  if (models.scripted) {
    session.say(
      `The model is ${palette.warn('SCRIPTED')}: a server plays scenario files in its place. Everything else is real.`,
    );
  } else
    session.say(`The model is ${palette.bold(models.offered[0]?.name ?? '')} at ${models.url}; this may take a while.`);
}

async function startSystem(
  session: Session,
  { home }: Place,
  models: DemoModels,
  cleanUps: (() => Promise<void> | void)[],
): Promise<System> {
  const broker = await brokerFor(session);
  if (broker !== undefined) cleanUps.push(() => broker.clean());
  const plan = {
    root: checkout,
    home,
    // A demo never touches a database or a system of the user's.
    env: session.env,
    models: models.offered,
    ephemeral: true,
    ...(broker === undefined ? {} : { natsUrl: broker.url }),
  };
  const system = await session.progress.step('Starting Postgres, NATS and seven services', () =>
    System.start(
      plan,
      (event) => {
        if (event.type === 'note') session.note(`  ! ${event.text}`);
      },
      session.signal,
    ),
  );
  cleanUps.push(() => system.stop());
  return system;
}

async function brokerFor(session: Session): Promise<GivenBroker | undefined> {
  const url = session.env['NATS_URL'] ?? '';
  if (url === '') return undefined;
  const usable = await usableBroker(url, session.env);
  if (typeof usable !== 'string') return usable;
  session.note(`  ! The broker of NATS_URL is not used: ${usable}. Starting one for the demo.`);
  return undefined;
}

async function run(
  session: Session,
  { origin }: Place,
  models: DemoModels,
  system: System,
  startedAt: number,
): Promise<DemoFindings> {
  const { api, nats } = system.run;
  if (api === undefined || nats === undefined) throw new Error('a system that is up has an API and a broker');
  const timeoutMs = models.scripted ? SCRIPTED_TIMEOUT_MS : REAL_TIMEOUT_MS;
  const late = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([session.signal, late]);
  const ledger = new LedgerApi({ ...api, signal });
  return withBus({ url: nats.url, user: nats.user.name, password: nats.user.password }, async (nc) => {
    const tasks = await submitBoth(nc, { issues: join(sample, 'issues'), origin });
    const followed = followBoth(
      ledger,
      tasks,
      (event, task) => {
        const line = timelineLine(session.palette, event, task, performance.now() - startedAt);
        if (line !== undefined) session.say(line);
      },
      signal,
    );
    try {
      await Promise.race([followed, refusalOf(nc, tasks)]);
      const [audit, branches, escalations] = await Promise.all([
        ledger.audit(),
        branchesOf(origin),
        openEscalations(ledger, tasks),
      ]);
      return { tasks, audit, branches, escalations, scripted: models.scripted };
    } catch (error) {
      throwIfAborted(session.signal);
      throw error instanceof Interrupted && late.aborted ? tooLate(tasks, timeoutMs, system) : error;
    }
  });
}

function tooLate(tasks: readonly DemoTask[], timeoutMs: number, system: System): CliError {
  const where = tasks.map(({ name, progress }) => `${name}: ${progress.verdict ?? 'no verdict yet'}`).join(', ');
  const sick = system.run.processes
    .filter(({ state, restarts }) => state !== 'running' || restarts > 0)
    .map(({ name }) => name);
  return new CliError(
    `The demo was not done after ${duration(timeoutMs)} (${where})${sick.length === 0 ? '' : `; in trouble: ${sick.join(', ')}`}.`,
    'Run it again with --keep and look into the logs it names.',
    { exitCode: exitCodes.incomplete },
  );
}

async function conclude(
  session: Session,
  place: Place,
  models: DemoModels,
  findings: DemoFindings,
  { startedAt, kept }: { startedAt: number; kept: boolean },
): Promise<number> {
  const { palette } = session;
  const broken = brokenPromises(findings);
  const changes = new Map<string, string>();
  for (const [branch, head] of findings.branches) {
    if (branch !== baseBranch) changes.set(branch, await changeSize(place.origin, baseBranch, head));
  }
  for (const line of verdictLines(palette, findings, changes)) session.say(line);
  session.say();
  session.say(logLine(palette, findings));
  for (const promise of broken) session.say(`${palette.bad('✗')} ${promise}`);
  session.say(
    `Done in ${duration(performance.now() - startedAt)}.${models.scripted ? ' The model was SCRIPTED; --model-url URL takes a real one.' : ''}`,
  );
  session.say();
  const where = kept ? { home: place.home.folder, origin: place.origin } : undefined;
  for (const line of furtherLines(palette, findings.tasks, where)) session.say(line);
  session.document(
    documentOf(findings, models, broken, { durationMs: Math.round(performance.now() - startedAt), where }),
  );
  return demoExitCode(broken);
}

function documentOf(
  findings: DemoFindings,
  models: DemoModels,
  broken: readonly string[],
  { durationMs, where }: { durationMs: number; where: { home: string; origin: string } | undefined },
): unknown {
  return {
    schema: 'plumbline.demo/1',
    ok: broken.length === 0,
    tasks: findings.tasks.map(({ id, name, head, progress }) => ({
      id,
      name,
      verdict: progress.verdict ?? null,
      reasons: progress.reasons.map(({ check, summary }) => ({ check, summary })),
      ...(progress.branch === undefined ? {} : { branch: progress.branch, head }),
      escalated: findings.escalations.some(({ task }) => task === id),
    })),
    log: logState(findings.audit),
    model: { scripted: models.scripted, url: models.url, names: models.offered.map(({ name }) => name) },
    branches: [...findings.branches.keys()],
    broken,
    durationMs,
    ...(where === undefined ? {} : { kept: where }),
  };
}
