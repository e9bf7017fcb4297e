import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { cacheTypeNames } from '@plumbline/domain';
import { exitCodes, explain, CliError, Interrupted } from './failure.js';
import { createPalette, wantsColour } from './terminal/palette.js';
import { createSession, type Session } from './session.js';
import { columnsMax, wrap } from './terminal/text.js';

/** Of the command line and everything in its checkout. */
const version = '0.1.0';

/** A command: gets its arguments and options, returns the exit code. Loaded only when it is called, so that `--help` is quick. */
export type Run<O = Record<string, unknown>> = (session: Session, args: string[], options: O) => Promise<number>;

/** Runs the command line; returns the exit code and never throws. Whatever goes wrong is one sentence on stderr with one on how to mend it. */
export async function runCli(argv: readonly string[]): Promise<number> {
  const debug = argv.includes('--debug');
  const stop = new AbortController();
  const release = onInterrupt(stop);
  // `plumb log | head` closes our stdout; that is how the reader says "enough".
  process.stdout.on('error', (error: NodeJS.ErrnoException) =>
    process.exit(error.code === 'EPIPE' ? exitCodes.ok : exitCodes.refused),
  );
  let code: number = exitCodes.ok;
  const documents = { written: false };
  const program = createProgram(async (load, args, options) => {
    const run = await load();
    const onDocument = (): void => void (documents.written = true);
    code = await run(createSession({ json: options['json'] === true, signal: stop.signal, onDocument }), args, options);
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return stop.signal.aborted ? exitCodes.interrupted : code;
  } catch (error) {
    const json = argv.includes('--json') && !documents.written;
    return report(error, { debug, interrupted: stop.signal.aborted, json });
  } finally {
    release();
  }
}

function onInterrupt(stop: AbortController): () => void {
  const listener = (): void => {
    if (stop.signal.aborted) process.exit(exitCodes.interrupted);
    stop.abort(new Interrupted());
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, listener);
  return () => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, listener);
  };
}

interface Reporting {
  readonly debug: boolean;
  readonly interrupted: boolean;
  /** Whoever reads our stdout as JSON is still owed a document. */
  readonly json: boolean;
}

const errorCodes: Readonly<Record<number, string>> = {
  [exitCodes.usage]: 'bad-input',
  [exitCodes.incomplete]: 'incomplete',
  [exitCodes.interrupted]: 'interrupted',
};

