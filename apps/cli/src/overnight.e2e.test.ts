import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { reportDocumentSchema, serviceNames, shippedPolicies, type ReportDocument } from '@plumbline/domain';
import { loadScenarios, startScriptedModel, type ScriptedModel } from '@plumbline/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { baseBranch, branchesOf, makeOrigin } from './demo/sample-repository.js';
import { LedgerApi } from './ledger/ledger-api.js';
import type { EventDocument } from './ledger/documents.js';
import { readLog } from './ledger/follow.js';
import { withClient } from './supervisor/databases.js';
import { checkout } from './system/checkout.js';
import { homeAt, type Home } from './system/home.js';
import { isRunning } from './system/process-identity.js';
import { systemState, type RunFile } from './system/run-file.js';

const cli = join(checkout, 'apps', 'cli', 'dist', 'main.js');
const sample = join(checkout, 'apps', 'cli', 'sample');
const TIMEOUT_MS = 240_000;
const parallel = 2;

let scratch: string;
let home: Home;
let model: ScriptedModel;
let origin: string;
let batchFile: string;
const env = (): NodeJS.ProcessEnv => ({
  ...process.env,
  NATS_URL: '',
  NO_COLOR: '1',
  PLUMB_HOME: home.folder,
  TMPDIR: scratch,
});

beforeAll(async () => {
  const unbuilt = serviceNames.filter((name) => !existsSync(join(checkout, 'services', name, 'dist', 'main.js')));
  if (unbuilt.length > 0) throw new Error(`not built: ${unbuilt.join(', ')}; run \`npm run build\` before this test`);
  scratch = mkdtempSync(join(tmpdir(), 'plumb-night-'));
  home = homeAt(join(scratch, 'home'));
  model = await startScriptedModel({ scenarios: loadScenarios(join(sample, 'scenarios')) });
  origin = await makeOrigin(join(sample, 'repository'), join(scratch, 'repository'));
  const issue = (file: string): Record<string, string> => {
    const [title = '', ...body] = readFileSync(join(sample, 'issues', file), 'utf8').split('\n');
    return { title: title.replace(/^# /, ''), body: body.join('\n').trim() };
  };
  const tasks = [
    { key: 'lost-cent', issue: issue('lost-cent.md') },
    { key: 'long-names', issue: issue('long-names.md') },
    { key: 'lost-cent-twice', issue: issue('lost-cent.md') },
  ];
  // One attempt, then a person: a second one would play the same scenario.
  const policy = { ...shippedPolicies.strict, name: 'one-attempt', attempts: { perTier: [1] } };
  batchFile = join(scratch, 'night.json');
  const document = { schema: 'plumbline.batch/1', name: 'night', repository: origin, base: baseBranch, policy, tasks };
  writeFileSync(batchFile, JSON.stringify(document));
});
afterAll(async () => {
  await plumb('down', '--purge');
  await model?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

interface Ran {
  readonly code: number | string | null;
  readonly out: string;
  readonly err: string;
}
function plumb(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args], { env: env(), timeout: TIMEOUT_MS }, (error, out, err) =>
      resolve({ code: error === null ? 0 : (error.code ?? null), out, err }),
    );
  });
}
const up = (): Promise<Ran> =>
  plumb('up', '--model-url', model.url, '--model-name', 'scripted/coder', '--reviewer-name', 'scripted/reviewer');

function running(): RunFile {
  const state = systemState(home);
  if (state.is !== 'running') throw new Error(`the system is ${state.is}`);
  return state.run;
}

/** As if the power went: the command, the supervisor and every process it started, with no signal that anybody could handle. */
async function cutPower(command: ChildProcess): Promise<void> {
  const { supervisor, processes } = running();
  const victims = [
    supervisor,
    ...processes.flatMap(({ pid, started }) => (pid === undefined || started === undefined ? [] : [{ pid, started }])),
  ];
  expect(victims.length).toBe(10);
  command.kill('SIGKILL');
  for (const victim of victims) {
    try {
      if (isRunning(victim)) process.kill(victim.pid, 'SIGKILL');
    } catch {
      // It died with another one.
    }
  }
  await expect.poll(() => victims.filter(isRunning), { timeout: 20_000 }).toEqual([]);
}

