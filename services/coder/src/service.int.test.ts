import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { LedgerClient, type TaskHistory } from '@plumbline/bus';
import { taskStream, type PlumblineEvent, type StepId } from '@plumbline/domain';
import { startScriptedModel, type ScenarioInput, type ScriptedModel } from '@plumbline/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, TestBroker } from '../../../libs/bus/src/nats.fixture.js';
import {
  startPostgres,
  type PostgresFixture,
  type TestDatabase,
} from '../../../libs/event-log/src/postgres.fixture.js';
import { ServiceUnderTest } from '../../../libs/host/src/service-under-test.fixture.js';
import { StepStage } from './step.fixture.js';

const apiToken = 'token-of-the-ledger';
const issue = { title: 'one is not two', body: 'The file `n.txt` must hold the number two.' };
const turn = (name: string, args: Record<string, unknown>, delayMs = 0): ScenarioInput['turns'][number] => ({
  reply: { toolCalls: [{ name, arguments: args as never }] },
  delayMs,
});
const turns = [
  turn('read_file', { path: 'n.txt' }),
  turn('str_replace', { path: 'n.txt', old: 'one', new: 'two' }),
  turn('run', { command: 'grep two n.txt' }, 1_500),
  turn('submit', { summary: 'Say two' }),
];

let broker: TestBroker;
let postgres: PostgresFixture;
let database: TestDatabase;
let stage: StepStage;
let model: ScriptedModel;
let ledgerUrl: string;
let scheduler: LedgerClient;
const started: ServiceUnderTest[] = [];

function launch(service: 'ledger' | 'coder', env: Record<string, string>): ServiceUnderTest {
  const main = new URL(`../../${service}/src/main.ts`, import.meta.url).href;
  const running = new ServiceUnderTest(main, {
    PLUMB_NATS_URL: `nats://${broker.url}`,
    PLUMB_NATS_PASSWORD: broker.passwords[service],
    ...env,
  });
  started.push(running);
  return running;
}

const launchCoder = (instance: string): ServiceUnderTest =>
  launch('coder', {
    PLUMB_LEDGER_URL: ledgerUrl,
    PLUMB_LEDGER_TOKEN: apiToken,
    PLUMB_WORK_DIR: stage.workDir,
    PLUMB_INSTANCE: instance,
  });

const append = (events: PlumblineEvent[], open: StepId[] = []): Promise<unknown> =>
  scheduler.append({
    commandId: randomUUID(),
    streams: [{ streamId: taskStream(stage.held('coding.1.1').taskId), events }],
    steps: { open: open.map((step) => ({ taskId: stage.held('coding.1.1').taskId, step })) },
  });

const history = (): Promise<TaskHistory> => scheduler.readTask(stage.held('coding.1.1').taskId);
const turnsRecorded = async (): Promise<number> =>
  (await history()).events.filter(({ type }) => type === 'turn.recorded').length;

beforeAll(async () => {
  [broker, postgres] = await Promise.all([TestBroker.start(), startPostgres()]);
  database = await postgres.createDatabase();
  ledgerUrl = await launch('ledger', { PLUMB_DATABASE_URL: database.ledgerUrl, PLUMB_API_TOKEN: apiToken }).ready();
  scheduler = new LedgerClient(await broker.connect('scheduler'), 'scheduler');
  stage = await StepStage.open({ 'n.txt': 'one\n' }, issue);
  model = await startScriptedModel({ scenarios: [{ name: 'coder', describes: 'a coder', turns }] });
}, 120_000);
afterAll(async () => {
  await Promise.all(started.map((service) => service.kill()));
  await model.stop();
  await stage.close();
  await database.drop();
  await Promise.all([postgres.stop(), broker.close()]);
});

