import { StepFault, type FaultCode } from '@plumbline/domain';
import {
  Crew,
  exampleSubmission,
  gateConcluded,
  reviewConcluded,
  startTestSystem,
  type TestSystem,
} from '@plumbline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

let system: TestSystem;
let crew: Crew;
let putBack = (): void => undefined;

beforeAll(async () => {
  system = await startTestSystem({
    services: ['ledger', 'scheduler'],
    env: { PLUMB_RECONCILE_INTERVAL_MS: '500', PLUMB_STEP_IDLE_AFTER_MS: '2000' },
  });
  crew = await Crew.start(system);
});
afterEach(() => putBack());
afterAll(async () => {
  await crew?.stop();
  await system?.stop();
});

const typesOf = (taskId: string): string[] => system.watch.of(taskId).map((event) => event.type);
const count = (taskId: string, type: string): number => typesOf(taskId).filter((found) => found === type).length;
const dataOf = <T>(taskId: string, type: string): T[] =>
  system.watch
    .of(taskId)
    .filter((event) => event.type === type)
    .map((event) => event.data as T);
const fault = (code: FaultCode) => () => Promise.reject(new StepFault(code, 'on purpose'));
/** Every grant of the fleet is released: told by the log alone. */
const grantsFree = (): Promise<boolean> =>
  system.watch.until('every grant released', (events) => {
    const ids = (type: string): string[] =>
      events.filter((event) => event.type === type).map((event) => (event.data as { grantId: string }).grantId);
    const released = new Set(ids('grant.released'));
    return ids('grant.reserved').every((id) => released.has(id));
  });

