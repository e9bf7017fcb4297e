import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ArtifactClient, StepStopped, type HeldStep } from '@plumbline/bus';
import {
  StepFault,
  eventCatalogue,
  evolve,
  initialTask,
  parseStepId,
  shippedPolicies,
  taskStream,
  type ArtifactRef,
  type EventData,
  type Policy,
  type PlumblineEvent,
  type RecordedEvent,
  type StepId,
  type TaskState,
} from '@plumbline/domain';
import { takeSnapshot } from '@plumbline/repo';

const taskId = 't-00000000000000000000000000';
const instant = '2026-03-04T05:06:07.000Z';
const gitEnv = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  HOME: '/nonexistent',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_AUTHOR_NAME: 'a',
  GIT_AUTHOR_EMAIL: 'a@example.org',
  GIT_COMMITTER_NAME: 'a',
  GIT_COMMITTER_EMAIL: 'a@example.org',
  GIT_AUTHOR_DATE: '1700000000 +0000',
  GIT_COMMITTER_DATE: '1700000000 +0000',
};

/** A task of one small repository, with a real artifact store over HTTP and a ledger that is an array in this process. */
export class StepStage {
  readonly history: RecordedEvent[] = [];
  readonly stored = new Map<string, Buffer>();
  readonly live: Record<string, unknown>[] = [];
  readonly metrics = new Map<string, number>();
  artifacts!: ArtifactClient;
  /** Answers every request to the store with this status while set. */
  storeDown: number | undefined;
  private server: http.Server | undefined;

  private constructor(
    readonly root: string,
    readonly origin: string,
  ) {}

  /** Opens a stage whose origin holds `files` (symbolic links where the name ends in `.link`), with the task submitted and its snapshot taken. */
  static async open(
    files: Record<string, string>,
    issue: { title: string; body: string },
    policy: Partial<Policy> = {},
  ) {
    const root = realpathSync(mkdtempSync(join(tmpdir(), 'plumbline-stage-')));
    const stage = new StepStage(root, join(root, 'origin'));
    mkdirSync(stage.origin);
    stage.git('init', '-q', '-b', 'main');
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(stage.origin, path)), { recursive: true });
      if (path.endsWith('.link')) symlinkSync(text, join(stage.origin, path));
      else writeFileSync(join(stage.origin, path), text);
    }
    stage.git('add', '-A');
    stage.git('commit', '-q', '-m', 'base');
    await stage.serve();
    await stage.submit(issue, policy);
    return stage;
  }

  git(...args: string[]): string {
    return execFileSync('git', args, { cwd: this.origin, env: gitEnv }).toString().trim();
  }

  get workDir(): string {
    return join(this.root, 'work');
  }

  get state(): TaskState {
    return this.history.reduce<TaskState>(evolve, initialTask);
  }

  get snapshot(): EventData<'snapshot.taken'> {
    const { snapshot } = this.state;
    if (snapshot === undefined) throw new Error('no snapshot');
    return snapshot;
  }

  /** Adds an event as the ledger would: only if its schema takes it. */
  push(event: PlumblineEvent): void {
    const data = eventCatalogue[event.type].data.parse(JSON.parse(JSON.stringify(event.data)));
    const version = this.history.length + 1;
    this.history.push({
      ...event,
      data,
      eventId: String(version),
      streamId: taskStream(taskId),
      version,
      at: instant,
    } as RecordedEvent);
  }

  model(endpoint: string, name: string, family = 'qwen3') {
    return { name, family, tier: 1, node: 'box', endpoint, grantId: 'g-1' };
  }

  requestCoding(endpoint: string, name: string, id: StepId = 'coding.1.1', feedback: string[] = []): void {
    const { attempt } = parseStepId(id);
    const model = this.model(endpoint, name);
    this.push({ type: 'task.coding-requested', data: { step: id, attempt, dispatch: 1, model, feedback } });
  }

  held(id: StepId, epoch = 1, controller = new AbortController()): HeldStep {
    return {
      ...{ taskId, id, name: parseStepId(id), epoch, task: this.state, history: [...this.history] },
      signal: controller.signal,
      record: (_key, events) => {
        if (controller.signal.aborted) return Promise.reject(new StepStopped('lost'));
        for (const event of events) this.push(event);
        return Promise.resolve();
      },
      live: (message) => void this.live.push(message),
    };
  }

  async put(bytes: Buffer): Promise<ArtifactRef> {
    return this.artifacts.put(bytes, 'application/octet-stream');
  }

  json(ref: ArtifactRef): unknown {
    return JSON.parse((this.stored.get(ref.digest) ?? Buffer.from('null')).toString());
  }

  of<T extends PlumblineEvent['type']>(type: T): Extract<RecordedEvent, { type: T }>[] {
    return this.history.filter((event): event is Extract<RecordedEvent, { type: T }> => event.type === type);
  }

  async close(): Promise<void> {
    this.server?.closeAllConnections();
    this.server?.close();
    rmSync(this.root, { recursive: true, force: true });
  }

  private async submit(issue: { title: string; body: string }, policy: Partial<Policy>): Promise<void> {
    this.push({
      type: 'task.submitted',
      data: {
        ...{
          taskId,
          source: '/test',
          submissionId: '1',
          contentDigest: '0',
          priority: 'normal',
          publish: 'none',
          issue,
        },
        repository: { url: this.origin, base: 'main' },
        policy: { ...shippedPolicies.strict, ...policy },
      },
    });
    const taken = await takeSnapshot({ url: this.origin, revision: 'main', workDir: join(this.root, 'snap') });
    const { base, tree, objectFormat } = taken;
    this.push({ type: 'task.snapshot-requested', data: { step: 'snapshot.0.1', dispatch: 1 } });
    const pack = await this.put(readFileSync(taken.packPath));
    this.push({ type: 'snapshot.taken', data: { step: 'snapshot.0.1', base, tree, objectFormat, pack } });
  }

  private async serve(): Promise<void> {
    this.server = http.createServer((request, response) => void this.answer(request, response));
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    const { port } = this.server.address() as AddressInfo;
    this.artifacts = new ArtifactClient(`http://127.0.0.1:${port}`, 'store-token');
  }

  private async answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const digest = request.url?.split('/').at(-1) ?? '';
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const found = this.stored.get(digest);
    const fits = createHash('sha256').update(bytes).digest('hex') === digest;
    if (this.storeDown !== undefined) response.writeHead(this.storeDown).end('down');
    else if (request.headers.authorization !== 'Bearer store-token') response.writeHead(401).end();
    else if (request.method === 'PUT' && fits) {
      this.stored.set(digest, bytes);
      response.writeHead(201).end();
    } else if (request.method === 'PUT') response.writeHead(400).end('digest');
    else if (found === undefined) response.writeHead(404).end();
    else response.writeHead(200).end(found);
  }
}

/** The code a handler ended with, for tests that expect a fault. */
export async function faultOf(work: Promise<unknown>): Promise<{ code: string; detail: string }> {
  try {
    await work;
  } catch (error) {
    if (error instanceof StepFault) return { code: error.code, detail: error.message };
    throw error;
  }
  throw new Error('expected a StepFault');
}
