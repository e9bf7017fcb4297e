import { readdirSync } from 'node:fs';
import type { EventData, PlumblineEvent } from '@plumbline/domain';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TaskStage, taskId } from '../../gate/src/task-stage.fixture.js';
import type { CodeHostMeans } from './code-host-means.js';
import { codeHostConfig } from './config.js';
import { publishingHandler } from './publishing-step.js';
import { admitRepository } from './repository-access.js';
import { codeHostFailed, snapshotHandler } from './snapshot-step.js';

const files = { 'src/price.ts': 'export const total = 1;\n' };
const branch = `plumbline/${taskId}`;
const id = 'publishing.1.1';
let stage: TaskStage;
beforeEach(async () => {
  stage = await TaskStage.open(files);
});
afterEach(() => stage.close());

const means = (over: Partial<CodeHostMeans> = {}): CodeHostMeans => ({
  ...{ artifacts: stage.artifacts, ledger: stage.ledger, access: { allowLocal: true } },
  ...{ metrics: stage.metrics(), workDir: stage.workDir, ...over },
});
const fault = (result: Promise<unknown>): Promise<unknown> =>
  result.then(
    () => 'no fault',
    (error: unknown) => error,
  );

describe('a snapshot step', () => {
  const take = (over: Partial<CodeHostMeans> = {}) => snapshotHandler(means(over))(stage.held('snapshot.0.1'));

  it('stores base as one pack', async () => {
    const [event] = (await take()) as [Extract<PlumblineEvent, { type: 'snapshot.taken' }>];
    expect(event.data).toMatchObject({
      base: stage.git('rev-parse', 'main'),
      tree: stage.git('rev-parse', 'main^{tree}'),
      objectFormat: 'sha1',
    });
    expect(stage.stored.get(event.data.pack.digest)?.length).toBe(event.data.pack.sizeBytes);
    expect(stage.counted.get('plumb_code_host_snapshot_bytes_total')).toBe(event.data.pack.sizeBytes);
    stage.push(event);
    expect(stage.state.snapshot?.base).toBe(event.data.base);
    expect(readdirSync(stage.workDir)).toEqual([]);
  });

  it.each<[string, Partial<EventData<'task.submitted'>['repository']>, boolean, string]>([
    ['a local folder where that is not allowed', {}, false, 'REPOSITORY_FORBIDDEN'],
    ['a revision that does not exist', { base: 'nowhere' }, true, 'BASE_UNKNOWN'],
    ['a folder without a repository', { url: '/usr/share' }, true, 'REPOSITORY_FORBIDDEN'],
    ['a helper that runs commands', { url: 'ext::sh -c true' }, true, 'REPOSITORY_FORBIDDEN'],
    ['a host that does not answer', { url: 'https://127.0.0.1:1/a.git' }, true, 'REPOSITORY_UNREACHABLE'],
  ])('names what is wrong with %s', async (_name, repository, allowLocal, code) => {
    const step = stage.held('snapshot.0.1');
    const { submission } = step.task;
    if (submission === undefined) throw new Error('no submission');
    step.task = {
      ...step.task,
      submission: { ...submission, repository: { ...submission.repository, ...repository } },
    };
    const error = await fault(snapshotHandler(means({ access: { allowLocal } }))(step));
    expect(error).toMatchObject({ name: 'StepFault', code });
    expect(codeHostFailed(step, 'BASE_UNKNOWN', 'x').type).toBe('snapshot.failed');
  });
});

