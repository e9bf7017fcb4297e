import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { badInput, CliError, exitCodes, Interrupted } from '../failure.js';
import type { OfferedModel } from '@plumbline/domain';
import { supervisorMessageSchema, type SupervisorInput, type SupervisorMessage } from '../supervisor/protocol.js';
import { planOf, supervise } from '../supervisor/supervise.js';
import type { Session } from '../session.js';
import { checkout } from '../system/checkout.js';
import { homeOf, makeHome, type Home } from '../system/home.js';
import { findModel, offeredModel } from '../system/model.js';
import { systemState, type RunFile } from '../system/run-file.js';
import { checkWebhooksFile } from '../system/webhooks-file.js';
import { portNames, readSettings, writeSettings, type Settings } from '../system/settings.js';
import { duration } from '../terminal/text.js';

export interface UpOptions {
  readonly modelUrl?: string;
  readonly modelName?: string;
  readonly reviewerUrl?: string;
  readonly reviewerName?: string;
  readonly apiPort?: number;
  readonly natsPort?: number;
  readonly postgresPort?: number;
  readonly webhooks?: string;
  readonly foreground?: boolean;
}

/** `plumb up`: starts the system of this home, or says that it is up already. */
export async function up(session: Session, _args: string[], options: UpOptions): Promise<number> {
  const home = homeOf(session.env);
  const state = systemState(home);
  if (state.is === 'running') {
    refuseOtherSettings(options, state.run);
    return alreadyUp(session, home, state.run);
  }
  makeHome(home);
  const settings = await settingsFor(home, options, session);
  if (settings.webhooks !== undefined) {
    const remark = checkWebhooksFile(settings.webhooks);
    if (remark !== undefined) session.note(`  ! ${remark}`);
  }
  const input: SupervisorInput = {
    home: home.folder,
    root: checkout,
    models: modelsOf(settings),
    ...(settings.webhooks === undefined ? {} : { webhooks: settings.webhooks }),
  };
  const { palette } = session;
  session.say(`${palette.bold('Plumbline')} ${palette.dim(`in ${home.folder}`)}`);
  const startedAt = performance.now();
  if (options.foreground === true) return inForeground(session, home, input, startedAt);
  await inBackground(session, home, input);
  return announce(session, home, startedAt);
}

/** A running system keeps the settings it was started with; saying that it is up would pass for having taken these. */
function refuseOtherSettings(options: UpOptions, run: RunFile): void {
  const portOf = (url: string | undefined): number => Number(new URL(url ?? 'tcp://none:0').port);
  const asked: [string, unknown, boolean][] = [
    ['--model-url', options.modelUrl, run.model?.url === options.modelUrl],
    ['--model-name', options.modelName, run.model?.names.includes(options.modelName ?? '') === true],
    ['--reviewer-url', options.reviewerUrl, false],
    ['--reviewer-name', options.reviewerName, run.model?.names.includes(options.reviewerName ?? '') === true],
    ['--api-port', options.apiPort, portOf(run.api?.url) === options.apiPort],
    ['--nats-port', options.natsPort, portOf(run.nats?.url) === options.natsPort],
    ['--webhooks', options.webhooks, false],
    ['--postgres-port', options.postgresPort, portOf(run.postgres?.url) === options.postgresPort],
  ];
  const other = asked.filter(([, value, same]) => value !== undefined && !same).map(([name]) => name);
  if (other.length === 0) return;
  throw new CliError(
    `Plumbline is up already, with another ${other.join(' and ')} than this.`,
    'Stop it with `plumb down`, then start it so; no task is lost.',
  );
}

function alreadyUp(session: Session, home: Home, run: RunFile): number {
  if (run.state === 'stopping') {
    throw new CliError(`The system in ${home.folder} is just stopping.`, 'Wait a moment and start it again.');
  }
  session.say(`Plumbline is up already (since ${run.startedAt}, process ${run.supervisor.pid}).`);
  describe(session, home, run);
  session.document(documentOf(run, true));
  return exitCodes.ok;
}

