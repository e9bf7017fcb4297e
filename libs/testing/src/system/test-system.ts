import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { headers as natsHeaders } from '@nats-io/transport-node';
import {
  BusError,
  request,
  toBinaryHeaders,
  toStructured,
  type Bus,
  type IdentityName,
  type Reply,
} from '@plumbline/bus';
import { intakeKinds, serviceNames, type IntakeKind, type ServiceName } from '@plumbline/domain';
import { freePort } from '@plumbline/embedded';
import { EventLog, type RecordedEvent } from '@plumbline/event-log';
import { startTestNats, type TestNats } from '../servers/test-nats.js';
import { startTestPostgres, type TestDatabase, type TestPostgres } from '../servers/test-postgres.js';
import { LogWatch } from './log-watch.js';
import { ServiceChild, type LogLine, type ServiceChildOptions } from './service-child.js';

/** A service, or a further replica of one: `scheduler`, `scheduler/2`. */
export type ServiceProcessName = ServiceName | `${ServiceName}/${number}`;

export interface TestSystemOptions {
  services: readonly ServiceProcessName[];
  /** Environment of all services, or of one process; it wins over what the system sets. */
  env?:
    Readonly<Record<string, string>> | ((service: ServiceName, at: ProcessPlace) => Readonly<Record<string, string>>);
  /** Told what becomes of each process. */
  child?: (name: ServiceProcessName) => ServiceChildOptions;
  /** Where spans go, see startOtlpReceiver. */
  otlp?: string;
}

/** Which process is being configured, and where it would find the servers by itself. */
export interface ProcessPlace {
  name: ServiceProcessName;
  natsUrl: string;
  ledgerUrl: string;
}

export interface ApiAnswer {
  status: number;
  body: unknown;
  headers: Headers;
}

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..');

/** The system as people run it: Postgres, NATS with an identity per service, and the named services as processes from dist. */
export class TestSystem {
  watch: LogWatch;
  private readonly children = new Map<ServiceProcessName, ServiceChild>();
  private readonly buses = new Map<IdentityName, Promise<Bus>>();

  private constructor(
    private readonly postgres: TestPostgres,
    readonly database: TestDatabase,
    readonly nats: TestNats,
    readonly log: EventLog,
    readonly ledgerUrl: string,
    readonly apiToken: string,
  ) {
    this.watch = new LogWatch(log);
  }

  static async start(options: TestSystemOptions): Promise<TestSystem> {
    const missing = options.services.map((name) => entryOf(name)).filter((entry) => !existsSync(entry));
    if (missing[0] !== undefined)
      throw new Error(`${missing[0]} does not exist; build the services first: npm run build`);
    const [postgres, nats, ledgerPort] = await Promise.all([startTestPostgres(), startTestNats(), freePort()]);
    try {
      const database = await postgres.createDatabase();
      const log = new EventLog({ pool: database.ledger });
      const url = `http://127.0.0.1:${ledgerPort}`;
      const system = new TestSystem(postgres, database, nats, log, url, randomBytes(16).toString('hex'));
      await system.launch(options, ledgerPort).catch(async (error: unknown) => {
        await system.stop();
        throw error;
      });
      return system;
    } catch (error) {
      await Promise.all([nats.stop(), postgres.stop()]);
      throw error;
    }
  }

