import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { serviceNames, type ServiceName } from '@plumbline/domain';
import { CliError, explain, Interrupted } from '../failure.js';
import { identityOf } from '../system/process-identity.js';
import { makeHome, type Home } from '../system/home.js';
import { lockHome } from '../system/lock.js';
import { mendStale } from './mend-stale.js';
import { isPortFree, portOwner } from '../system/port.js';
import { writeRunFile, type RunFile } from '../system/run-file.js';
import { readSettings, secretsOf, writeSettings, type PortName } from '../system/settings.js';
import {
  assertBrokerAnswers,
  embeddedLogins,
  givenLogins,
  identityNames,
  natsSecret,
  serviceLogins,
  type BrokerLogins,
} from './broker.js';
import { embeddedDatabase, givenDatabase, withoutPassword, type DatabaseUrls } from './databases.js';
import { KeptAlive, type Instance, type KeptEvent, type RestartPolicy } from './kept-alive.js';
import { servicePlan, startOrder, type Connections, type PlanInput } from './service-plan.js';
import { describeExit, startService, type ServicePlan } from './service-process.js';

/** What is to be started. */
export interface SystemPlan extends PlanInput {
  /** Set to use a broker or database that somebody else runs. */
  readonly natsUrl?: string;
  readonly database?: { readonly url: string; readonly adminUrl?: string };
  /** For systems that live as long as one command: no fsync. */
  readonly ephemeral: boolean;
  readonly restarts?: RestartPolicy;
  /** How a service is started; tests put small programs in their place. */
  readonly planOf?: (name: ServiceName, input: PlanInput, connections: Connections) => ServicePlan;
}

/** What happens while a system starts, runs and stops. */
export type SystemEvent =
  | { readonly type: 'starting'; readonly name: string }
  | { readonly type: 'ready'; readonly name: string; readonly where: string; readonly tookMs: number }
  | { readonly type: 'note'; readonly text: string }
  | { readonly type: 'stopping'; readonly name: string };

/**
 * The whole system as one thing: servers and services that start in their order, are kept alive, and stop in the reverse order. A start that
 * fails half-way stops what it started.
 */
export class System {
  readonly #plan: SystemPlan;
  readonly #tell: (event: SystemEvent) => void;
  /** In the order of starting; those of one group start and stop together. */
  readonly #groups: KeptAlive[][] = [];
  readonly #unlock: () => void;
  /** Ports chosen and perhaps not listened on yet. */
  readonly #chosen = new Set<number>();
  #run: RunFile;
  #stopped: Promise<void> | undefined;