/** The task up to its snapshot, recorded by the services that own those facts. */
async function submitTask(): Promise<void> {
  const { taskId } = stage.held('coding.1.1');
  const [submitted, requested, taken] = stage.history;
  if (submitted === undefined || requested === undefined || taken?.type !== 'snapshot.taken')
    throw new Error('no task');
  const plain = ({ type, data }: PlumblineEvent): PlumblineEvent => ({ type, data }) as PlumblineEvent;
  await append([plain(submitted), plain(requested)], ['snapshot.0.1']);
  const pack = stage.stored.get(taken.data.pack.digest) ?? Buffer.alloc(0);
  const stored = await fetch(`${ledgerUrl}/v1/artifacts/${taken.data.pack.digest}`, {
    method: 'PUT',
    headers: {
      authorization: `Bearer ${apiToken}`,
      'content-type': 'application/octet-stream',
      'x-plumbline-media-type': 'application/x-git-packed-objects',
    },
    body: new Uint8Array(pack),
  });
  expect(stored.ok).toBe(true);
  const codeHost = new LedgerClient(await broker.connect('code-host'), 'code-host');
  const claim = await codeHost.claim({ taskId, step: 'snapshot.0.1', holder: 'code-host/test' });
  if (claim.outcome !== 'granted') throw new Error(claim.outcome);
  await codeHost.append({
    commandId: randomUUID(),
    streams: [{ streamId: taskStream(taskId), events: [plain(taken)] }],
    fence: { taskId, step: 'snapshot.0.1', epoch: claim.epoch, release: true },
  });
}

describe('the coder as a service', () => {
  it('is stopped in the middle of an attempt, and another one finishes it from the log', async () => {
    await submitTask();
    const first = launchCoder('first');
    await first.ready();
    const seated = stage.model(model.url, 'scripted/coder');
    const request = (dispatch: number): PlumblineEvent => ({
      type: 'task.coding-requested',
      data: { step: 'coding.1.1', attempt: 1, dispatch, model: seated, feedback: [] },
    });
    await append([request(1)], ['coding.1.1']);
    await eventually('two turns', async () => (await turnsRecorded()) >= 2, 30_000);
    first.signal('SIGTERM');
    expect(await first.exit).toBe(0);
    expect(existsSync(stage.workDir) ? readdirSync(stage.workDir) : []).toEqual([]);

    const second = launchCoder('second');
    const url = await second.ready();
    await append([request(2)]);
    await eventually('a change', async () => (await history()).state.attempts[0]?.change !== undefined, 30_000);
    const { state, events } = await history();
    const change = state.attempts[0]?.change;
    expect(change).toMatchObject({ files: ['n.txt'], summary: 'Say two' });
    expect(events.flatMap((event) => (event.type === 'turn.recorded' ? [event.data.turn] : []))).toEqual([1, 2, 3, 4]);
    expect(events.filter(({ type }) => type === 'lease.granted').length).toBeGreaterThanOrEqual(3);
    const bundle = await fetch(`${ledgerUrl}/v1/artifacts/${change?.bundle.digest}`, {
      headers: { authorization: `Bearer ${apiToken}` },
    });
    expect((await bundle.arrayBuffer()).byteLength).toBe(change?.bundle.sizeBytes);

    await eventually('measured', async () =>
      (await metrics(url)).includes('plumb_step_duration_seconds_count{kind="coding",outcome="done"} 1'),
    );
    // Only the turns of its own: the first two were the other's.
    expect(await metrics(url)).toContain('plumb_coder_turns_total{model="scripted/coder"} 2');
    expect(`${first.stderr}${second.stderr}`).toBe('');
    expect(JSON.stringify([...first.lines, ...second.lines])).not.toContain(apiToken);
  }, 90_000);

  it('says what is missing from its environment, and leaves with 2', async () => {
    const main = new URL('./main.ts', import.meta.url).href;
    const coder = new ServiceUnderTest(main, { PLUMB_NATS_PASSWORD: 'password', PLUMB_CONCURRENCY: '0' });
    started.push(coder);
    expect(await coder.exit).toBe(2);
    expect(coder.stderr).toMatch(/PLUMB_LEDGER_URL/);
    expect(coder.stderr).toMatch(/PLUMB_CONCURRENCY/);
    expect(coder.stderr).toMatch(/PLUMB_LEDGER_TOKEN/);
  });
});

const metrics = async (url: string): Promise<string> => (await fetch(`${url}/metrics`)).text();
