import { freePort } from '@plumbline/embedded';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { connectBus, type Bus, type BusOptions } from './connection.js';
import { ensureTopology } from './ensure-topology.js';
import { IDENTITIES, type Identity, type IdentityName } from './identities.js';
import { natsConfig } from './nats-config.js';

/** The nats-server to test with: `NATS_SERVER_BIN`, else `.tools/bin` of the repository, else the search path. */
export function natsServerBinary(): string {
  const candidates = [
    process.env['NATS_SERVER_BIN'],
    resolve(import.meta.dirname, '../../../.tools/bin/nats-server'),
    ...(process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'nats-server')),
    '/usr/sbin/nats-server',
  ];
  const found = candidates.find((path) => path !== undefined && path !== '' && existsSync(path));
  if (found === undefined) throw new Error('no nats-server: set NATS_SERVER_BIN or install it');
  return found;
}

/** A real broker of one test file, on a free loopback port, with the permissions of production. */
export class TestBroker {
  private process: ChildProcess | undefined;
  private readonly buses: Bus[] = [];

  private constructor(
    private readonly folder: string,
    readonly port: number,
    readonly passwords: Readonly<Record<IdentityName, string>>,
    private readonly config: string,
  ) {}

  static async start(
    options: { identities?: readonly Identity[]; edit?: (config: string) => string; port?: number } = {},
  ): Promise<TestBroker> {
    const folder = mkdtempSync(join(tmpdir(), 'plumb-nats-'));
    const identities = options.identities ?? IDENTITIES;
    const passwords = Object.fromEntries(
      IDENTITIES.map(({ name }) => [name, randomBytes(12).toString('hex')]),
    ) as Record<IdentityName, string>;
    const port = options.port ?? (await freePort());
    const config = natsConfig({ identities, passwords, host: '127.0.0.1', port, storeDir: join(folder, 'store') });
    const broker = new TestBroker(folder, port, passwords, options.edit?.(config) ?? config);
    await broker.launch();
    return broker;
  }

  get url(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** A connection that the broker closes with itself. */
  async connect(service: IdentityName, options: Partial<BusOptions> = {}): Promise<Bus> {
    const bus = await connectBus({
      servers: this.url,
      user: service,
      password: this.passwords[service],
      service,
      reconnectDelayMs: 50,
      ...options,
    });
    this.buses.push(bus);
    return bus;
  }

  /** A connection of the ledger with the topology in place. */
  async ledger(logEpoch = 'epoch-1'): Promise<Bus> {
    const bus = await this.connect('ledger');
    await ensureTopology(bus.jsm, bus.capabilities, { logEpoch });
    return bus;
  }

  async launch(): Promise<void> {
    const file = join(this.folder, 'nats.conf');
    writeFileSync(file, this.config);
    const child = spawn(natsServerBinary(), ['-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.process = child;
    let log = '';
    child.stderr.on('data', (chunk: Buffer) => (log = (log + chunk.toString()).slice(-4_000)));
    for (;;) {
      if (child.exitCode !== null) throw new Error(`nats-server stopped with ${child.exitCode}:\n${log}`);
      if (await greets(this.port)) return;
      await new Promise((done) => setTimeout(done, 20));
    }
  }

  /** Ends the broker: `SIGKILL` loses what was not flushed to the operating system. */
  async halt(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.process;
    this.process = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((done) => child.once('exit', done));
    child.kill(signal);
    await ended;
  }

  /** Everything JetStream stored is gone; only while halted. */
  wipe(): void {
    rmSync(join(this.folder, 'store'), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await Promise.all(this.buses.map((bus) => bus.drain(1_000)));
    await this.halt('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A nats-server sends its INFO line as soon as it takes clients. */
function greets(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = dial(port, '127.0.0.1');
    const end = (up: boolean): void => {
      socket.destroy();
      done(up);
    };
    socket.once('data', (chunk) => end(chunk.toString().startsWith('INFO')));
    socket.once('error', () => end(false));
    socket.setTimeout(1_000, () => end(false));
  });
}

/** Resolves as soon as `condition` holds, looking every 10 ms; rejects after `timeoutMs` naming `what`. */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 15_000,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

/** A promise with its handle outside, to let a handler wait for the test. */
export function gate<T = void>(): { promise: Promise<T>; open: (value: T) => void } {
  let open!: (value: T) => void;
  const promise = new Promise<T>((done) => (open = done));
  return { promise, open };
}
