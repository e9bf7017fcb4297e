import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { serviceNames, type OfferedModel, type ServiceName } from '@plumbline/domain';
import type { RecordedEvent } from '@plumbline/event-log';
import { loadScenarios, type Scenario } from '../scripted-model/scenario.js';
import { startScriptedModel, type ScriptedModel } from '../scripted-model/server.js';
import type { LogLine } from '../system/service-child.js';
import { startTestSystem, type TestSystem } from '../system/test-system.js';
import { sampleFolder, SampleOrigin } from './sample-origin.js';

/** The two issues of the sample: one is mended, the other's change is clean and in the wrong place. */
export type SampleTask = 'fix' | 'trap';

const issueFiles = { fix: 'lost-cent.md', trap: 'long-names.md' } as const;

export interface WholeSystemOptions {
  /** Where spans go. */
  otlp?: string;
}

/** See `WholeSystem.holdArtifacts`. */
export interface ArtifactHold {
  /** Resolves once somebody waits. */
  reached(): Promise<void>;
  release(): Promise<void>;
}

const holdingTrigger = `
  CREATE OR REPLACE FUNCTION public.hold_artifact() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_advisory_xact_lock_shared(hashtext(NEW.media_type)); RETURN NEW; END $$;
  CREATE OR REPLACE TRIGGER hold_artifact BEFORE INSERT ON es.artifact FOR EACH ROW EXECUTE FUNCTION public.hold_artifact();`;

/** All services as processes, both servers, a scripted model and an origin to work on: what `plumb up` starts, one per test file. */
export class WholeSystem {
  private constructor(
    readonly system: TestSystem,
    private scripted: ScriptedModel,
    private readonly scenarios: readonly Scenario[],
    readonly origin: SampleOrigin,
    readonly folder: string,
  ) {}

  static async start(options: WholeSystemOptions = {}): Promise<WholeSystem> {
    const folder = mkdtempSync(join(tmpdir(), 'plumb-e2e-'));
    const origin = await SampleOrigin.make(join(folder, 'host'));
    const scenarios = loadScenarios(join(sampleFolder, 'scenarios'));
    const model = await startScriptedModel({ scenarios });
    try {
      const system = await startTestSystem({
        services: serviceNames,
        env: (service) => ({
          HOME: folder,
          PLUMB_WORK_DIR: join(folder, 'work', service),
          ...ownSettings(service, folder, model.url),
        }),
        ...(options.otlp === undefined ? {} : { otlp: options.otlp }),
      });
      await system.database.admin.query(holdingTrigger);
      return new WholeSystem(system, model, scenarios, origin, folder);
    } catch (error) {
      await model.stop();
      throw error;
    }
  }