describe('the walk of a task', () => {
  it('ends in GO with exactly one of everything', async () => {
    const taskId = await system.submit(exampleSubmission);
    expect(await system.closed([taskId])).toEqual(['go']);
    const once = [
      ...['task.submitted', 'task.snapshot-requested', 'snapshot.taken', 'task.coding-requested', 'change.proposed'],
      ...['task.gating-requested', 'gate.concluded', 'task.review-requested', 'review.concluded', 'verdict.reached'],
      ...['task.publishing-requested', 'change.published', 'task.closed'],
    ];
    expect(once.map((type) => [type, count(taskId, type)])).toEqual(once.map((type) => [type, 1]));
    expect(count(taskId, 'lease.granted')).toBe(5);
    expect(
      dataOf<{ judgement: { verdict: string; reasons: unknown[] } }>(taskId, 'verdict.reached')[0]?.judgement,
    ).toMatchObject({
      verdict: 'GO',
      reasons: [],
    });
    await grantsFree();
    const { body } = await system.api(`/v1/tasks/${taskId}`);
    expect(body).toMatchObject({ schema: 'plumbline.task/1', task: { state: 'closed', outcome: 'go' } });
  });

  it('takes the trap to NO-GO, feeds the reasons back, and asks a human, whose ruling ends it', async () => {
    const feedbacks: string[][] = [];
    putBack = crew.play({
      gating: (step) => gateConcluded(step, { scope: 'fail' }),
      review: (step) => reviewConcluded(step, { quotes: ['a quote that nobody ever wrote in this issue'] }),
    });
    const taskId = await system.submit(exampleSubmission);
    const opened = await system.watch.event(taskId, 'escalation.opened');
    feedbacks.push(...dataOf<{ feedback: string[] }>(taskId, 'task.coding-requested').map(({ feedback }) => feedback));
    expect(feedbacks).toHaveLength(2);
    expect(feedbacks[0]).toEqual([]);
    expect(feedbacks[1]?.some((line) => line.includes('scope'))).toBe(true);
    const verdicts = dataOf<{ judgement: { verdict: string; reasons: { check: string }[] } }>(
      taskId,
      'verdict.reached',
    );
    expect(verdicts.map(({ judgement }) => judgement.verdict)).toEqual(['NO-GO', 'NO-GO']);
    const checks = verdicts[1]?.judgement.reasons.map(({ check }) => check);
    expect(checks).toContain('scope');
    expect(checks).toContain('evidence');
    expect(count(taskId, 'task.publishing-requested')).toBe(0);
    expect(opened.data).toMatchObject({ to: 'human' });

    const ruling = { taskId, decision: 'no-go', by: 'ada', why: 'wrong place', attempt: 2 };
    expect(await system.ask('rule', { ...ruling, attempt: 1 })).toMatchObject({
      ok: false,
      error: { code: 'ILLEGAL_STATE' },
    });
    expect(await system.ask('rule', ruling)).toMatchObject({ ok: true, value: { taskId, duplicate: false } });
    expect(await system.closed([taskId])).toEqual(['no-go']);
    await grantsFree();
  });

  it('publishes what a human rules GO as waived, and takes a ruling that comes twice for one', async () => {
    putBack = crew.play({ gating: (step) => gateConcluded(step, { tests: 'fail' }) });
    const taskId = await system.submit(exampleSubmission);
    await system.watch.event(taskId, 'escalation.opened');
    const ruling = { taskId, decision: 'go', by: 'ada', why: 'the test is wrong' };
    const first = await system.publish('rule', ruling, { id: 'ruling-1' });
    await system.publish('rule', ruling, first);
    expect(await system.closed([taskId])).toEqual(['go-waived']);
    expect(count(taskId, 'task.ruled')).toBe(1);
    expect(dataOf(taskId, 'task.publishing-requested')).toMatchObject([{ label: 'GO-WAIVED' }]);
  });

  it('does not let a ruling that is delivered late decide about what came after it', async () => {
    putBack = crew.play({
      gating: (step) => gateConcluded(step, { tests: 'fail' }),
      publishing: fault('BRANCH_TAKEN'),
    });
    const taskId = await system.submit(exampleSubmission);
    await system.watch.event(taskId, 'escalation.opened');
    const ruling = { taskId, decision: 'go', by: 'ada', why: 'it is fine' };
    const sent = await system.publish('rule', ruling, { id: 'late-ruling' });
    await system.watch.until('a second escalation', () => count(taskId, 'escalation.opened') === 2);
    await system.publish('rule', ruling, sent);
    const answered = (): number =>
      system.logs('scheduler').filter((line) => line['taskId'] === taskId && line['kind'] === 'rule').length;
    await expect.poll(answered, { timeout: 10_000 }).toBe(2);
    await system.publish('cancel', { taskId, by: 'bob', why: 'enough' });
    expect(await system.closed([taskId])).toEqual(['cancelled']);
    expect(count(taskId, 'task.ruled')).toBe(1);
    expect(count(taskId, 'publish.failed')).toBe(1);
  });

  it('tries again what broke by fault of a machine, and hands over what nobody here can mend', async () => {
    let broken = 1;
    putBack = crew.play({
      gating: (step) =>
        broken-- > 0 ? Promise.reject(new StepFault('GATE_ERROR', 'no sandbox')) : gateConcluded(step),
    });
    const taskId = await system.submit(exampleSubmission);
    expect(await system.closed([taskId])).toEqual(['go']);
    expect(dataOf(taskId, 'task.step-retry-scheduled')).toMatchObject([{ step: 'gating.1.1', nextStep: 'gating.1.2' }]);
    putBack();
    putBack = crew.play({ snapshot: fault('BASE_UNKNOWN') });
    const unknown = await system.submit({
      ...exampleSubmission,
      repository: { url: 'https://git.example.org/x.git', base: 'nope' },
    });
    const opened = await system.watch.event(unknown, 'escalation.opened');
    expect(JSON.stringify(opened.data)).toContain('BASE_UNKNOWN');
    expect(await system.ask('cancel', { taskId: unknown })).toMatchObject({ ok: true });
    expect(await system.ask('cancel', { taskId: unknown })).toMatchObject({ ok: true, value: { duplicate: true } });
    expect(await system.ask('retry', { taskId: unknown })).toMatchObject({
      ok: false,
      error: { code: 'ILLEGAL_STATE' },
    });
    await grantsFree();
  });

  it('records facts that the ledger does not take as a failure of the harness', async () => {
    putBack = crew.play({
      coding: (step) => [
        { type: 'attempt.ended', data: { step: step.id, attempt: 1, code: 'EMPTY_DIFF', detail: 'x'.repeat(3_000) } },
      ],
    });
    const taskId = await system.submit(exampleSubmission);
    await system.watch.event(taskId, 'escalation.opened');
    expect(dataOf(taskId, 'attempt.ended')).toMatchObject([{ code: 'HARNESS_BUG' }]);
    expect(await system.ask('cancel', { taskId })).toMatchObject({ ok: true });
  });

  it('stops the worker of a task that is cancelled and frees its model', async () => {
    let running: (() => void) | undefined;
    const started = new Promise<void>((resolve) => (running = resolve));
    putBack = crew.play({
      coding: (step) =>
        new Promise((_, reject) => {
          running?.();
          step.signal.addEventListener('abort', () => reject(step.signal.reason as Error));
        }),
    });
    const taskId = await system.submit(exampleSubmission);
    await started;
    expect(await system.ask('cancel', { taskId, by: 'ada', why: 'changed my mind' })).toMatchObject({ ok: true });
    expect(await system.closed([taskId])).toEqual(['cancelled']);
    await grantsFree();
    // The lease is closed: the next heartbeat says so. It comes within 15 s.
    await expect.poll(() => crew.members.coder.reports.at(-1)?.outcome, { timeout: 20_000 }).toBe('stopped');
    expect(count(taskId, 'change.proposed')).toBe(0);
  });
});
