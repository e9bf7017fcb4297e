import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { EmbeddedError } from './embedded-error.js';
import { locate } from './locate.mjs';
import { isAlive, launch, type ServerExit, type ServerProcess, stopByPid } from './server-process.js';

export type NatsOptions = {
  /** Where JetStream keeps its streams; created when absent. Configuration, pid and log are kept there too. */
  storeDir: string;
  /** Configuration in nats-server's language (accounts, users, permissions, limits). Addresses, ports and store are ours: it names none. */
  configText?: string;
  /** Absent: the server takes a free one. Given and taken: refused with `port-taken`. */
  port?: number;
  /** As `port`, for the monitoring endpoint. */
  httpPort?: number;
  /** Decides which binary is taken: NATS_SERVER_BIN, PATH. Absent: the checkout's .tools and the usual system folders. */
  env?: Readonly<Record<string, string | undefined>>;
  /** True: the server goes on when this process ends; see `stopNats`. Default false: it ends with this process. */
  detached?: boolean;
  /** How long a start may take, store recovery included. Default 30 000. */
  startTimeoutMs?: number;
};

export type NatsServer = {
  /** `nats://127.0.0.1:<port>`, without credentials. */
  url: string;
  port: number;
  /** `http://127.0.0.1:<port>`: /varz, /jsz, /healthz. */
  monitorUrl: string;
  pid: number;
  storeDir: string;
  /** Of the server, for example `2.10.27`. */
  version: string;
  /** Resolves when the server process is gone, for whatever reason. */
  exited: Promise<ServerExit>;
  /** Clean shutdown, bounded to some 10 s, then kill. True when no kill was needed. May be called again. */
  stop(): Promise<boolean>;
  /** SIGKILL, as a crash would: the next start recovers the store. */
  kill(): Promise<void>;
};

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const START_TIMEOUT_MS = 30_000;
const STOP_PATIENCE_MS = 10_000;
const POLL_MS = 15;
const FLOCK = '/usr/bin/flock';
const STORE_LOCKED = 98;
const CHOOSE_PORT = '-1';
const LOOPBACK = '127.0.0.1';

type Addresses = { client: URL; monitor: URL };

/**
 * Starts a real nats-server with JetStream on 127.0.0.1 and returns when it is healthy. nats-server itself does not
 * guard its store against a second server; on Linux a kernel lock held by the process does. Throws EmbeddedError for
 * everything a user can act on; its `log` quotes the server's log, kept as `server.log` in the store folder.
 */
export async function startNats(given: NatsOptions): Promise<NatsServer> {
  const storeDir = resolve(given.storeDir);
  const env = { ...given.env, NATS_URL: undefined };
  const binary = locate('nats-server', { root: ROOT, ...(given.env === undefined ? {} : { env }) });
  if ('missing' in binary) throw new EmbeddedError('binary-missing', binary.missing, binary.mend);
  mkdirSync(storeDir, { recursive: true, mode: 0o700 });
  const running = runningNats(storeDir);
  if (running !== undefined) throw inUse(storeDir);
  removePortsFiles(storeDir);
  const server = await launch({
    command: lockedTo(storeDir, [binary.found, ...argumentsFor(storeDir, given)]),
    cwd: storeDir,
    logPath: join(storeDir, 'server.log'),
    detached: given.detached ?? false,
  });
  const ports = await untilHealthy(server, storeDir, given.startTimeoutMs ?? START_TIMEOUT_MS);
  return {
    url: `nats://${LOOPBACK}:${ports.client.port}`,
    port: Number(ports.client.port),
    monitorUrl: `http://${LOOPBACK}:${ports.monitor.port}`,
    pid: server.pid,
    storeDir,
    version: binary.version,
    exited: server.exited,
    stop: () => server.stop(['SIGINT'], STOP_PATIENCE_MS),
    kill: () => server.kill(),
  };
}

/**
 * Stops the server of a store folder, whoever started it (a detached one of an earlier run). False when none runs there.
 * Bounded to some 10 s, then kill.
 */
export async function stopNats({ storeDir }: { storeDir: string }): Promise<boolean> {
  const pid = runningNats(resolve(storeDir));
  if (pid === undefined) return false;
  await stopByPid(pid, 'SIGINT', STOP_PATIENCE_MS);
  return true;
}

function argumentsFor(storeDir: string, { configText, port, httpPort }: NatsOptions): string[] {
  const config = join(storeDir, 'nats.conf');
  // Users and their passwords are in it.
  writeFileSync(config, configText ?? '', { mode: 0o600 });
  chmodSync(config, 0o600);
  return [
    ...['--config', config, '--addr', LOOPBACK, '--jetstream', '--store_dir', storeDir],
    ...['--port', port === undefined ? CHOOSE_PORT : String(port)],
    ...['--http_port', httpPort === undefined ? CHOOSE_PORT : String(httpPort)],
    ...['--pid', join(storeDir, 'nats.pid'), '--ports_file_dir', storeDir],
  ];
}