  private async launch(options: TestSystemOptions, ledgerPort: number): Promise<void> {
    for (const name of options.services) {
      const service = serviceOf(name);
      const env = {
        PLUMB_NATS_URL: this.nats.url,
        PLUMB_NATS_PASSWORD: this.nats.passwords[service],
        PLUMB_INSTANCE: `test-${name.replace('/', '-')}`,
        PLUMB_LEDGER_URL: this.ledgerUrl,
        PLUMB_LEDGER_TOKEN: this.apiToken,
        ...(service === 'ledger'
          ? { PLUMB_DATABASE_URL: this.database.ledgerUrl, PLUMB_API_TOKEN: this.apiToken }
          : {}),
        ...(name === 'ledger' ? { PLUMB_HTTP_PORT: String(ledgerPort) } : {}),
        ...(options.otlp === undefined ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT: options.otlp }),
        ...(typeof options.env === 'function'
          ? options.env(service, { name, natsUrl: this.nats.url, ledgerUrl: this.ledgerUrl })
          : options.env),
      };
      this.children.set(name, new ServiceChild(name, [process.execPath, entryOf(name)], env, options.child?.(name)));
    }
    for (const child of this.children.values()) child.start();
    await this.ready();
  }

  /** Resolves when every service that runs has said that it is ready. */
  async ready(): Promise<void> {
    await Promise.all([...this.children.values()].filter((child) => child.running).map((child) => child.ready()));
  }

  /** Ends one service; resolves with its exit code, null after a kill. */
  kill(name: ServiceProcessName, signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    return this.child(name).kill(signal);
  }

  /** Kills Postgres as a crash would and starts it again. */
  crashPostgres(): Promise<void> {
    return this.postgres.crash();
  }

  /** Shuts Postgres down in order and starts it again. */
  restartPostgres(): Promise<void> {
    return this.postgres.restart();
  }

  /** A cold copy of the database's folder, taken while the server is down. */
  backUpPostgres(folder: string): Promise<void> {
    return this.postgres.backUp(folder);
  }

  /** The database of a backup on a new server at the same address; the log is watched anew, what was seen before is returned. */
  async restorePostgres(folder: string): Promise<readonly RecordedEvent[]> {
    const { events } = this.watch;
    await this.watch.stop();
    await this.postgres.restore(folder);
    this.watch = new LogWatch(this.log);
    return events;
  }

  /** Starts a service that was ended, or ends it in order first; resolves when it is ready. `extra` is added to its environment for this life. */
  async restart(name: ServiceProcessName, extra: Readonly<Record<string, string>> = {}): Promise<void> {
    const child = this.child(name);
    if (child.running) await child.kill('SIGTERM');
    child.start(extra);
    await child.ready();
  }

  child(name: ServiceProcessName): ServiceChild {
    const child = this.children.get(name);
    if (child === undefined) throw new Error(`${name} is not part of this test`);
    return child;
  }

  logs(name: ServiceProcessName): readonly LogLine[] {
    return this.child(name).lines;
  }

  /** The connection of an identity, made once. */
  client(identity: IdentityName): Promise<Bus> {
    const known = this.buses.get(identity) ?? this.nats.connect(identity);
    this.buses.set(identity, known);
    return known;
  }

  /** The ledger's HTTP API, with its token unless `headers` brings another. */
  async api(path: string, init: RequestInit = {}): Promise<ApiAnswer> {
    const headers = new Headers(init.headers);
    if (!headers.has('authorization')) headers.set('authorization', `Bearer ${this.apiToken}`);
    const response = await fetch(this.ledgerUrl + path, { ...init, headers });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    return { status: response.status, body: isJson ? JSON.parse(text) : text, headers: response.headers };
  }

  /** A request of a user: the answer at once. */
  async ask(kind: IntakeKind, body: unknown, timeoutMs = 15_000): Promise<Reply> {
    return request(await this.client('user'), `plumb.request.task.${kind}`, body, { timeoutMs });
  }

  /**
   * Submits by request and returns the id of the task. Under an idempotencyKey it asks again when no answer came, as a careful client
   * does. Throws on a refusal.
   */
  async submit(submission: { idempotencyKey?: string } & Record<string, unknown>): Promise<string> {
    for (let tries = submission.idempotencyKey === undefined ? 1 : 10; ; tries--) {
      try {
        const reply = await this.ask('submit', submission, 3_000);
        if (reply.ok) return (reply.value as { taskId: string }).taskId;
        if (reply.error.retry === 'never') throw new Error(`refused: ${reply.error.code}: ${reply.error.message}`);
      } catch (error) {
        if (!(error instanceof BusError) || tries <= 1) throw error;
      }
      if (tries <= 1) throw new Error('the submission was never answered');
    }
  }

  /** Publishes a CloudEvent to the intake as any NATS client would; resolves when the stream has stored it. */
  async publish(
    kind: string,
    data: unknown,
    options: { mode?: 'structured' | 'binary'; id?: string; source?: string; type?: string } = {},
  ): Promise<{ id: string; source: string }> {
    const { id = randomUUID(), source = 'test/client', mode = 'structured' } = options;
    const type = options.type ?? (Object.hasOwn(intakeKinds, kind) ? intakeKinds[kind as IntakeKind].type : kind);
    const event = { id, source, type, data, extensions: {} };
    const { headers, body } =
      mode === 'structured'
        ? toStructured(event)
        : { headers: toBinaryHeaders(event), body: new TextEncoder().encode(JSON.stringify(data)) };
    await this.publishRaw(kind, headers, body);
    return { id, source };
  }

  /** Publishes any bytes to the intake. Resolves when the stream has stored them, throws when it refuses them. */
  async publishRaw(kind: string, headers: Readonly<Record<string, string>>, body: Uint8Array): Promise<void> {
    const bus = await this.client('user');
    const sent = natsHeaders();
    for (const [name, value] of Object.entries(headers)) sent.set(name, value);
    const answer = await bus.nc.request(`plumb.intake.task.${kind}`, body, { headers: sent, timeout: 10_000 });
    const stored = answer.json<{ error?: unknown; seq?: number }>();
    if (stored.error !== undefined) throw new Error(`the intake did not store it: ${JSON.stringify(stored.error)}`);
  }

  /** Resolves when every named task is closed; with the outcome of each, in order. */
  async closed(taskIds: readonly string[], timeoutMs = 30_000): Promise<string[]> {
    const found = await Promise.all(taskIds.map((id) => this.watch.event(id, 'task.closed', { timeoutMs })));
    return found.map((event) => (event.data as { outcome: string }).outcome);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.children.values()].map((child) => child.kill('SIGKILL')));
    await this.watch.stop();
    await this.nats.stop();
    try {
      await this.database.drop();
    } finally {
      // Also when a test left it unreachable.
      await this.postgres.stop();
    }
  }
}

/** Starts the system; see {@link TestSystem}. One per test file: it takes seconds. */
export const startTestSystem = (options: TestSystemOptions): Promise<TestSystem> => TestSystem.start(options);

const serviceOf = (name: ServiceProcessName): ServiceName => {
  const service = serviceNames.find((known) => known === name.split('/')[0]);
  if (service === undefined) throw new Error(`there is no service ${name}`);
  return service;
};
const entryOf = (name: ServiceProcessName): string => join(root, 'services', serviceOf(name), 'dist', 'main.js');