function report(error: unknown, { debug, interrupted, json }: Reporting): number {
  if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
  // Called without a command: the help that Commander printed is the answer.
  if (error instanceof CommanderError && error.code === 'commander.help') return exitCodes.usage;
  const { message, mend, detail, exitCode } = failureOf(error, interrupted);
  if (json) {
    const document = {
      schema: 'plumbline.error/1',
      code: errorCodes[exitCode] ?? 'refused',
      message,
      problems: [],
      ...(mend === undefined ? {} : { mend }),
      detail,
      exitCode,
    };
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  }
  if (exitCode === exitCodes.interrupted) {
    process.stderr.write(`${message}\n`);
    return exitCode;
  }
  const paint = createPalette(wantsColour(process.stderr, process.env));
  for (const line of detail) process.stderr.write(`${paint.dim(`  │ ${line}`)}\n`);
  process.stderr.write(`${paint.bad('✗')} ${wrap(message, columnsMax - 2).join('\n  ')}\n`);
  const hint =
    mend ??
    (debug || exitCode === exitCodes.interrupted
      ? undefined
      : 'Run it again with --debug to see where this comes from.');
  if (hint !== undefined) process.stderr.write(`${paint.accent('→')} ${wrap(hint, columnsMax - 2).join('\n  ')}\n`);
  if (debug && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
  return exitCode;
}

function failureOf(error: unknown, interrupted: boolean): ReturnType<typeof explain> & { exitCode: number } {
  if (error instanceof CommanderError) {
    const message = error.message.replace(/^error: /, '').split('\n')[0] ?? '';
    return {
      message: capitalised(message),
      mend: '`plumb --help` lists the commands, `plumb COMMAND --help` their options.',
      detail: [],
      exitCode: exitCodes.usage,
    };
  }
  if (interrupted || error instanceof Interrupted)
    return { message: 'Interrupted.', detail: [], exitCode: exitCodes.interrupted };
  return { ...explain(error), exitCode: error instanceof CliError ? error.exitCode : exitCodes.refused };
}

const capitalised = (text: string): string =>
  `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

type Loader = () => Promise<Run>;
type Dispatch = (load: Loader, args: string[], options: Record<string, unknown>) => Promise<void>;

function createProgram(dispatch: Dispatch): Command {
  const program = new Command('plumb');
  program
    .description('Trust the harness, not the model: a verdict on code changes, with the evidence for it.')
    .exitOverride()
    .version(version, '-V, --version', 'print the version')
    .helpCommand(false)
    // Errors are told in one place and in one form, see report.
    .configureOutput({ outputError: () => {} })
    .configureHelp({ helpWidth: columnsMax, showGlobalOptions: false })
    .addHelpText(
      'after',
      '\nExit codes: 0 GO or ok, 1 NO-GO or refused, 2 bad input, 3 could not tell, 130 interrupted.',
    );
  const add = (parent: Command, name: string, description: string, load: Loader): Command =>
    parent
      .command(name)
      .description(description)
      .option('--json', 'print one JSON document for machines')
      .option('--debug', 'show where an error comes from')
      .action(async (...received: unknown[]) => {
        const command = received.at(-1) as Command;
        await dispatch(load, command.args, command.opts());
      });
  addSystem(program, add);
  addTasks(program, add);
  addRecords(program, add);
  addModels(program, add);
  return program;
}

type Add = (parent: Command, name: string, description: string, load: Loader) => Command;
const as = (run: unknown): Run => run as Run;

function addSystem(program: Command, add: Add): void {
  program.commandsGroup('The system on this machine:');
  add(program, 'demo', 'the main job, end to end, on a bundled repository', async () =>
    as((await import('./commands/demo.js')).demo),
  )
    .option('--model-url <url>', 'a real model server in place of the scripted one (OpenAI protocol)')
    .option('--model-name <name>', 'the model to ask it for (default: the first it lists)')
    .option('--keep', 'leave the files and logs of the run where they are');
  add(program, 'up', 'start the whole system with embedded defaults', async () =>
    as((await import('./commands/up.js')).up),
  )
    .option('--model-url <url>', 'the model server that works on tasks (OpenAI protocol); remembered')
    .option('--model-name <name>', 'the model to ask it for (default: the first it lists)')
    .option('--reviewer-url <url>', 'the server of another model that reviews (default: --model-url)')
    .option('--reviewer-name <name>', 'that other model (default: the first its server lists)')
    .option('--api-port <port>', 'port of the HTTP API', port)
    .option('--nats-port <port>', 'port of NATS', port)
    .option('--postgres-port <port>', 'port of Postgres', port)
    .option('--webhooks <file>', 'who is told of verdicts and ends (JSON; remembered; none forgets)')
    .option('--foreground', 'stay in this terminal; Ctrl-C stops the system');
  add(program, 'down', 'stop it', async () => as((await import('./commands/down.js')).down)).option(
    '--purge',
    'also delete its log, artifacts and settings, for good',
  );
  add(program, 'doctor', 'say what is wrong on this machine and how to mend it', async () =>
    as((await import('./commands/doctor.js')).doctor),
  );
}

function addTasks(program: Command, add: Add): void {
  program.commandsGroup('Tasks:');
  add(program, 'check', 'run the gate on a change, with no services', async () =>
    as((await import('./commands/check.js')).check),
  )
    .option('--repo <dir>', 'the repository', '.')
    .requiredOption('--base <rev>', 'the revision the change starts from')
    .option('--head <rev>', 'the revision to judge, or WORKTREE', 'WORKTREE')
    .option('--issue <file>', 'the issue it is meant to solve')
    .option('--policy <policy>', 'strict, standard, advisory or a file', 'standard')
    .addOption(new Option('--format <format>', 'how to print the result').choices(['text', 'json']).default('text'));
  add(program, 'submit', 'hand over an issue', async () => as((await import('./commands/submit.js')).submit))
    .option('--repo <url|dir>', 'where the repository is')
    .option('--base <rev>', 'the revision to start from')
    .option('--issue <file>', 'the issue; its first line is the title (- reads stdin)')
    .addOption(
      new Option(
        '--batch <file>',
        'many issues (YAML or JSON), followed to their end; the same again goes on',
      ).conflicts([...['repo', 'base', 'issue', 'policy', 'priority', 'publish', 'key', 'wait']]),
    )
    .option('--parallel <n>', 'tasks of the batch under way at once', wholeNumber)
    .option('--policy <policy>', 'strict, standard, advisory or a file')
    .addOption(new Option('--priority <priority>', 'which tasks go first').choices(['batch', 'normal', 'high']))
    .addOption(new Option('--publish <what>', 'what happens on GO').choices(['none', 'branch', 'pull-request']))
    .option('--key <key>', 'idempotency key: the same key is the same task')
    .option('--wait', 'follow the task to its verdict');
  add(program, 'report', 'what ran, what waits for a person, and what it took', async () =>
    as((await import('./commands/report.js')).report),
  )
    .option('--since <when>', 'an instant, today, yesterday 18:00, 12h (default: 24h, or the whole batch)')
    .option('--until <when>', 'the same (default: now)')
    .option('--batch <name|file>', 'only this batch')
    .addOption(
      new Option('--format <format>', 'how to print it').choices(['text', 'markdown', 'json']).default('text'),
    );
  add(program, 'watch <task>', 'follow a task to its verdict', async () =>
    as((await import('./commands/watch.js')).watch),
  );
  add(program, 'show <task>', 'a task with its verdict and evidence', async () =>
    as((await import('./commands/show.js')).show),
  );
  add(program, 'list', 'all tasks', async () => as((await import('./commands/list.js')).list)).option(
    '--state <state>',
    'only tasks in this state',
  );
  add(program, 'why <task>', 'why a task waits or got its verdict', async () =>
    as((await import('./commands/why.js')).why),
  );
  add(program, 'cancel <task>', 'stop a task', async () => as((await import('./commands/intervene.js')).cancel))
    .requiredOption('--why <text>', 'the reason, for the record')
    .option('--by <name>', 'who says so (default: your user name)');
  add(program, 'retry <task>', 'let a task that waits for a human try again', async () =>
    as((await import('./commands/intervene.js')).retry),
  )
    .requiredOption('--why <text>', 'the reason, for the record')
    .option('--by <name>', 'who says so (default: your user name)');
  const rule = add(program, 'rule <task>', "a human's ruling on a task", async () =>
    as((await import('./commands/intervene.js')).rule),
  )
    .option('--go', 'it is good: publish it')
    .option('--no-go', 'it is not')
    .requiredOption('--why <text>', 'the reason, for the record')
    .option('--by <name>', 'who says so (default: your user name)');
  refuseTogether(rule, ['go', 'no-go']);
  add(program, 'escalations', 'what waits for a human', async () =>
    as((await import('./commands/escalations.js')).escalations),
  );
}

/** Commander reads `--no-go` as the negation of `--go` and lets the last of both win; a ruling is final, so both together are refused. */
function refuseTogether(command: Command, names: readonly string[]): void {
  const given = new Set<string>();
  for (const name of names) {
    command.on(`option:${name}`, () => {
      given.add(name);
      if (given.size > 1) command.error(`--${names.join(' and --')} exclude each other; give one of them`);
    });
  }
}

function addRecords(program: Command, add: Add): void {
  program.commandsGroup('Records:');
  add(program, 'log [task]', 'read the event log', async () => as((await import('./commands/log.js')).log))
    .option('-f, --follow', 'go on as events are recorded')
    .option('--after <position>', 'start after this position', position);
  add(program, 'audit', 'verify that the log is whole and unchanged', async () =>
    as((await import('./commands/audit.js')).audit),
  );
  const dead = program.command('dead').description('messages that could not be handled, with the reason');
  const load = (op: 'list' | 'retry' | 'drop') => async (): Promise<Run> =>
    (await import('./commands/dead.js')).dead(op);
  add(dead, 'list', 'list them', load('list'));
  add(dead, 'retry <seq>', 'give one to its handler again', load('retry'));
  add(dead, 'drop <seq>', 'delete one for good', load('drop'));
}

function addModels(program: Command, add: Add): void {
  program.commandsGroup('Models:');
  const command = add(
    program,
    'size <model>',
    'memory a model needs, from its header alone, or why that is not known',
    async () => as((await import('./commands/size.js')).size),
  )
    .option('--ctx <tokens>', "context of all slots together (default: the model's own)", amount(0xffff_ff00))
    .option('--parallel <slots>', 'slots (default: 4 that share one cache)', amount(256))
    .option('--kv-unified', 'the slots share one cache')
    .option('--no-kv-unified', 'each slot has a cache of its own')
    .option('--swa-full', 'full-size cache for layers with a sliding window')
    .option('--ubatch <tokens>', 'tokens in one pass (default: 512)', amount(1 << 20))
    .option('--mmproj <model>', 'projector for images or sound')
    .option('--draft-model <model>', 'draft model for speculative decoding')
    .option('--cache-ram <mib>', 'limit of the prompt cache (default: 8192)', amount(1 << 30))
    .option('--ctx-checkpoints <count>', 'checkpoints per slot (default: 32)', amount(1 << 20))
    .option('--allow-host <host...>', "a host outside this machine's own networks that may be asked")
    .option('--oracle <file>', 'llama-fit-params, to be asked first')
    .option('--declared <mib>', 'what it takes, should nothing else tell', amount(1 << 30));
  for (const side of ['k', 'v'])
    command.addOption(
      new Option(`--cache-type-${side} <type>`, 'type of the cache (default: f16)').choices(cacheTypeNames),
    );
  command
    .addOption(new Option('--flash-attn <mode>', 'flash attention (default: auto)').choices(['on', 'off', 'auto']))
    .addOption(new Option('--device <device>', 'where the model runs (default: cpu)').choices(deviceNames))
    .addOption(new Option('--runtime <runtime>', 'server for safetensors').choices(['vllm', 'mlx']).default('vllm'));
}

const deviceNames = ['cpu', 'unified', 'metal', 'gpu', 'cuda', 'rocm', 'vulkan'];

function amount(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d{1,10}$/.test(text) || value > max)
      throw new InvalidArgumentError(`Expected a whole number from 0 to ${max}.`);
    return value;
  };
}

function port(text: string): number {
  const value = Number(text);
  if (!/^\d{1,5}$/.test(text) || value < 1 || value > 65_535)
    throw new InvalidArgumentError('Expected a port, 1 to 65535.');
  return value;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

function position(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Expected a position, a number from 0.');
  return Number(text);
}