  /** What a person hands in for one of the sample's issues. */
  submission(task: SampleTask, overrides: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      repository: { url: this.origin.path, base: 'main' },
      issue: sampleIssue(task),
      policy: 'strict',
      publish: 'branch',
      ...overrides,
    };
  }

  /** Submits one of the sample's issues by request; returns the task's id. */
  submit(task: SampleTask, overrides: Record<string, unknown> = {}): Promise<string> {
    return this.system.submit(this.submission(task, overrides));
  }

  /** An event of a task, now or as soon as it is recorded; a failure quotes what the services said last. */
  async event(
    taskId: string,
    type: string,
    options: { step?: string; timeoutMs?: number } = {},
  ): Promise<RecordedEvent> {
    return this.explained(this.system.watch.event(taskId, type, { timeoutMs: 60_000, ...options }));
  }

  /** The first event that fits, as `event`. */
  async until<T>(what: string, ask: (events: readonly RecordedEvent[]) => T | undefined | false): Promise<T> {
    return this.explained(this.system.watch.until(what, ask, 60_000));
  }

  /** The scripted model server. */
  get model(): ScriptedModel {
    return this.scripted;
  }

  /** Starts the model server again at its address, after it was stopped. */
  async restartModel(): Promise<void> {
    const port = Number(new URL(this.scripted.url).port);
    this.scripted = await startScriptedModel({ scenarios: this.scenarios, port });
  }

  /** Stops a process where it is, as a machine that sleeps would; `thaw` lets it go on. */
  freeze(service: ServiceName): void {
    this.signal(service, 'SIGSTOP');
  }

  thaw(service: ServiceName): void {
    this.signal(service, 'SIGCONT');
  }

  private signal(service: ServiceName, signal: NodeJS.Signals): void {
    const { pid } = this.system.child(service);
    if (pid === undefined) throw new Error(`${service} does not run`);
    process.kill(pid, signal);
  }

  /** Types of the events of a task, in order. */
  types(taskId: string): string[] {
    return this.system.watch.of(taskId).map((event) => event.type);
  }

  /** Where each service serves HTTP, by its name: after a restart, where it serves now. */
  get addresses(): ReadonlyMap<ServiceName, string> {
    const found = new Map<ServiceName, string>();
    for (const name of serviceNames) {
      const ready = this.system.logs(name).findLast((line) => line.msg === 'ready');
      if (typeof ready?.['http'] === 'string') found.set(name, ready['http']);
    }
    return found;
  }

  logs(service: ServiceName): readonly LogLine[] {
    return this.system.logs(service);
  }

  /** Lets the lease of a held step run out now instead of in a minute: the clock that counts is the row's. */
  async ageLease(taskId: string, step: string): Promise<void> {
    const { rowCount } = await this.system.database.admin.query(
      `UPDATE es.step_lease SET expires_at = clock_timestamp() - interval '1 second'
        WHERE task_id = $1 AND step = $2 AND state = 'held'`,
      [taskId, step],
    );
    if (rowCount !== 1) throw new Error(`${step} of ${taskId} is not held, so its lease cannot run out`);
  }

  /**
   * From now on whoever stores an artifact of that media type waits in the database, which puts it in the middle of its step for as long
   * as a test wants.
   */
  async holdArtifacts(mediaType: string): Promise<ArtifactHold> {
    // A connection of its own: a hold lasts, and a pool's are few.
    const client = new Client({ connectionString: this.system.database.adminUrl });
    // Postgres may be crashed on purpose, which ends every hold.
    client.on('error', () => undefined);
    await client.connect();
    await client.query('SELECT pg_advisory_lock(hashtext($1))', [mediaType]);
    return {
      reached: () => this.explained(this.someoneWaits(mediaType)),
      release: async () => {
        await client.end();
      },
    };
  }

  /** Lets nobody number events, or nobody write to a table, until it is released; readers go on. */
  async holdTable(table: 'es.log_head' | 'rm_tasks.task'): Promise<() => Promise<void>> {
    const client = new Client({ connectionString: this.system.database.adminUrl });
    client.on('error', () => undefined);
    await client.connect();
    await client.query(`BEGIN; LOCK TABLE ${table} IN EXCLUSIVE MODE`);
    return () => client.end();
  }

  private async someoneWaits(mediaType: string, timeoutMs = 60_000): Promise<void> {
    const until = performance.now() + timeoutMs;
    while (performance.now() < until) {
      const { rowCount } = await this.system.database.admin.query(
        `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid::bigint = hashtext($1)::bigint & 4294967295`,
        [mediaType],
      );
      if (rowCount === 1) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`nobody stored an artifact of ${mediaType} within ${timeoutMs} ms`);
  }

  async stop(): Promise<void> {
    this.origin.letPushesGo();
    await this.system.stop();
    await this.scripted.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async explained<T>(waiting: Promise<T>): Promise<T> {
    try {
      return await waiting;
    } catch (error) {
      const words = serviceNames.map((name) => `── ${name} ──\n${this.system.child(name).lastWords()}`);
      throw new Error(`${(error as Error).message}\n${words.join('\n')}`, { cause: error });
    }
  }
}

/** Title and body of one of the sample's issues. */
export function sampleIssue(task: SampleTask): { title: string; body: string } {
  const text = readFileSync(join(sampleFolder, 'issues', issueFiles[task]), 'utf8');
  const [heading = '', ...rest] = text.split('\n');
  return { title: heading.replace(/^#\s*/, ''), body: rest.join('\n').trim() };
}

function ownSettings(service: ServiceName, folder: string, modelUrl: string): Record<string, string> {
  const local = { PLUMB_REPOSITORY_LOCAL: 'allow' };
  if (service === 'code-host') return local;
  if (service === 'scheduler')
    return { ...local, PLUMB_RECONCILE_INTERVAL_MS: '500', PLUMB_STEP_IDLE_AFTER_MS: '1000' };
  if (service !== 'node-agent') return {};
  return {
    PLUMB_NODE_ID: 'local',
    PLUMB_NODE_PROBE_INTERVAL_MS: '300',
    PLUMB_STATE_DIR: join(folder, 'state'),
    PLUMB_MODELS: JSON.stringify([offered(modelUrl, 'coder', 'coder'), offered(modelUrl, 'reviewer', 'concluder')]),
  };
}

/** A model of the scripted server with memory of its own, so that a grant of it can be seen. */
const offered = (url: string, name: string, seat: string): OfferedModel => ({
  name: `scripted/${name}`,
  family: 'scripted',
  tier: 1,
  runtime: 'external',
  endpoint: url,
  pool: 'host',
  bytes: 1_000_000,
  slots: 4,
  seats: [seat],
});
