import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { seededRandom, type OfferedModel, type ServiceName } from '@plumbline/domain';
import { freePort } from '@plumbline/embedded';
import {
  parseScenarios,
  SampleOrigin,
  startScriptedModel,
  TcpProxy,
  TestSystem,
  type FailpointHit,
  type ProcessPlace,
  type ScriptedModel,
  type ServiceExit,
  type ServiceProcessName,
} from '@plumbline/testing';
import { processes } from './places.js';
import { repositoryFiles, scenarios } from './tasks.js';

const run = promisify(execFile);

/** The two wires of a process: to NATS and to the ledger's HTTP. */
export interface Wires {
  nats: TcpProxy;
  ledger: TcpProxy;
}

/** Where the processes of a house tell what becomes of them. */
export interface HouseEars {
  onHit(name: ServiceProcessName, hit: FailpointHit): void;
  onExit(name: ServiceProcessName, exit: ServiceExit): void;
}

const diskSizes = ['64k', '1m'];

/**
 * Everything of Plumbline on this machine, two of each service as processes, with wires that can be cut between them and NATS and the
 * ledger; a scripted model server that says it is one, and an origin that writes down every push.
 */
export class House {
  private constructor(
    readonly system: TestSystem,
    readonly model: ScriptedModel,
    readonly origin: SampleOrigin,
    readonly folder: string,
    private readonly wires: ReadonlyMap<ServiceProcessName, Wires>,
    /** Folders on which nearly nothing can be written; empty when they cannot be made. */
    readonly disks: readonly string[],
    readonly whyNoDisks: string | undefined,
  ) {}

