import { exampleSubmission, startTestSystem, type TestSystem } from '@plumbline/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let system: TestSystem;
const refusals: Record<string, unknown>[] = [];

beforeAll(async () => {
  system = await startTestSystem({ services: ['ledger', 'scheduler'] });
  const bus = await system.client('user');
  bus.nc.subscribe('plumb.intake.refused', {
    callback: (_error, message) => void refusals.push(message.json<{ data: Record<string, unknown> }>().data),
  });
  await bus.nc.flush();
});
afterAll(() => system?.stop());

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const head = async (): Promise<number> => (await system.log.head()).pos;
const refusalOf = async (id: string): Promise<Record<string, unknown> | undefined> => {
  await expect.poll(() => refusals.some((found) => found['id'] === id), { timeout: 10_000 }).toBe(true);
  return refusals.find((found) => found['id'] === id);
};
const at = (url: string, base = 'main'): unknown => ({ ...exampleSubmission, repository: { url, base } });
const good = exampleSubmission;

/** What must never be taken, each with a word of what is expected of its field. */
const hostile: [string, unknown, string][] = [
  ['nothing', null, ''],
  ['an array', [good], ''],
  ['no issue', { repository: good.repository }, 'issue'],
  ['an empty title', { ...good, issue: { title: ' ', body: '' } }, 'issue.title'],
  ['a number for a title', { ...good, issue: { title: 7, body: '' } }, 'issue.title'],
  ['a body beyond measure', { ...good, issue: { title: 'x', body: 'x'.repeat(70_000) } }, 'issue.body'],
  ['a NUL', { ...good, issue: { title: 'a\u0000b', body: '' } }, 'issue.title'],
  ['half of a surrogate pair', { ...good, issue: { title: 'a\ud800b', body: '' } }, 'issue.title'],
  ['a field nobody knows', { ...good, sudo: true }, '(whole document)'],
  ['a policy nobody ships', { ...good, policy: 'lenient' }, 'policy'],
  ['a policy that asks for nothing to be true', { ...good, policy: { name: 'x' } }, 'policy'],
  ['a directory where none may be a repository', at('file:///etc/passwd'), 'repository.url'],
  ['a transport that runs a program', at('ext::sh -c "touch /tmp/owned"'), 'repository.url'],
  ['an option for an address', at('--upload-pack=touch /tmp/owned'), 'repository.url'],
  ['a path out of the house', at('https://git.example.org/../../etc/passwd'), 'repository.url'],
  ['a host that is an option', at('ssh://-oProxyCommand=touch/x'), 'repository.url'],
  ['an option for a revision', at('https://git.example.org/a.git', '--upload-pack=touch'), 'repository.base'],
  ['a range for a revision', at('https://git.example.org/a.git', 'main..other'), 'repository.base'],
  ['a revision with a newline', at('https://git.example.org/a.git', 'main\nx'), 'repository.base'],
];