/** What was kept, with what this call asks for on top. Saved, so that the next start is the same. */
async function settingsFor(home: Home, options: UpOptions, { cwd, signal }: Session): Promise<Settings> {
  const kept = readSettings(home);
  const ports = { ...kept.ports };
  const asked = { api: options.apiPort, nats: options.natsPort, postgres: options.postgresPort };
  for (const name of portNames) {
    const port = asked[name];
    if (port !== undefined) ports[name] = { port, asked: true };
  }
  const model = await modelFor('model', { url: options.modelUrl, name: options.modelName }, kept.model, signal);
  const reviewerAsked = { url: options.reviewerUrl, name: options.reviewerName };
  // A reviewer that is only named is asked for where the coder is.
  const reviewer =
    reviewerAsked.url === undefined && reviewerAsked.name === undefined
      ? kept.reviewer
      : await modelFor('reviewer', reviewerAsked, kept.reviewer ?? model, signal);
  if (reviewer !== undefined && model === undefined) {
    throw badInput('A reviewer alone changes nothing.', 'Name the model that codes with --model-url too.');
  }
  const same = reviewer?.url === model?.url && reviewer?.name === model?.name;
  const webhooks = webhooksFor(options.webhooks, kept.webhooks, cwd);
  const settings = {
    ports,
    ...(webhooks === undefined ? {} : { webhooks }),
    ...(model === undefined ? {} : { model }),
    ...(reviewer === undefined || same ? {} : { reviewer }),
  };
  writeSettings(home, settings);
  return settings;
}

/** The file that was kept, another one, or none for the word. */
function webhooksFor(asked: string | undefined, kept: string | undefined, cwd: string): string | undefined {
  if (asked === undefined) return kept;
  return asked === 'none' ? undefined : resolve(cwd, asked);
}

type Model = NonNullable<Settings['model']>;

/** The model that the options ask for, on top of the one that was kept. */
async function modelFor(
  option: 'model' | 'reviewer',
  asked: { url: string | undefined; name: string | undefined },
  kept: Model | undefined,
  signal: AbortSignal,
): Promise<Model | undefined> {
  if (asked.url === undefined && asked.name === undefined) return kept;
  const url = asked.url ?? kept?.url;
  if (url === undefined) {
    throw badInput(`--${option}-name needs a server to ask for that model.`, 'Give --model-url too.');
  }
  return { url, name: (await findModel(url, asked.name, signal)).name };
}

/** One model in every seat, or one that codes and one that reviews. */
function modelsOf({ model, reviewer }: Settings): OfferedModel[] {
  if (model?.name === undefined) return [];
  if (reviewer?.name === undefined) return [offeredModel(model.url, model.name)];
  if (reviewer.name === model.name) {
    throw badInput(
      `Both models are called ${model.name}, so no verdict could say which of them spoke.`,
      'Give one of the servers another name for its model (llama.cpp: --alias, vLLM: --served-model-name).',
    );
  }
  return [
    offeredModel(model.url, model.name, { seats: ['coder'] }),
    offeredModel(reviewer.url, reviewer.name, { seats: ['concluder'] }),
  ];
}

async function inBackground(session: Session, home: Home, input: SupervisorInput): Promise<void> {
  const entry = join(checkout, 'apps', 'cli', 'dist', 'supervisor', 'main.js');
  if (!existsSync(entry))
    throw new CliError(`The supervisor is not built: ${entry} does not exist.`, 'Run `npm run setup` in the checkout.');
  mkdirSync(home.logs, { recursive: true, mode: 0o700 });
  const log = openSync(join(home.logs, 'supervisor.log'), 'a', 0o600);
  const child = spawn(process.execPath, [entry, JSON.stringify(input)], {
    cwd: home.folder,
    env: session.env,
    stdio: ['ignore', log, log, 'ipc'],
    detached: true,
  });
  closeSync(log);
  const stop = (): void => void child.kill('SIGTERM');
  session.signal.addEventListener('abort', stop, { once: true });
  const outcome = await new Promise<SupervisorMessage | { type: 'gone' }>((resolve) => {
    child.on('message', (raw) => {
      const parsed = supervisorMessageSchema.safeParse(raw);
      if (!parsed.success) return;
      show(session, parsed.data);
      if (parsed.data.type === 'up') resolve(parsed.data);
      // A failed start has its end only when what it started is gone: wait for the exit.
      if (parsed.data.type === 'failed') child.once('exit', () => resolve(parsed.data));
    });
    child.once('error', () => resolve({ type: 'gone' }));
    child.once('exit', () => setImmediate(() => resolve({ type: 'gone' })));
  });
  session.signal.removeEventListener('abort', stop);
  if (child.connected) child.disconnect();
  child.unref();
  if (outcome.type === 'failed') throw failure(outcome);
  if (session.signal.aborted) throw new Interrupted();
  if (outcome.type === 'gone') {
    throw new CliError(
      'The supervisor ended while starting.',
      `Its log is ${join(home.logs, 'supervisor.log')}; see what it says.`,
    );
  }
}