  static async start(options: { seed: string; folder?: string; ears: HouseEars }): Promise<House> {
    const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'plumb-faults-'));
    for (const name of ['logs', 'state', 'work']) mkdirSync(join(folder, name), { recursive: true });
    const origin = await SampleOrigin.make(join(folder, 'host'), repositoryFiles(ballast(options.seed)));
    const model = await startScriptedModel({
      scenarios: parseScenarios(scenarios.map((value) => ({ source: value.name, value }))),
    });
    const targets = { nats: 0, ledger: 0, 'ledger/2': await freePort() };
    const wires = new Map<ServiceProcessName, Wires>();
    const wire = (to: keyof typeof targets) => TcpProxy.start(() => ({ host: '127.0.0.1', port: targets[to] }));
    // The second of each service brings its artifacts to the second ledger, or that one would never store any.
    for (const name of processes)
      wires.set(name, { nats: await wire('nats'), ledger: await wire(name.endsWith('/2') ? 'ledger/2' : 'ledger') });
    const { disks, why } = await makeDisks(folder);
    const undo = async (): Promise<void> => {
      await model.stop();
      for (const { nats, ledger } of wires.values()) await Promise.all([nats.stop(), ledger.stop()]);
      await removeDisks(disks);
    };
    try {
      const system = await TestSystem.start({
        services: processes,
        env: (service, place) => {
          targets.nats = Number(new URL(place.natsUrl).port);
          targets.ledger = Number(new URL(place.ledgerUrl).port);
          const own = place.name === 'ledger/2' ? { PLUMB_HTTP_PORT: String(targets['ledger/2']) } : {};
          return { ...environment(service, place, { folder, wires, modelUrl: model.url }), ...own };
        },
        child: (name) => ({
          logFile: join(folder, 'logs', `${name.replace('/', '-')}.log`),
          onHit: (hit) => options.ears.onHit(name, hit),
          onExit: (exit) => options.ears.onExit(name, exit),
        }),
      });
      return new House(system, model, origin, folder, wires, disks, why);
    } catch (error) {
      await undo();
      throw error;
    }
  }

  wiresOf(name: ServiceProcessName): Wires {
    const found = this.wires.get(name);
    if (found === undefined) throw new Error(`${name} has no wires`);
    return found;
  }

  /** Lets every lease run out now that this process held at `diedAt` (Postgres's clock) or before; returns how many. */
  async ageLeases(name: ServiceProcessName, diedAt?: Date): Promise<number> {
    const { rowCount } = await this.system.database.admin.query(
      `UPDATE es.step_lease SET expires_at = clock_timestamp() - interval '1 second'
        WHERE holder = $1 AND state = 'held' AND ($2::timestamptz IS NULL OR changed_at <= $2)`,
      [holderOf(name), diedAt ?? null],
    );
    return rowCount ?? 0;
  }

  async stop(keep: boolean): Promise<void> {
    this.origin.letPushesGo();
    for (const { nats, ledger } of this.wires.values()) {
      nats.heal();
      ledger.heal();
    }
    // A run may have left a server down: what can be put away is.
    await this.system.stop().catch(() => undefined);
    await this.model.stop();
    for (const { nats, ledger } of this.wires.values()) await Promise.all([nats.stop(), ledger.stop()]);
    await removeDisks(this.disks);
    if (!keep) rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Under which name a process holds its leases. */
export const holderOf = (name: string): string => `${name.split('/')[0]}/test-${name.replace('/', '-')}`;

/** Text that does not compress, larger than one chunk of an artifact. */
function ballast(seed: string): string {
  const random = seededRandom(`ballast ${seed}`);
  return Array.from({ length: 400_000 }, () => String.fromCharCode(33 + Math.floor(random() * 94))).join('');
}

function environment(
  service: ServiceName,
  { name, ledgerUrl }: ProcessPlace,
  at: {
    folder: string;
    wires: ReadonlyMap<ServiceProcessName, Wires>;
    modelUrl: string;
  },
): Record<string, string> {
  const { nats, ledger } = at.wires.get(name) ?? {};
  const local = { PLUMB_REPOSITORY_LOCAL: 'allow' };
  return {
    HOME: at.folder,
    PLUMB_NATS_URL: `nats://127.0.0.1:${nats?.port ?? 0}`,
    PLUMB_LEDGER_URL: ledger === undefined ? ledgerUrl : `http://127.0.0.1:${ledger.port}`,
    PLUMB_WORK_DIR: join(at.folder, 'work', name.replace('/', '-')),
    // Those who think for long are several, so that they do not hold up the rest.
    PLUMB_CONCURRENCY: service === 'coder' ? '4' : '2',
    ...(service === 'code-host' ? local : {}),
    ...(service === 'scheduler'
      ? { ...local, PLUMB_CONCURRENCY: '8', PLUMB_RECONCILE_INTERVAL_MS: '1000', PLUMB_STEP_IDLE_AFTER_MS: '2000' }
      : {}),
    ...(service === 'node-agent'
      ? {
          PLUMB_NODE_ID: name.replace('/', '-'),
          PLUMB_NODE_PROBE_INTERVAL_MS: '1000',
          PLUMB_STATE_DIR: join(at.folder, 'state', name.replace('/', '-')),
          PLUMB_MODELS: JSON.stringify([
            offered(at.modelUrl, 'coder', 'coder'),
            offered(at.modelUrl, 'reviewer', 'concluder'),
          ]),
        }
      : {}),
  };
}

const offered = (url: string, name: string, seat: string): OfferedModel => ({
  name: `scripted/${name}`,
  family: 'scripted',
  tier: 1,
  runtime: 'external',
  endpoint: url,
  pool: 'host',
  bytes: 1_000_000,
  slots: 16,
  seats: [seat],
});

/** File systems in memory that are too small for any step, to be given to a worker as its work folder; needs the right to mount. */
async function makeDisks(folder: string): Promise<{ disks: string[]; why?: string }> {
  const disks: string[] = [];
  for (const size of diskSizes) {
    const path = join(folder, 'disks', size);
    mkdirSync(path, { recursive: true });
    try {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0777`, 'tmpfs', path]);
    } catch (error) {
      await removeDisks(disks);
      const words = (error as { stderr?: string }).stderr?.trim() ?? String(error);
      return { disks: [], why: `no file system of its own can be mounted for a work folder: ${words}` };
    }
    disks.push(path);
  }
  return { disks };
}

async function removeDisks(disks: readonly string[]): Promise<void> {
  for (const path of disks) await run('umount', ['--lazy', path]).catch(() => undefined);
}
