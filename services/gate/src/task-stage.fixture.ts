import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ArtifactClient, StepStopped, type HeldStep } from '@plumbline/bus';
import {
  eventCatalogue,
  evolve,
  initialTask,
  parseStepId,
  shippedPolicies,
  taskStream,
  type ArtifactRef,
  type EventData,
  type PlumblineEvent,
  type RecordedEvent,
  type StepId,
  type TaskState,
} from '@plumbline/domain';
import { bundleChange, takeSnapshot } from '@plumbline/repo';

export const taskId = 't-00000000000000000000000000';
const gitEnv = {
  ...{
    PATH: '/usr/local/bin:/usr/bin:/bin',
    HOME: '/nonexistent',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
  },
  ...{
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@example.org',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@example.org',
  },
  ...{ GIT_AUTHOR_DATE: '1700000000 +0000', GIT_COMMITTER_DATE: '1700000000 +0000' },
};

/** One task on a real repository with a real artifact store over HTTP; its history is an array that takes what the schemas take. */
export class TaskStage {
  readonly history: RecordedEvent[] = [];
  readonly stored = new Map<string, Buffer>();
  readonly counted = new Map<string, number>();
  artifacts!: ArtifactClient;
  private server: http.Server | undefined;
  private packs = 0;

  private constructor(
    readonly root: string,
    readonly origin: string,
  ) {}

  static async open(
    files: Record<string, string>,
    submission: Partial<EventData<'task.submitted'>> = {},
  ): Promise<TaskStage> {
    const root = realpathSync(mkdtempSync(join(tmpdir(), 'plumbline-task-')));
    const stage = new TaskStage(root, join(root, 'origin'));
    mkdirSync(stage.origin);
    stage.git('init', '-q', '-b', 'main');
    stage.commit(files);
    stage.server = http
      .createServer((request, response) => void stage.answer(request, response))
      .listen(0, '127.0.0.1');
    await once(stage.server, 'listening');
    stage.artifacts = new ArtifactClient(`http://127.0.0.1:${(stage.server.address() as AddressInfo).port}`, 'token');
    const issue = { title: 'Mend the total', body: 'The total in `src/price.ts` is wrong.' };
    stage.push({
      type: 'task.submitted',
      data: {
        ...{
          taskId,
          source: 'test',
          submissionId: '1',
          contentDigest: '0',
          priority: 'normal',
          publish: 'branch',
          issue,
        },
        repository: { url: stage.origin, base: 'main' },
        policy: { ...shippedPolicies.strict, panel: { seats: [], approvalsMin: 0, familiesMin: 0 } },
        ...submission,
      },
    });
    stage.push({ type: 'task.snapshot-requested', data: { step: 'snapshot.0.1', dispatch: 1 } });
    return stage;
  }

  git(...args: string[]): string {
    return execFileSync('git', args, { cwd: this.origin, env: gitEnv }).toString().trim();
  }