  private constructor(plan: SystemPlan, tell: (event: SystemEvent) => void, unlock: () => void) {
    this.#plan = plan;
    this.#tell = tell;
    this.#unlock = unlock;
    const supervisor = identityOf(process.pid);
    if (supervisor === undefined) throw new Error('this process has no identity');
    this.#run = {
      schema: 'plumbline.run/1',
      state: 'starting',
      supervisor,
      startedAt: new Date().toISOString(),
      processes: [],
    };
  }

  /** Starts everything and returns when all of it is ready. Throws CliError, or Interrupted when `signal` is aborted on the way. */
  static async start(plan: SystemPlan, tell: (event: SystemEvent) => void, signal: AbortSignal): Promise<System> {
    makeHome(plan.home);
    const unlock = lockHome(plan.home);
    const system = new System(plan, tell, unlock);
    try {
      await mendStale(plan.home, tell);
      emptyWork(plan.home);
      system.#record();
      await system.#startAll(signal);
      return system;
    } catch (error) {
      await system.stop();
      throw error;
    }
  }

  /** What the run file holds. */
  get run(): RunFile {
    return this.#run;
  }

  /** Stops everything in order and removes the run file. Bounded; what does not end in time is killed. May be called again. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stopAll();
    return this.#stopped;
  }

  /** Kills everything at once, as an impatient person asks for. */
  async kill(): Promise<void> {
    await Promise.all(this.#groups.flat().map((kept) => kept.kill()));
  }

  async #startAll(signal: AbortSignal): Promise<void> {
    const { plan, secrets } = { plan: this.#plan, secrets: this.#secrets() };
    const [database, broker] = await allOrNothing([this.#database(secrets, signal), this.#broker(secrets, signal)]);
    const connections: Connections = {
      natsUrl: broker.url,
      nats: serviceLogins(broker.logins),
      databaseUrl: database.url,
      databaseAdminUrl: database.adminUrl,
      apiPort: await this.#port('api'),
      apiToken: secrets['api'] ?? '',
    };
    const loginOf = ({ user, password }: { user: string; password: string }) => ({ name: user, password });
    this.#record({
      api: { url: `http://127.0.0.1:${connections.apiPort}`, token: connections.apiToken },
      nats: {
        url: broker.url,
        external: plan.natsUrl !== undefined,
        user: loginOf(broker.logins.user),
        operator: loginOf(broker.logins.operator),
      },
      postgres: { url: withoutPassword(database.url), external: plan.database !== undefined },
      ...(plan.models[0] === undefined
        ? {}
        : { model: { url: plan.models[0].endpoint, names: [...new Set(plan.models.map(({ name }) => name))] } }),
    });
    const planOf = plan.planOf ?? servicePlan;
    const { locate } = await import('@plumbline/embedded');
    const bwrap = locate('bwrap', { root: plan.root, env: plan.env });
    const input = { ...plan, ...('found' in bwrap ? { bwrapPath: bwrap.found } : {}) };
    for (const names of startOrder) {
      await this.#startGroup(
        names.map((name) => ({
          name,
          start: (stop: AbortSignal) => startService(planOf(name, input, connections), stop),
        })),
        signal,
      );
    }
    this.#record({ state: 'up' });
  }

  #secrets(): Record<string, string> {
    return secretsOf(this.#plan.home, ['postgres', 'ledger', 'api', ...identityNames.map(natsSecret)]);
  }

  async #database(secrets: Record<string, string>, signal: AbortSignal): Promise<DatabaseUrls> {
    const { database, home, ephemeral } = this.#plan;
    const ledgerPassword = secrets['ledger'] ?? '';
    if (database !== undefined) return givenDatabase(database, ledgerPassword);
    const port = await this.#port('postgres');
    const superuserPassword = secrets['postgres'] ?? '';
    const { startPostgres } = await import('@plumbline/embedded');
    let url = '';
    const start = async (): Promise<Instance & { version: string }> => {
      const server = await startPostgres({ dataDir: home.postgres, superuserPassword, port, fsync: !ephemeral });
      url = server.url;
      return server;
    };
    await this.#startGroup([{ name: 'postgres', start, where: `127.0.0.1:${port}` }], signal);
    return embeddedDatabase(url, ledgerPassword);
  }

  async #broker(secrets: Record<string, string>, signal: AbortSignal): Promise<BrokerLogins> {
    const { natsUrl, env, home } = this.#plan;
    if (natsUrl !== undefined) {
      const given = givenLogins(natsUrl, env, secrets);
      await assertBrokerAnswers(given);
      if (!given.perService) {
        this.#tell({
          type: 'note',
          text: `The broker at ${given.url} gets one login for all services, so it cannot keep them apart.`,
        });
      }
      return given;
    }
    const port = await this.#port('nats');
    const [{ startNats }, { IDENTITIES, natsConfig }] = await Promise.all([
      import('@plumbline/embedded'),
      import('@plumbline/bus'),
    ]);
    const passwords = Object.fromEntries(identityNames.map((name) => [name, secrets[natsSecret(name)] ?? '']));
    const configText = natsConfig({ identities: IDENTITIES, passwords, host: '127.0.0.1', port });
    const start = (): Promise<Instance> => startNats({ storeDir: home.nats, configText, port, env: { ...env } });
    await this.#startGroup([{ name: 'nats', start, where: `127.0.0.1:${port}` }], signal);
    return embeddedLogins(`nats://127.0.0.1:${port}`, secrets);
  }

  /** Starts several things at once. All of them are known before any is awaited, so that a failure of one stops the others too. */
  async #startGroup(
    members: readonly { name: string; start: (signal: AbortSignal) => Promise<Instance>; where?: string }[],
    signal: AbortSignal,
  ): Promise<void> {
    if (signal.aborted) throw new Interrupted();
    const giveUp = new AbortController();
    const group = members.map(
      ({ name, start }) => new KeptAlive(name, start, (event) => this.#observe(event), this.#plan.restarts),
    );
    this.#groups.push(group);
    await allOrNothing(
      group.map(async (kept, at) => {
        const startedAt = performance.now();
        this.#tell({ type: 'starting', name: kept.name });
        await kept.start(AbortSignal.any([signal, giveUp.signal])).catch((error: unknown) => {
          giveUp.abort();
          throw error;
        });
        const where = kept.instance?.http ?? members[at]?.where ?? '';
        this.#tell({ type: 'ready', name: kept.name, where, tookMs: performance.now() - startedAt });
      }),
    );
    if (signal.aborted) throw new Interrupted();
  }

  #observe(event: KeptEvent): void {
    if (event.type === 'ended') {
      this.#tell({
        type: 'note',
        text: `${event.name} ended (${describeExit(event.exit)}); starting it again in ${event.restartInMs} ms`,
      });
    } else if (event.type === 'start-failed') {
      const text = `${event.name} did not start: ${explain(event.error).message} Trying again in ${event.restartInMs} ms`;
      this.#tell({ type: 'note', text });
    } else if (event.restarts > 0) {
      this.#tell({ type: 'note', text: `${event.name} is back (start ${event.restarts + 1})` });
    }
    this.#record();
  }

  /** The port kept for this purpose, or a free one. A port a person asked for is never replaced. */
  async #port(name: PortName): Promise<number> {
    const { home } = this.#plan;
    const kept = readSettings(home).ports[name];
    if (kept !== undefined && (await isPortFree(kept.port))) return kept.port;
    if (kept?.asked === true) throw portTaken(name, kept.port);
    const { freePort } = await import('@plumbline/embedded');
    let port = await freePort();
    while (this.#chosen.has(port)) port = await freePort();
    this.#chosen.add(port);
    if (kept !== undefined)
      this.#tell({ type: 'note', text: `Port ${kept.port} of ${name} is taken${byWhom(kept.port)}; using ${port}` });
    const settings = readSettings(home);
    writeSettings(home, { ...settings, ports: { ...settings.ports, [name]: { port, asked: false } } });
    return port;
  }

  #record(change: Partial<RunFile> = {}): void {
    const processes = this.#groups.flat().map((kept) => ({
      name: kept.name,
      state: kept.state,
      restarts: kept.restarts,
      ...(kept.instance === undefined ? {} : identityOf(kept.instance.pid)),
      ...(kept.instance?.http === undefined ? {} : { http: kept.instance.http }),
    }));
    this.#run = { ...this.#run, ...change, processes };
    if (this.#stopped === undefined || change.state === 'stopping') writeRunFile(this.#plan.home, this.#run);
  }

  async #stopAll(): Promise<void> {
    const { home } = this.#plan;
    // The caller has to have its promise before anything here can look at it.
    await Promise.resolve();
    this.#record({ state: 'stopping' });
    for (const group of [...this.#groups].reverse()) {
      await Promise.all(
        group.map(async (kept) => {
          this.#tell({ type: 'stopping', name: kept.name });
          const clean = await kept.stop().catch(() => false);
          if (!clean) this.#tell({ type: 'note', text: `${kept.name} had to be killed` });
        }),
      );
    }
    rmSync(home.runFile, { force: true });
    emptyWork(home);
    this.#unlock();
  }
}