/** The power was away for longer than a lease lasts: leases run on the clock of Postgres, which is set here by their rows. */
async function agedLeases(): Promise<void> {
  const { postgres } = running();
  const { postgres: password } = JSON.parse(readFileSync(home.secretsFile, 'utf8')) as Record<string, string>;
  const url = new URL(postgres?.url ?? '');
  await withClient(`postgres://postgres:${password ?? ''}@${url.host}${url.pathname}`, async (client) => {
    await client.query(`UPDATE es.step_lease SET expires_at = clock_timestamp() - interval '1 s' WHERE state = 'held'`);
  });
}

async function wholeLog(): Promise<EventDocument[]> {
  const { api } = running();
  if (api === undefined) throw new Error('a system that is up has an API');
  const signal = AbortSignal.timeout(60_000);
  const events: EventDocument[] = [];
  for await (const event of readLog(new LedgerApi({ ...api, signal }), { after: 0, follow: false, signal }))
    events.push(event);
  return events;
}

/** The most tasks that were under way at once, by the log's own order. */
function mostAtOnce(events: readonly EventDocument[]): number {
  const open = new Set<string>();
  let most = 0;
  for (const { type, task = '', data } of events) {
    if (type === 'task.submitted') open.add(task);
    if (type === 'task.closed' || (type === 'escalation.opened' && (data as { to: string }).to === 'human'))
      open.delete(task);
    most = Math.max(most, open.size);
  }
  return most;
}

describe('a night with a power cut', () => {
  it(
    'loses no task, doubles none, holds its bound and ends with its report',
    async () => {
      expect(await up()).toMatchObject({ code: 0 });
      const command = spawn(process.execPath, [cli, 'submit', '--batch', batchFile, '--parallel', String(parallel)], {
        env: env(),
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let said = '';
      command.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
      // In the middle of the work: a model has been asked, and nothing is judged yet.
      await expect
        .poll(
          async () => said.includes('submitted') && (await wholeLog()).some(({ type }) => type === 'turn.recorded'),
          { timeout: 60_000, interval: 100 },
        )
        .toBe(true);
      await cutPower(command);
      expect(systemState(home).is).toBe('stale');

      expect(await up()).toMatchObject({ code: 0 });
      await agedLeases();
      const { code, out } = await plumb('submit', '--batch', batchFile, '--parallel', String(parallel), '--json');
      const report = JSON.parse(out) as ReportDocument;
      expect(reportDocumentSchema.safeParse(report).error?.issues ?? []).toEqual([]);
      expect(code).toBe(1);
      expect(report.tasks.map(({ key, verdict }) => [key, verdict])).toEqual([
        ['lost-cent', 'GO'],
        ['long-names', 'NO-GO'],
        ['lost-cent-twice', 'GO'],
      ]);
      expect(report.system.log).toMatchObject({ ok: true });
      expect(report.system.notices?.map(({ target, parkedAt }) => [target, parkedAt])).toEqual([['nats', null]]);

      const events = await wholeLog();
      const submitted = events.filter(({ type }) => type === 'task.submitted');
      expect(submitted.map(({ data }) => (data as { submissionId: string }).submissionId)).toEqual(
        report.tasks.map(({ key }) => key),
      );
      expect(mostAtOnce(events)).toBe(parallel);
      for (const { id } of report.tasks)
        expect(events.filter(({ task, type }) => task === id && type === 'verdict.reached')).toHaveLength(1);
      const published = report.tasks.flatMap(({ branch }) => branch ?? []);
      expect([...(await branchesOf(origin)).keys()].sort()).toEqual([baseBranch, ...published].sort());
      expect(published).toHaveLength(2);
    },
    TIMEOUT_MS,
  );
});
