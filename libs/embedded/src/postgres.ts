import { rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { EmbeddedError } from './embedded-error.js';
import { freePort } from './free-port.js';
import { locate } from './locate.mjs';
import { asIdentity, assertSameMajor, clearReusedPid, diskFull, ensureInitialized } from './postgres-data-dir.js';
import { giveTo, inUse, runningPostmaster } from './postgres-data-dir.js';
import { type ServerIdentity, unprivilegedIdentity } from './server-identity.js';
import { launch, type ServerExit, type ServerProcess, stopByPid } from './server-process.js';

export type PostgresOptions = {
  /** Where the database lives; created on the first start. */
  dataDir: string;
  /** Password of the superuser `postgres`, set on the first start and checked on every start. */
  superuserPassword: string;
  /** Absent: a free one. Given and taken: refused with `port-taken`. */
  port?: number;
  /** For tests: no fsync unless asked for, and `stop` removes `dataDir` (`kill` does not). Default false. */
  ephemeral?: boolean;
  /** Default true, or false when `ephemeral`. Without it a power cut may destroy the database; a killed server keeps its commits. */
  fsync?: boolean;
  /** Server settings by name, as in postgresql.conf. Address, port and sockets are not for setting. */
  settings?: Readonly<Record<string, string>>;
  /** True: the server goes on when this process ends; see `stopPostgres`. Default false: it ends with this process. */
  detached?: boolean;
  /** How long a start may take, recovery included. Default 60 000. */
  startTimeoutMs?: number;
};

export type PostgresServer = {
  /** Connection URL of the superuser, password included. */
  url: string;
  port: number;
  pid: number;
  dataDir: string;
  /** Of the server, for example `18.4`. */
  version: string;
  /** Resolves when the server process is gone, for whatever reason. */
  exited: Promise<ServerExit>;
  /** Fast shutdown, bounded to some 20 s, then kill. True when no kill was needed. May be called again. */
  stop(): Promise<boolean>;
  /** SIGKILL, as a power cut would: the next start recovers. */
  kill(): Promise<void>;
};

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const START_TIMEOUT_MS = 60_000;
const STOP_PATIENCE_MS = 10_000;
const POLL_MS = 20;
/** A chosen port can be lost to another process between choosing and binding; so often in a row it cannot be chance. */
const PORT_TRIES = 5;
/** Backends of a killed postmaster notice its death within moments; until then the database is theirs. */
const ORPHANS_GONE_MS = 15_000;

/**
 * Starts a real Postgres on 127.0.0.1 with password (SCRAM) logins only, and returns when it accepts connections.
 * Throws EmbeddedError for everything a user can act on; its `log` quotes the server's log, kept as `server.log` in the
 * data folder. As root the server runs unprivileged, see `unprivilegedIdentity`. Call it on the main thread: the kernel
 * takes the end of a worker thread for the end of its starter.
 */
export function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  return startPostgresAs(unprivilegedIdentity(), options);
}

/** As `startPostgres`, under an identity already chosen. */
export async function startPostgresAs(identity: ServerIdentity, given: PostgresOptions): Promise<PostgresServer> {
  const options = { ...given, dataDir: resolve(given.dataDir) };
  if (options.superuserPassword === '' || /[\r\n\0]/.test(options.superuserPassword)) {
    throw new TypeError('superuserPassword must be one non-empty line');
  }
  const binary = locate('postgres', { root: ROOT });
  if ('missing' in binary) throw new EmbeddedError('binary-missing', binary.missing, binary.mend);
  const { dataDir, superuserPassword } = options;
  const sync = options.fsync ?? options.ephemeral !== true;
  if (runningPostmaster(dataDir) !== undefined) throw inUse(dataDir);
  await ensureInitialized({ dataDir, superuserPassword, identity, sync, binFolder: dirname(binary.found) });
  assertSameMajor(dataDir, binary.version);
  clearReusedPid(dataDir);
  if (identity.kind === 'other-user') giveTo(dataDir, identity);
  const { server, port } = await boundServer(identity, binary.found, options, sync);
  const url = `postgres://postgres:${encodeURIComponent(superuserPassword)}@127.0.0.1:${port}/postgres`;
  const remove = () => {
    if (options.ephemeral === true) rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 });
  };
  const stop = async () => {
    const clean = await server.stop(['SIGINT', 'SIGQUIT'], STOP_PATIENCE_MS);
    remove();
    return clean;
  };
  try {
    const version = await checkLogin(url, dataDir);
    return {
      url,
      port,
      pid: server.pid,
      dataDir,
      version,
      exited: server.exited,
      stop,
      kill: () => server.kill(),
    };
  } catch (error) {
    await server.stop(['SIGINT'], STOP_PATIENCE_MS);
    throw error;
  }
}

