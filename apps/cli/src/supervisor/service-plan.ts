import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { serviceNames, type OfferedModel, type ServiceName } from '@plumbline/domain';
import { CliError } from '../failure.js';
import type { Home } from '../system/home.js';
import type { ServicePlan } from './service-process.js';

/** Where the servers are and how the services get in. */
export interface Connections {
  readonly natsUrl: string;
  /** Name and password of each service on the bus. */
  readonly nats: Readonly<Record<ServiceName, { readonly user: string; readonly password: string }>>;
  readonly databaseUrl: string;
  readonly databaseAdminUrl: string | undefined;
  readonly apiPort: number;
  readonly apiToken: string;
}

export interface PlanInput {
  readonly root: string;
  readonly home: Home;
  readonly env: NodeJS.ProcessEnv;
  readonly models: readonly OfferedModel[];
  /** Where bubblewrap was found; it may have been unpacked into the checkout, where no service would look. */
  readonly bwrapPath?: string;
  /** The file with the webhooks that the ledger posts to. */
  readonly webhooks?: string;
}

const READY_TIMEOUT_MS = 60_000;
/** Services drain for up to 20 s. */
const STOP_PATIENCE_MS = 25_000;

/** What every service may see of our environment; the rest (keys, tokens, whatever a shell holds) stays with us. */
const inherited = [
  'PATH',
  'HOME',
  'LANG',
  'TZ',
  'TMPDIR',
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'PLUMB_LOG_LEVEL',
  'PLUMB_CONCURRENCY',
  'PLUMB_MODEL_ALLOW_HOSTS',
];
/** Only code-host talks to the hosts of repositories, so only it sees what opens them. */
const inheritedByCodeHost = [
  'SSH_AUTH_SOCK',
  'USER',
  'LOGNAME',
  'XDG_CONFIG_HOME',
  'PLUMB_GIT_HOST',
  'PLUMB_GIT_USER',
  'PLUMB_GIT_TOKEN',
  'PLUMB_GIT_TOKEN_FILE',
  'PLUMB_GIT_SSH_KEY_PATH',
];
const inheritedByNodeAgent = ['PLUMB_NODE_MEMORY_BYTES'];

/** How each service is started. Throws CliError when one is not built. */
export function servicePlan(name: ServiceName, input: PlanInput, connections: Connections): ServicePlan {
  const entry = join(input.root, 'services', name, 'dist', 'main.js');
  if (!existsSync(entry)) {
    throw new CliError(
      `The service ${name} is not built: ${entry} does not exist.`,
      'Run `npm run setup` in the checkout.',
    );
  }
  return {
    name,
    command: [process.execPath, entry],
    env: {
      ...environmentFor(name, input),
      ...commonSettings(name, connections),
      ...ownSettings(name, input, connections),
    },
    cwd: input.home.work,
    logPath: join(input.home.logs, `${name}.log`),
    readyTimeoutMs: READY_TIMEOUT_MS,
    stopPatienceMs: STOP_PATIENCE_MS,
  };
}

/** The ledger first, since the others ask it; then those that only wait for work. */
export const startOrder: readonly (readonly ServiceName[])[] = [
  ['ledger'],
  ['scheduler'],
  serviceNames.filter((name) => name !== 'ledger' && name !== 'scheduler'),
];

function environmentFor(name: ServiceName, { env }: PlanInput): Record<string, string> {
  const names = [
    ...inherited,
    ...(name === 'code-host' ? inheritedByCodeHost : []),
    ...(name === 'node-agent' ? inheritedByNodeAgent : []),
  ];
  const kept = names.flatMap((key) => (env[key] === undefined ? [] : [[key, env[key]] as const]));
  // The Node that runs us is the one the services' own tools must find.
  const path = [dirname(process.execPath), env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin'].join(delimiter);
  return { ...Object.fromEntries(kept), PATH: path, NODE_ENV: 'production' };
}

function commonSettings(name: ServiceName, { natsUrl, nats }: Connections): Record<string, string> {
  return {
    PLUMB_NATS_URL: natsUrl,
    PLUMB_NATS_USER: nats[name].user,
    PLUMB_NATS_PASSWORD: nats[name].password,
    PLUMB_HTTP_HOST: '127.0.0.1',
  };
}

function ownSettings(
  name: ServiceName,
  { home, models, bwrapPath, webhooks }: PlanInput,
  connections: Connections,
): Record<string, string> {
  if (name === 'ledger') {
    const admin = connections.databaseAdminUrl;
    return {
      PLUMB_HTTP_PORT: String(connections.apiPort),
      PLUMB_DATABASE_URL: connections.databaseUrl,
      ...(admin === undefined ? {} : { PLUMB_DATABASE_ADMIN_URL: admin }),
      PLUMB_API_TOKEN: connections.apiToken,
      ...(webhooks === undefined ? {} : { PLUMB_WEBHOOKS_FILE: webhooks }),
    };
  }
  if (name === 'scheduler') return { PLUMB_HTTP_PORT: '0', PLUMB_REPOSITORY_LOCAL: 'allow' };
  const worker = {
    PLUMB_HTTP_PORT: '0',
    PLUMB_LEDGER_URL: `http://127.0.0.1:${connections.apiPort}`,
    PLUMB_LEDGER_TOKEN: connections.apiToken,
    PLUMB_WORK_DIR: join(home.work, name),
  };
  if (name === 'coder' || name === 'gate') {
    // Not found: the service says so itself, with what to do.
    return { ...worker, ...(bwrapPath === undefined ? {} : { PLUMB_BWRAP: bwrapPath }) };
  }
  if (name === 'code-host') return { ...worker, PLUMB_REPOSITORY_LOCAL: 'allow' };
  if (name === 'node-agent') {
    // What it has still to tell belongs to this system's log, not to that of another home of the same person.
    return { ...worker, PLUMB_NODE_ID: 'local', PLUMB_MODELS: JSON.stringify(models), PLUMB_STATE_DIR: home.node };
  }
  return worker;
}