async function inForeground(session: Session, home: Home, input: SupervisorInput, startedAt: number): Promise<number> {
  let failed: Extract<SupervisorMessage, { type: 'failed' }> | undefined;
  const tell = (message: SupervisorMessage): void => {
    show(session, message);
    if (message.type === 'failed') failed = message;
    if (message.type === 'up') {
      announce(session, home, startedAt);
      session.say(session.palette.dim('  Ctrl-C stops it.'));
    }
  };
  await supervise(planOf(input, session.env), tell, { stop: session.signal, kill: new AbortController().signal });
  if (failed !== undefined) throw failure(failed);
  // Ctrl-C is how a foreground system is meant to end; the exit code still says that it was interrupted.
  session.say('Stopped.');
  return exitCodes.interrupted;
}

function failure({ message, mend, detail, interrupted }: Extract<SupervisorMessage, { type: 'failed' }>): Error {
  if (interrupted) return new Interrupted();
  return new CliError(message, mend ?? 'See supervisor.log in its logs folder.', { detail });
}

function show(session: Session, message: SupervisorMessage): void {
  const { palette } = session;
  if (message.type === 'ready') {
    const line = `  ${palette.good('✓')} ${message.name.padEnd(12)}${message.where.padEnd(26)}`;
    session.say(`${line}${palette.dim(duration(message.tookMs).padStart(8))}`);
  } else if (message.type === 'note') {
    session.note(`  ${palette.warn('!')} ${message.text}`);
  }
}

function announce(session: Session, home: Home, startedAt: number): number {
  const state = systemState(home);
  if (state.is !== 'running')
    throw new CliError('The system ended just after it came up.', 'See supervisor.log in its logs folder.');
  session.say(`\nUp in ${duration(performance.now() - startedAt)}.`);
  describe(session, home, state.run);
  session.document(documentOf(state.run, false));
  return exitCodes.ok;
}

function describe(session: Session, home: Home, run: RunFile): void {
  const { palette } = session;
  const line = (title: string, text: string): void => session.say(`  ${palette.dim(title.padEnd(8))}${text}`);
  if (run.api !== undefined) line('API', `${run.api.url}  ${palette.dim('bearer token in run.json')}`);
  if (run.nats !== undefined)
    line('NATS', `${run.nats.url}  ${palette.dim(`user \`${run.nats.user.name}\`, password in run.json`)}`);
  line('Files', home.folder);
  if (run.model === undefined) {
    line('Model', palette.warn('none: tasks will wait. Start with --model-url http://HOST:PORT'));
  } else {
    line('Model', `${run.model.names.join(', ')} at ${run.model.url}`);
  }
  line('Next', 'plumb submit --repo DIR --base main --issue FILE --wait');
}

function documentOf(run: RunFile, already: boolean): unknown {
  return {
    schema: 'plumbline.up/1',
    already,
    startedAt: run.startedAt,
    api: run.api === undefined ? undefined : { url: run.api.url },
    nats: run.nats === undefined ? undefined : { url: run.nats.url, external: run.nats.external },
    model: run.model,
    processes: run.processes.map(({ name, state, http, restarts }) => ({ name, state, http, restarts })),
  };
}