/** Scratch space holds nothing that a restart needs: what counts is in the log. */
function emptyWork(home: Home): void {
  rmSync(home.work, { recursive: true, force: true, maxRetries: 3, retryDelay: 200 });
  for (const name of serviceNames) mkdirSync(join(home.work, name), { recursive: true, mode: 0o700 });
}

/** Waits for all, even when one fails: what has been started must be known before it can be stopped. Then throws the first failure. */
async function allOrNothing<const T extends readonly unknown[]>(
  work: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const settled = await Promise.allSettled(work);
  const failed = settled.filter((result) => result.status === 'rejected');
  const cause = failed.find((result) => !(result.reason instanceof Interrupted)) ?? failed[0];
  if (cause !== undefined) throw cause.reason;
  return settled.map((result) => (result as PromiseFulfilledResult<unknown>).value) as {
    -readonly [K in keyof T]: Awaited<T[K]>;
  };
}

const portTitles: Readonly<Record<PortName, string>> = { api: 'the HTTP API', nats: 'NATS', postgres: 'Postgres' };

/** The refusal of a port that somebody else has. */
export function portTaken(name: PortName, port: number): CliError {
  return new CliError(
    `Port ${port}, asked for ${portTitles[name]}, is taken${byWhom(port)}.`,
    `Stop what listens there, or give another one with \`plumb up --${name}-port PORT\`.`,
  );
}

function byWhom(port: number): string {
  const owner = portOwner(port);
  return owner === undefined ? '' : ` by ${owner}`;
}