/**
 * Stops the server of a data folder, whoever started it (a detached one of an earlier run). False when none runs there.
 * Bounded to some 10 s, then kill.
 */
export async function stopPostgres({ dataDir }: { dataDir: string }): Promise<boolean> {
  const running = runningPostmaster(resolve(dataDir));
  if (running === undefined) return false;
  await stopByPid(running.pid, 'SIGINT', STOP_PATIENCE_MS);
  return true;
}

type Settled = PostgresOptions & { dataDir: string };

/** Starts until the server has a port and the database, or says why it cannot. */
async function boundServer(identity: ServerIdentity, binary: string, options: Settled, sync: boolean) {
  const orphansUntil = Date.now() + ORPHANS_GONE_MS;
  for (let portTry = 1; ;) {
    const port = options.port ?? (await freePort());
    const server = await launchPostgres(identity, binary, options, port, sync);
    const failure = await untilReady(server, options, port);
    if (failure === undefined) return { server, port };
    if (failure === 'orphans' && Date.now() < orphansUntil) {
      await sleep(POLL_MS * 5);
    } else if (failure === 'orphans') {
      throw inUse(options.dataDir);
    } else if (failure.code === 'port-taken' && options.port === undefined && portTry < PORT_TRIES) {
      portTry += 1;
    } else {
      throw failure;
    }
  }
}

function launchPostgres(
  identity: ServerIdentity,
  binary: string,
  options: Settled,
  port: number,
  sync: boolean,
): Promise<ServerProcess> {
  const settings = {
    ...(sync ? {} : { fsync: 'off', full_page_writes: 'off' }),
    ...options.settings,
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    logging_collector: 'off',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return launch({
    command: asIdentity(identity, [binary, '-D', options.dataDir, ...args]),
    cwd: options.dataDir,
    logPath: join(options.dataDir, 'server.log'),
    detached: options.detached ?? false,
    ...(identity.kind === 'other-user' ? { identity: { uid: identity.uid, gid: identity.gid } } : {}),
  });
}

/** Undefined once the server accepts connections; else why it never will. */
async function untilReady(
  server: ServerProcess,
  options: Settled,
  port: number,
): Promise<EmbeddedError | 'orphans' | undefined> {
  const timeoutMs = options.startTimeoutMs ?? START_TIMEOUT_MS;
  const until = Date.now() + timeoutMs;
  for (;;) {
    if (server.exit() !== undefined) return failureOf(server.lastWords(), options.dataDir, port);
    const running = runningPostmaster(options.dataDir);
    if (running?.pid === server.pid && running.ready) return undefined;
    if (Date.now() > until) {
      await server.stop(['SIGQUIT'], STOP_PATIENCE_MS);
      const message = `Postgres in ${options.dataDir} was not ready after ${timeoutMs} ms.`;
      return new EmbeddedError(
        'start-timeout',
        message,
        'See its log; a long recovery needs a longer limit.',
        server.lastWords(),
      );
    }
    await sleep(POLL_MS);
  }
}

function failureOf(log: string, dataDir: string, port: number): EmbeddedError | 'orphans' {
  if (/pre-existing shared memory block/.test(log)) return 'orphans';
  if (/could not bind .*Address already in use/.test(log)) {
    return new EmbeddedError(
      'port-taken',
      `Port ${port} on 127.0.0.1 is taken.`,
      'Stop what listens there, or give another port.',
    );
  }
  // A postmaster that was killed counts as alive until its parent has taken note; to us it is gone already.
  if (/lock file .* already exists/.test(log))
    return runningPostmaster(dataDir) === undefined ? 'orphans' : inUse(dataDir);
  if (/No space left on device/.test(log)) return diskFull(dataDir, log);
  return new EmbeddedError(
    'start-failed',
    `Postgres in ${dataDir} ended while starting.`,
    'See what its log says.',
    log,
  );
}

/** The URL we hand out works: a folder made with another password is found here, not at the first query. */
async function checkLogin(url: string, dataDir: string): Promise<string> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: STOP_PATIENCE_MS });
  // A server that dies while we ask is reported by the query; without a listener it would crash us.
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ version: string }>(
      "select split_part(current_setting('server_version'), ' ', 1) as version",
    );
    return rows[0]?.version ?? 'unknown';
  } catch (error) {
    if ((error as { code?: string }).code !== '28P01') throw error;
    throw new EmbeddedError(
      'wrong-password',
      `The database in ${dataDir} was made with another superuser password.`,
      'Give the password it was made with, or move the folder away to begin with an empty database.',
    );
  } finally {
    await client.end().catch(() => {});
  }
}
