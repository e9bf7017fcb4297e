import { startTestSystem, type TestSystem } from '@plumbline/testing';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { History } from './history.fixture.js';

interface List {
  tasks: { id: string; updatedAt: string; submittedAt: string; closedAt?: string }[];
  next?: string;
}

let system: TestSystem;
let history: History;
const ids: Record<'batch1' | 'batch2' | 'other', string> = { batch1: '', batch2: '', other: '' };

beforeAll(async () => {
  system = await startTestSystem({ services: ['ledger'] });
  history = new History(system);
  const repository = { url: 'https://example.com/other.git', base: 'main' };
  ids.batch1 = await history.submitted({ submissionId: 'night/1', source: 'plumb/batch' });
  ids.batch2 = await history.submitted({ submissionId: 'night/2', source: 'plumb/batch', priority: 'batch' });
  ids.other = await history.submitted({ submissionId: 'nigh_/3', repository });
  await history.closed(ids.batch1, 'go', 'GO');
  await history.closed(ids.other, 'cancelled');
  const projected = async () => expect(await found('state=closed')).toHaveLength(2);
  await vi.waitFor(projected, { timeout: 10_000 });
});
afterAll(() => system?.stop());

async function list(query: string): Promise<List> {
  const { status, body } = await system.api(`/v1/tasks?${query}`);
  if (status !== 200) throw new Error(`${status}: ${JSON.stringify(body)}`);
  return body as List;
}
const found = async (query: string): Promise<string[]> => (await list(query)).tasks.map(({ id }) => id);

describe('the list of tasks', () => {
  it('is narrowed by every filter, and by all that are given', async () => {
    expect(await found('')).toEqual([ids.other, ids.batch2, ids.batch1]);
    expect(await found('verdict=GO')).toEqual([ids.batch1]);
    expect(await found('priority=batch')).toEqual([ids.batch2]);
    expect(await found('repository=https%3A%2F%2Fexample.com%2Fother.git')).toEqual([ids.other]);
    expect(await found('submissionPrefix=night%2F')).toEqual([ids.batch2, ids.batch1]);
    expect(await found('sourcePrefix=plumb/b&state=closed')).toEqual([ids.batch1]);
    // No pattern of SQL: an underscore is an underscore.
    expect(await found('submissionPrefix=nigh_')).toEqual([ids.other]);
    expect(await found('submissionPrefix=%25')).toEqual([]);
  });

  it('is narrowed by spans of time that hold their beginning and not their end', async () => {
    const { tasks } = await list('');
    const [other, , first] = tasks;
    expect(await found(`closedSince=${first?.closedAt}`)).toEqual([ids.other, ids.batch1]);
    expect(await found(`closedUntil=${first?.closedAt}`)).toEqual([]);
    expect(await found(`updatedSince=${other?.updatedAt}`)).toContain(ids.other);
    expect(await found(`submittedSince=${other?.submittedAt}`)).toContain(ids.other);
    expect(await found(`submittedUntil=${other?.submittedAt}`)).not.toContain(ids.other);
    expect(await found('closedSince=0000-01-01T00:00:00Z')).toHaveLength(2);
    expect(await found('updatedSince=9999-12-31T23:59:59.999Z')).toEqual([]);
  });

  it('comes in pages that what is submitted meanwhile does not shift', async () => {
    const first = await list('limit=1');
    expect(first.tasks.map(({ id }) => id)).toEqual([ids.other]);
    const late = await history.submitted({ submissionId: 'late' });
    await expect.poll(() => found('limit=1'), { timeout: 10_000 }).toEqual([late]);
    const second = await list(`limit=1&cursor=${first.next}`);
    expect(second.tasks.map(({ id }) => id)).toEqual([ids.batch2]);
    const third = await list(`limit=2&cursor=${second.next}`);
    expect(third).toMatchObject({ tasks: [{ id: ids.batch1 }] });
    expect(third.next).toBeUndefined();
    for (const wrong of [`state=closed&cursor=${first.next}`, `cursor=${first.next}A`, 'cursor='])
      expect((await system.api(`/v1/tasks?${wrong}`)).status).toBe(400);
  });
});