describe('a publishing step', () => {
  let head: string;
  const publish = () => publishingHandler(means())(stage.held(id));
  const refs = () => stage.git('for-each-ref', '--format=%(refname:short) %(objectname)').split('\n');

  beforeEach(async () => {
    await stage.snapshot();
    head = stage.change({ 'src/price.ts': 'export const total = 2;\n' });
    await stage.propose(head);
  });

  const conclude = (outcome: 'pass' | 'fail', lie: Partial<EventData<'gate.concluded'>> = {}): void => {
    const change = stage.state.attempts[0]?.change;
    if (change === undefined) throw new Error('no change');
    const { base, tree } = change;
    const common = { step: 'gating.1.1' as const, attempt: 1 };
    for (const check of ['build', 'tests', 'scope'] as const) {
      const result = { check, version: 1, tree, outcome, summary: check, findings: [], evidence: [], durationMs: 1 };
      stage.push({ type: 'check.concluded', data: { ...common, result } });
    }
    const concluded = (['build', 'tests', 'scope'] as const).map((check) => ({ check, outcome }));
    const rest = { concluded, changeClass: [], languages: [], hunks: [], environment: {} };
    stage.push({ type: 'gate.concluded', data: { ...common, base, head: change.head, tree, ...rest, ...lie } });
  };
  const judge = (verdict: 'GO' | 'NO-GO', lie: Partial<{ base: string; head: string; tree: string }> = {}): void => {
    const change = stage.state.attempts[0]?.change;
    if (change === undefined) throw new Error('no change');
    const subject = { base: change.base, head: change.head, tree: change.tree, ...lie };
    const reasons =
      verdict === 'GO' ? [] : [{ check: 'tests' as const, effect: 'block' as const, summary: 'red', evidence: [] }];
    stage.push({
      type: 'verdict.reached',
      data: { attempt: 1, judgement: { verdict, reasons, advice: [] }, policy: 'strict', subject },
    });
  };
  const rule = (decision: 'go' | 'no-go', attempt = 1): void =>
    stage.push({ type: 'task.ruled', data: { decision, by: 'a person', why: 'because', attempt } });
  const request = (): void =>
    stage.push({ type: 'task.publishing-requested', data: { step: id, attempt: 1, dispatch: 1, branch, label: 'GO' } });

  it('pushes exactly the judged commit, and finds it there the second time', async () => {
    conclude('pass');
    judge('GO');
    request();
    expect(await publish()).toEqual([
      { type: 'change.published', data: { step: id, attempt: 1, branch, head, already: false } },
    ]);
    expect(refs()).toContain(`${branch} ${head}`);
    expect(await publish()).toMatchObject([{ data: { head, already: true } }]);
    expect([...stage.counted.keys()]).toEqual([
      'plumb_code_host_publications_total published',
      'plumb_code_host_publications_total already',
    ]);
    expect(readdirSync(stage.workDir)).toEqual([]);
  });

  it('pushes what a person ruled GO on', async () => {
    conclude('fail');
    judge('NO-GO');
    rule('go');
    request();
    expect(await publish()).toMatchObject([{ data: { head, already: false } }]);
  });

  it.each<[string, () => void | Promise<void>, RegExp]>([
    ['was never judged', () => conclude('pass'), /was not judged/],
    ['is judged NO-GO', () => (conclude('fail'), judge('NO-GO')), /verdict is NO-GO/],
    ['is recorded as GO against the facts', () => (conclude('fail'), judge('GO')), /facts make it NO-GO/],
    ['is recorded as GO without any facts', () => judge('GO'), /facts make it INCOMPLETE/],
    [
      'was judged as another commit',
      () => (conclude('pass'), judge('GO', { head: 'f'.repeat(40) })),
      /the verdict is about/,
    ],
    [
      'was judged as another tree',
      () => (conclude('pass'), judge('GO', { tree: 'f'.repeat(40) })),
      /the verdict is about/,
    ],
    ['was ruled GO as another attempt', () => (conclude('fail'), judge('NO-GO'), rule('go', 2)), /verdict is NO-GO/],
    ['was ruled NO-GO', () => (conclude('pass'), judge('GO'), rule('no-go')), /ruled NO-GO/],
    [
      'was overtaken by another attempt',
      async () => (conclude('pass'), judge('GO'), await stage.propose(stage.change({ 'a.txt': 'a' }), {}, 2)),
      /attempt 1 is not the current one/,
    ],
    [
      'belongs to a cancelled task',
      () => (
        conclude('pass'),
        judge('GO'),
        stage.push({ type: 'task.closed', data: { outcome: 'cancelled', verdict: 'GO' } })
      ),
      /closed/,
    ],
  ])('refuses what %s, whatever asked for it', async (_name, prepare, says) => {
    await prepare();
    request();
    const error = await fault(publish());
    expect(error).toMatchObject({ name: 'StepFault', code: 'PUBLISH_REFUSED' });
    expect((error as Error).message).toMatch(says);
    expect(refs().filter((ref) => ref.startsWith('plumbline/'))).toEqual([]);
  });

  it('looks again right before the push', async () => {
    conclude('pass');
    judge('GO');
    request();
    const getFile: CodeHostMeans['artifacts']['getFile'] = async (ref, path, signal) => {
      await stage.artifacts.getFile(ref, path, signal);
      if (stage.state.phase !== 'closed')
        stage.push({ type: 'task.closed', data: { outcome: 'cancelled', verdict: 'GO' } });
    };
    const { artifacts: real } = stage;
    const artifacts = { put: real.put.bind(real), get: real.get.bind(real), putFile: real.putFile.bind(real), getFile };
    const error = await fault(publishingHandler(means({ artifacts }))(stage.held(id)));
    expect((error as Error).message).toMatch(/closed/);
    expect(refs().filter((ref) => ref.startsWith('plumbline/'))).toEqual([]);
  });

  it('never overwrites a branch', async () => {
    conclude('pass');
    judge('GO');
    request();
    stage.git('branch', branch, 'main');
    expect(await fault(publish())).toMatchObject({ code: 'BRANCH_TAKEN' });
    expect(refs()).toContain(`${branch} ${stage.git('rev-parse', 'main')}`);
    expect(codeHostFailed(stage.held(id), 'BRANCH_TAKEN', 'x').type).toBe('publish.failed');
  });

  it('refuses a repository it may not reach any more', async () => {
    conclude('pass');
    judge('GO');
    request();
    const error = await fault(publishingHandler(means({ access: { allowLocal: false } }))(stage.held(id)));
    expect(error).toMatchObject({ code: 'REPOSITORY_FORBIDDEN' });
  });
});