describe('what is handed in', () => {
  it.each(hostile)('is refused at every door when it is %s, and leaves nothing behind', async (_name, data, field) => {
    const before = await head();
    const answer = await system.ask('submit', data);
    expect(answer).toMatchObject({ ok: false, error: { code: 'INVALID', retry: 'never' } });
    const sent = await Promise.all([
      system.publish('submit', data, { mode: 'structured' }),
      system.publish('submit', data, { mode: 'binary' }),
    ]);
    for (const { id } of sent) {
      const refusal = await refusalOf(id);
      expect(refusal).toMatchObject({ code: 'INVALID', kind: 'submit' });
      expect(JSON.stringify(refusal?.['problems'])).toContain(field);
    }
    expect(await head()).toBe(before);
  });

  it('is refused when it is no CloudEvent, of another type, or for a door that does not exist', async () => {
    const before = await head();
    const count = refusals.length;
    const structured = { 'content-type': 'application/cloudevents+json' };
    const event = { specversion: '1.0', id: 'x', source: 's', type: 'dev.plumbline.task.submit.v1', data: good };
    const raw: [Record<string, string>, Uint8Array][] = [
      [structured, encode('not json')],
      [structured, encode('[]')],
      [structured, encode(JSON.stringify({ ...event, specversion: '0.3' }))],
      [structured, encode(JSON.stringify({ ...event, id: '' }))],
      [structured, encode(JSON.stringify(event).replace('"data"', '"__proto__"'))],
      [structured, encode(`${'['.repeat(100_000)}`)],
      [structured, new Uint8Array([0xff, 0xfe, 0x00])],
      [{}, encode(JSON.stringify(good))],
      [{ 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': 's', 'content-type': 'text/plain' }, encode('hello')],
    ];
    for (const [headers, body] of raw) await system.publishRaw('submit', headers, body);
    const other = await system.publish('submit', good, { type: 'dev.plumbline.task.cancel.v1' });
    expect(await refusalOf(other.id)).toMatchObject({ code: 'INVALID', problems: [{ field: 'type' }] });
    await expect.poll(() => refusals.length, { timeout: 10_000 }).toBe(count + raw.length + 1);
    await expect(system.publishRaw('bless', {}, encode('{}'))).rejects.toThrow();
    expect(await head()).toBe(before);
  });

  it('is refused when nobody knows the task, or it is in no state for it', async () => {
    const taskId = `t-${'0'.repeat(26)}`;
    for (const kind of ['cancel', 'retry'] as const)
      expect(await system.ask(kind, { taskId })).toMatchObject({ ok: false, error: { code: 'UNKNOWN_TASK' } });
    const { id } = await system.publish('rule', { taskId, decision: 'go', by: 'ada', why: 'x' });
    expect(await refusalOf(id)).toMatchObject({ code: 'UNKNOWN_TASK' });
    const known = await system.submit(good);
    expect(await system.ask('retry', { taskId: known })).toMatchObject({ ok: false, error: { code: 'ILLEGAL_STATE' } });
    const late = await system.publish('rule', { taskId: known, decision: 'go', by: 'ada', why: 'x' });
    expect(await refusalOf(late.id)).toMatchObject({ code: 'ILLEGAL_STATE' });
  });

  it('is one task however often it comes, and another submission under its name is refused', async () => {
    const sent = await system.publish('submit', good, { id: 'one', source: 'shop' });
    await system.publish('submit', good, { ...sent, mode: 'binary' });
    await system.publish('submit', { ...good, priority: 'high' }, sent);
    expect(await refusalOf('one')).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' });

    const key = { ...good, idempotencyKey: 'my key' };
    const answers = await Promise.all(Array.from({ length: 8 }, () => system.ask('submit', key)));
    const values = answers.map((answer) =>
      answer.ok ? (answer.value as { taskId: string; duplicate: boolean }) : undefined,
    );
    expect(new Set(values.map((value) => value?.taskId)).size).toBe(1);
    expect(values.filter((value) => value?.duplicate === false)).toHaveLength(1);
    // The log is seen in order: once this later task is seen, so is everything that the three before it may have recorded.
    await system.watch.event(values[0]?.taskId ?? '', 'task.submitted');
    const bySource = system.watch.events.filter((event) => (event.data as { source?: string }).source === 'shop');
    expect(bySource.map(({ type }) => type)).toEqual(['task.submitted']);
    const reused = await system.ask('submit', { ...key, publish: 'none' });
    expect(reused).toMatchObject({ ok: false, error: { code: 'IDEMPOTENCY_KEY_REUSED', retry: 'never' } });
  });

  it('waits for a model that nobody offers, and why says so', async () => {
    const taskId = await system.submit(good);
    const { body } = await system.api(`/v1/tasks/${taskId}/why`);
    expect(body).toMatchObject({ schema: 'plumbline.why/1', subject: taskId, state: 'submitted' });
  });

  it('is answered in time while the ledger is away, and taken by the stream all the same', async () => {
    await system.kill('ledger', 'SIGKILL');
    const { id } = await system.publish('submit', good, { source: 'patient' });
    const answer = await system.ask('submit', good, 14_000);
    expect(answer).toMatchObject({ ok: false, error: { code: 'UNAVAILABLE', retry: 'later' } });
    await system.restart('ledger');
    await system.watch.until('the submission', (events) =>
      events.find((event) => (event.data as { submissionId?: string }).submissionId === id),
    );
  });

  it('does not collapse at 200 tasks a second for 5 seconds, nor under the thousand open tasks it leaves', async () => {
    const startedAt = performance.now();
    const latencies: number[] = [];
    const sent: Promise<unknown>[] = [];
    for (let i = 0; i < 1_000; i++) {
      const dueMs = startedAt + i * 5 - performance.now();
      if (dueMs > 1) await new Promise((resolve) => setTimeout(resolve, dueMs));
      const at = performance.now();
      sent.push(
        system.ask('submit', { ...good, idempotencyKey: `load-${i}` }, 30_000).then((answer) => {
          expect(answer.ok).toBe(true);
          latencies.push(performance.now() - at);
        }),
      );
    }
    await Promise.all(sent);
    const tookMs = performance.now() - startedAt;
    latencies.sort((a, b) => a - b);
    const [p50, p99] = [latencies[500] ?? 0, latencies[990] ?? 0];
    process.stdout.write(
      `intake: 1000 tasks in ${Math.round(tookMs)} ms, answered in ${Math.round(p50)} ms (median), ${Math.round(p99)} ms (99 %)\n`,
    );
    const rounds = async (): Promise<number> => {
      const http = system.logs('scheduler').findLast((line) => line.msg === 'ready')?.['http'] as string;
      const page = await (await fetch(`${http}/metrics`)).text();
      return Number(/^plumb_reconciliations_total (\S+)/m.exec(page)?.[1] ?? 0);
    };
    const before = await rounds();
    await expect.poll(rounds, { timeout: 20_000 }).toBeGreaterThan(before + 1);
    const at = performance.now();
    expect(await system.ask('submit', { ...good, idempotencyKey: 'after the load' })).toMatchObject({ ok: true });
    expect(performance.now() - at).toBeLessThan(5_000);
  }, 60_000);
});