/** The lock is on an open file the server inherits, so it ends with the server and is never stale. */
function lockedTo(storeDir: string, command: [string, ...string[]]): [string, ...string[]] {
  if (!existsSync(FLOCK)) return command;
  const lock = join(storeDir, 'server.lock');
  return [FLOCK, '--nonblock', '--no-fork', '--conflict-exit-code', String(STORE_LOCKED), lock, ...command];
}

async function untilHealthy(server: ServerProcess, storeDir: string, timeoutMs: number): Promise<Addresses> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    const exit = server.exit();
    if (exit !== undefined)
      throw exit.code === STORE_LOCKED ? inUse(storeDir) : failureOf(server.lastWords(), storeDir);
    const ports = readPorts(storeDir, server.pid);
    if (ports !== undefined && ports.monitor.hostname !== LOOPBACK) {
      await server.stop(['SIGINT'], STOP_PATIENCE_MS);
      const message = `The configuration opens the monitoring endpoint on ${ports.monitor.hostname}, which anybody could read.`;
      throw new EmbeddedError('config-invalid', message, 'Remove `http` and `https` from it.');
    }
    if (ports !== undefined && (await isHealthy(ports.monitor))) return ports;
    if (Date.now() > until) {
      await server.stop(['SIGINT'], STOP_PATIENCE_MS);
      const message = `nats-server in ${storeDir} was not healthy after ${timeoutMs} ms.`;
      throw new EmbeddedError(
        'start-timeout',
        message,
        'See its log; a large store needs a longer limit.',
        server.lastWords(),
      );
    }
    await sleep(POLL_MS);
  }
}

/** The server writes its real ports to a file named after its pid once it listens. */
function readPorts(storeDir: string, pid: number): Addresses | undefined {
  try {
    const ports = JSON.parse(readFileSync(join(storeDir, `nats-server_${pid}.ports`), 'utf8')) as Record<
      string,
      string[]
    >;
    const [client, monitor] = [ports['nats']?.[0], ports['monitoring']?.[0]];
    if (client === undefined || monitor === undefined) return undefined;
    // On all interfaces the server lists each address it has.
    const open = ports['monitoring']?.find((address) => new URL(address).hostname !== LOOPBACK);
    return { client: new URL(client), monitor: new URL(open ?? monitor) };
  } catch {
    return undefined; // Not written yet, or only half.
  }
}

async function isHealthy(monitor: URL): Promise<boolean> {
  try {
    const response = await fetch(new URL('/healthz', monitor), { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

function failureOf(log: string, storeDir: string): EmbeddedError {
  const taken = /listen tcp 127\.0\.0\.1:(\d+): bind: address already in use/.exec(log)?.[1];
  if (taken !== undefined) {
    return new EmbeddedError(
      'port-taken',
      `Port ${taken} on 127.0.0.1 is taken.`,
      'Stop what listens there, or give another port.',
    );
  }
  if (/no space left on device/i.test(log)) {
    return new EmbeddedError(
      'disk-full',
      `The disk holding ${storeDir} is full.`,
      'Free some space there and start again.',
      log,
    );
  }
  if (/nats\.conf:\d+|Parse error|error parsing/i.test(log)) {
    const message = 'nats-server does not accept the configuration.';
    return new EmbeddedError('config-invalid', message, 'Correct the place that its log names.', log);
  }
  return new EmbeddedError(
    'start-failed',
    `nats-server in ${storeDir} ended while starting.`,
    'See what its log says.',
    log,
  );
}

function inUse(storeDir: string): EmbeddedError {
  const pid = runningNats(storeDir);
  const by = pid === undefined ? 'another server' : `process ${pid}`;
  return new EmbeddedError(
    'data-dir-in-use',
    `${storeDir} is in use by ${by}.`,
    'Stop that server, or name another folder.',
  );
}

/** By the pid file, and only if that process still is a nats-server of this very folder. */
function runningNats(storeDir: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(storeDir, 'nats.pid'), 'utf8'));
    if (!Number.isInteger(pid) || pid <= 0 || !isAlive(pid)) return undefined;
    return commandOf(pid).includes(join(storeDir, 'nats.pid')) ? pid : undefined;
  } catch {
    return undefined;
  }
}

function commandOf(pid: number): string {
  if (existsSync('/proc/self/cmdline')) return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  return execFileSync('ps', ['-o', 'args=', '-p', String(pid)], { encoding: 'utf8' });
}

function removePortsFiles(storeDir: string): void {
  for (const name of readdirSync(storeDir)) {
    if (/^nats-server_\d+\.ports$/.test(name)) rmSync(join(storeDir, name));
  }
}