describe('credentials', () => {
  const access = {
    allowLocal: false,
    host: 'git.example.org',
    basic: { username: 'u', password: 'secret-1' },
    sshKeyPath: '/key',
  };

  it('are shown to their host alone', () => {
    expect(admitRepository('https://git.example.org/a.git', access).credential).toEqual({
      kind: 'basic',
      username: 'u',
      password: 'secret-1',
    });
    expect(admitRepository('git@git.example.org:a.git', access).credential).toEqual({ kind: 'ssh-key', path: '/key' });
    expect(admitRepository('ssh://git@git.example.org/a.git', access).credential).toMatchObject({ kind: 'ssh-key' });
    for (const url of [
      'https://evil.example/a.git',
      'https://git.example.org.evil.example/a.git',
      'https://git.example.org:444/a.git',
    ])
      expect(admitRepository(url, access).credential).toBeUndefined();
  });

  it('need a host in the configuration', () => {
    const env = { PLUMB_LEDGER_URL: 'http://127.0.0.1:1', PLUMB_LEDGER_TOKEN: 't' };
    expect(codeHostConfig.parse(env).access).toEqual({ allowLocal: false });
    expect(codeHostConfig.safeParse({ ...env, PLUMB_GIT_TOKEN: 'x' }).success).toBe(false);
    const parsed = codeHostConfig.parse({
      ...env,
      PLUMB_GIT_TOKEN: 'x',
      PLUMB_GIT_HOST: 'GitHub.com',
      PLUMB_REPOSITORY_LOCAL: 'allow',
    });
    expect(parsed.access).toEqual({
      allowLocal: true,
      host: 'github.com',
      basic: { username: 'x-access-token', password: 'x' },
    });
    expect(codeHostConfig.safeParse({ ...env, PLUMB_REPOSITORY_LOCAL: 'yes' }).success).toBe(false);
  });
});