  commit(files: Record<string, string>): string {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(this.origin, path)), { recursive: true });
      writeFileSync(join(this.origin, path), text);
    }
    this.git('add', '-A');
    this.git('commit', '-q', '--allow-empty', '-m', 'c');
    return this.git('rev-parse', 'HEAD');
  }

  get workDir(): string {
    return join(this.root, 'work');
  }

  get state(): TaskState {
    return this.history.reduce<TaskState>(evolve, initialTask);
  }

  /** Adds an event as the ledger would: only if its schema takes it. */
  push(event: PlumblineEvent): void {
    const data = eventCatalogue[event.type].data.parse(JSON.parse(JSON.stringify(event.data)));
    const version = this.history.length + 1;
    const at = '2026-03-04T05:06:07.000Z';
    this.history.push({
      ...event,
      data,
      eventId: String(version),
      streamId: taskStream(taskId),
      version,
      at,
    } as RecordedEvent);
  }

  readonly ledger = {
    readTask: () => Promise.resolve({ state: this.state, events: [...this.history] }),
  };

  async snapshot(): Promise<void> {
    const taken = await takeSnapshot({ url: this.origin, revision: 'main', workDir: join(this.root, 'snapshot') });
    const { base, tree, objectFormat } = taken;
    const pack = await this.artifacts.putFile(taken.packPath, 'application/octet-stream');
    this.push({ type: 'snapshot.taken', data: { step: 'snapshot.0.1', base, tree, objectFormat, pack } });
  }

  /** Records an attempt that proposes `head`, and the request to gate it. */
  async propose(head: string, lie: Partial<EventData<'change.proposed'>> = {}, attempt = 1): Promise<void> {
    const model = { name: 'm', family: 'f', tier: 1, node: 'box', endpoint: 'http://127.0.0.1:1', grantId: 'g' };
    const step: StepId = `coding.${attempt}.1`;
    this.push({ type: 'task.coding-requested', data: { step, attempt, dispatch: 1, model, feedback: [] } });
    const base = this.git('rev-parse', 'main');
    const bundle = await this.bundle(base, head);
    const tree = this.git('rev-parse', `${head}^{tree}`);
    const data = { ...{ step, attempt, base, head, tree, bundle, summary: 'done', files: ['src/price.ts'] }, ...lie };
    this.push({ type: 'change.proposed', data });
    this.push({ type: 'task.gating-requested', data: { step: `gating.${attempt}.1`, attempt, dispatch: 1 } });
  }

  async bundle(base: string, head: string): Promise<ArtifactRef> {
    const bundlePath = join(this.root, `bundle-${(this.packs += 1)}`);
    await bundleChange({ gitDir: join(this.origin, '.git'), base, head, bundlePath });
    return this.artifacts.put(readFileSync(bundlePath), 'application/octet-stream');
  }

  /** Commits on a branch of its own and goes back to main. */
  change(files: Record<string, string>): string {
    this.git('checkout', '-q', '--detach', 'main');
    const head = this.commit(files);
    this.git('checkout', '-q', '-f', 'main');
    return head;
  }

  held(id: StepId, controller = new AbortController()): HeldStep {
    return {
      ...{ taskId, id, name: parseStepId(id), epoch: 1, task: this.state, history: [...this.history] },
      signal: controller.signal,
      record: (_key, events) => {
        if (controller.signal.aborted) return Promise.reject(new StepStopped('lost'));
        for (const event of events) this.push(event);
        return Promise.resolve();
      },
      live: () => undefined,
    };
  }

  /** Handles of any metric, adding up what they are given by name and labels. */
  metrics<M>(): M {
    const add =
      (name: string) =>
      (by: number, labels: Record<string, string> = {}) => {
        const key = [name, ...Object.values(labels)].join(' ');
        this.counted.set(key, (this.counted.get(key) ?? 0) + by);
      };
    return new Proxy({}, { get: (_target, name) => ({ inc: add(String(name)), observe: add(String(name)) }) }) as M;
  }

  of<T extends PlumblineEvent['type']>(type: T): EventData<T>[] {
    return this.history.filter((event) => event.type === type).map((event) => event.data as EventData<T>);
  }

  close(): void {
    this.server?.closeAllConnections();
    this.server?.close();
    rmSync(this.root, { recursive: true, force: true });
  }

  private async answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const digest = (request.url ?? '').split('/').at(-1) ?? '';
    if (request.method === 'PUT') {
      const chunks: Buffer[] = [];
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
      const bytes = Buffer.concat(chunks);
      if (createHash('sha256').update(bytes).digest('hex') !== digest) return void response.writeHead(400).end();
      this.stored.set(digest, bytes);
      return void response.writeHead(201).end();
    }
    const found = this.stored.get(digest);
    if (found === undefined) return void response.writeHead(404).end('no such artifact');
    response.writeHead(200).end(found);
  }
}
