import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RecordedEvent } from '@plumbline/event-log';
import { WholeSystem } from './whole-system.js';

let whole: WholeSystem;
/** What the fix leads to while nothing goes wrong. */
let undisturbed: unknown;
let turns = 0;
let concluded = 0;

beforeAll(async () => {
  whole = await WholeSystem.start();
}, 120_000);
afterAll(() => whole?.stop());

/** The types with which a step ends, one way or another. */
const endings = new Set([
  ...['snapshot.taken', 'snapshot.failed', 'change.proposed', 'attempt.ended', 'gate.concluded', 'gate.failed'],
  ...['review.concluded', 'review.failed', 'change.published', 'publish.failed'],
]);
const stepOf = (event: RecordedEvent): string => (event.data as { step: string }).step;
const count = (taskId: string, type: string): number => whole.types(taskId).filter((found) => found === type).length;

/** Verdict, reasons and the judged tree: what must not depend on who was killed meanwhile. */
async function conclusionOf(taskId: string): Promise<unknown> {
  const verdict = await whole.event(taskId, 'verdict.reached', { timeoutMs: 60_000 });
  const { judgement, subject } = verdict.data as { judgement: unknown; subject?: { tree: string } };
  return { judgement, tree: subject?.tree };
}

/** The fix ended as it does without trouble, every step ended once, the branch was pushed once, and the log is sound. */
async function expectNothingHappened(taskId: string): Promise<void> {
  expect(await conclusionOf(taskId)).toEqual(undisturbed);
  expect((await whole.event(taskId, 'task.closed')).data).toMatchObject({ outcome: 'go', verdict: 'GO' });
  const ended = whole.system.watch.of(taskId).filter(({ type }) => endings.has(type));
  expect(ended.map(stepOf)).toEqual([...new Set(ended.map(stepOf))]);
  for (const type of ['verdict.reached', 'change.published', 'task.closed'])
    expect([type, count(taskId, type)]).toEqual([type, 1]);
  const published = await whole.event(taskId, 'change.published');
  const { branch, head } = published.data as { branch: string; head: string };
  expect(whole.origin.pushes.filter((push) => push.branch === branch)).toEqual([{ branch, commit: head }]);
  expect((await whole.origin.branches()).get(branch)).toBe(head);
  const steps = await whole.system.database.admin.query<{ state: string; steps: string }>(
    'SELECT state, count(*) AS steps FROM es.step_lease WHERE task_id = $1 GROUP BY state',
    [taskId],
  );
  expect(steps.rows).toEqual([{ state: 'done', steps: String(ended.length) }]);
  expect((await whole.system.api('/v1/audit')).body).toMatchObject({ ok: true });
}

type Worker = 'code-host' | 'coder' | 'gate' | 'reviewer';

/** What they store as evidence in the middle of their steps: snapshots and changes, and reviews. */
const pack = 'application/x-git-packed-objects';
const reviewRecord = 'application/vnd.plumbline.review+json';

/** Kills the worker of a held step, lets the lease run out, and starts the worker again. */
async function killAndReplace(service: Worker, taskId: string, step: string, meanwhile?: () => unknown): Promise<void> {
  await whole.system.kill(service);
  await meanwhile?.();
  await whole.ageLease(taskId, step);
  await whole.event(taskId, 'lease.expired', { step });
  await whole.system.restart(service);
}

/** Holds the coder of a task up, in one of the turns in which it changes something. */
async function holdCoding(taskId: string): ReturnType<WholeSystem['holdArtifacts']> {
  await whole.event(taskId, 'snapshot.taken');
  return whole.holdArtifacts(pack);
}

describe('a task goes on to the same end', () => {
  it('when nothing happens to it', async () => {
    const taskId = await whole.submit('fix');
    undisturbed = await conclusionOf(taskId);
    turns = count(taskId, 'turn.recorded');
    concluded = count(taskId, 'check.concluded');
    expect(undisturbed).toMatchObject({ judgement: { verdict: 'GO', reasons: [] } });
    await expectNothingHappened(taskId);
    expect(count(taskId, 'lease.granted')).toBe(5);
  }, 180_000);

  it('when every worker is killed in the middle of its step', async () => {
    whole.origin.holdPushes();
    const snapshot = await whole.holdArtifacts(pack);
    const taskId = await whole.submit('fix');
    const branch = `plumbline/${taskId}`;
    await snapshot.reached();
    await killAndReplace('code-host', taskId, 'snapshot.0.1', () => snapshot.release());

    const change = await holdCoding(taskId);
    await change.reached();
    const review = await whole.holdArtifacts(reviewRecord);
    await killAndReplace('coder', taskId, 'coding.1.1', () => change.release());

    // One check is concluded, others are still to come.
    await whole.event(taskId, 'check.concluded');
    await killAndReplace('gate', taskId, 'gating.1.1');

    await review.reached();
    await killAndReplace('reviewer', taskId, 'review.1.1.concluder', () => review.release());

    // The branch is there, and the answer that it is never arrived.
    await whole.origin.pushed(branch, 60_000);
    await killAndReplace('code-host', taskId, 'publishing.1.1', () => whole.origin.letPushesGo());

    await expectNothingHappened(taskId);
    expect((await whole.event(taskId, 'change.published')).data).toMatchObject({ branch, already: true });
    expect(count(taskId, 'lease.expired')).toBe(5);
    // What was recorded before the kill is gone on from, and not done again.
    expect([count(taskId, 'turn.recorded'), count(taskId, 'check.concluded')]).toEqual([turns, concluded]);
  }, 180_000);

  it('when those that no lease names are killed: scheduler, ledger, and the node’s agent', async () => {
    const taskId = await whole.submit('fix');
    const change = await holdCoding(taskId);
    await change.reached();
    await whole.system.kill('scheduler');
    await change.release();
    await whole.event(taskId, 'change.proposed');
    await whole.system.restart('scheduler');

    await whole.event(taskId, 'check.concluded');
    await whole.system.kill('ledger');
    await whole.system.restart('ledger');

    await whole.system.kill('node-agent');
    await whole.event(taskId, 'verdict.reached');
    await whole.system.restart('node-agent');
    await expectNothingHappened(taskId);
  }, 180_000);

  it('when NATS is killed and its store is gone', async () => {
    const taskId = await whole.submit('fix');
    const change = await holdCoding(taskId);
    await change.reached();
    await whole.system.nats.halt('SIGKILL');
    whole.system.nats.wipe();
    await whole.system.nats.launch();
    await change.release();
    await expectNothingHappened(taskId);
  }, 180_000);

  it('when Postgres crashes', async () => {
    const taskId = await whole.submit('fix');
    await whole.event(taskId, 'check.concluded');
    await whole.system.crashPostgres();
    await expectNothingHappened(taskId);
  }, 180_000);
});
