import { seededRandom, type PlumblineEvent } from '@plumbline/domain';
import type { ProjectedEvent } from '@plumbline/event-log';
import { exampleSubmission, startTestPostgres, type TestDatabase, type TestPostgres } from '@plumbline/testing';
import { resolvePolicy } from '@plumbline/domain';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tasksProjection } from './tasks.js';

let postgres: TestPostgres;
let db: TestDatabase;
beforeAll(async () => {
  postgres = await startTestPostgres();
  db = await postgres.createDatabase();
});
afterAll(async () => {
  await db?.drop();
  await postgres?.stop();
});

const ids = [1, 2, 3, 4].map((n) => `t-${String(n).padStart(26, '0')}`);
const step = 'coding.1.1';
const model = { name: 'm', family: 'qwen', tier: 1, node: 'studio', endpoint: 'http://127.0.0.1:9/v1' };

/** Any event a task may have, none of them in any sensible order: the rows must not depend on how a history is cut into batches. */
const palette = (attempt: number): PlumblineEvent[] => [
  { type: 'task.snapshot-requested', data: { step: 'snapshot.0.1', dispatch: 1 } },
  { type: 'task.capacity-awaited', data: { step: `coding.${attempt}.1`, attempt, seat: 'coder', tier: 1 } },
  {
    type: 'task.capacity-awaited',
    data: { step: `review.${attempt}.1.concluder`, attempt, seat: 'concluder', tier: 1 },
  },
  {
    type: 'verdict.reached',
    data: { attempt, judgement: { verdict: 'NO-GO', reasons: [], advice: [] }, policy: 'strict', subject: null },
  },
  { type: 'task.gating-requested', data: { step: `gating.${attempt}.1`, attempt, dispatch: 1 } } as PlumblineEvent,
  {
    type: 'task.coding-requested',
    data: { step, attempt, dispatch: 1, model: { ...model, grantId: `g-${attempt}` }, feedback: [] },
  },
  { type: 'lease.granted', data: { step, holder: 'w', epoch: 1, ttlMs: 1 } },
  {
    type: 'escalation.opened',
    data: { escalationId: `e-${attempt}`, to: 'human', attempt, reasons: ['three attempts failed'], tried: [] },
  },
  { type: 'task.closed', data: { outcome: 'no-go', verdict: attempt % 2 === 0 ? 'NO-GO' : null } },
];

const submitted = (taskId: string): PlumblineEvent => ({
  type: 'task.submitted',
  data: {
    ...{ taskId, source: 's', submissionId: 's', contentDigest: 'ab' },
    ...{ repository: exampleSubmission.repository, issue: exampleSubmission.issue, policy: resolvePolicy('strict') },
    ...{ priority: 'normal', publish: 'branch' },
  },
});

function history(seed: string, length: number): ProjectedEvent[] {
  const random = seededRandom(seed);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const seen = new Set<string>();
  return Array.from({ length }, (_, index) => {
    const taskId = pick(ids);
    const isNew = !seen.has(taskId) && random() < 0.5;
    if (isNew) seen.add(taskId);
    const event = isNew ? submitted(taskId) : pick(palette(1 + Math.floor(random() * 3)));
    const unknown = random() < 0.05 ? { type: 'task.teleported' } : {};
    const recordedAt = new Date(Date.UTC(2026, 0, 1) + index * 1_000).toISOString();
    const at = {
      eventId: '',
      streamId: `task-${taskId}`,
      category: 'task',
      version: index,
      pos: index + 1,
      recordedAt,
    };
    return { ...at, schemaVersion: 1, ...event, ...unknown };
  });
}

/** The rows after applying the history in batches of that size, in a schema of its own. */
async function rowsAfter(events: readonly ProjectedEvent[], size: number, schema: string): Promise<unknown[]> {
  const client = await db.ledger.connect();
  try {
    await client.query(`CREATE SCHEMA ${schema}`);
    await client.query(tasksProjection.ddl(schema));
    for (let from = 0; from < events.length; from += size) {
      const batch = events.slice(from, from + size);
      if (size === 1) await tasksProjection.apply(client, schema, batch[0] as ProjectedEvent);
      else await tasksProjection.applyBatch?.(client, schema, batch);
    }
    return (await client.query(`SELECT * FROM ${schema}.task ORDER BY task_id`)).rows as unknown[];
  } finally {
    await client.query(`DROP SCHEMA ${schema} CASCADE`);
    client.release();
  }
}

describe('the list of tasks', () => {
  it('has the same rows however the log is cut into batches', async () => {
    let rows = 0;
    for (let n = 0; n < 25; n++) {
      const events = history(`tasks ${n}`, 60);
      const one = await rowsAfter(events, 1, 'one');
      rows += one.length;
      for (const size of [2, 7, 60])
        expect(await rowsAfter(events, size, 'many'), `history ${n}, ${size}`).toEqual(one);
    }
    expect(rows).toBeGreaterThan(80);
  });

  it('keeps of a task what its last telling event said', async () => {
    const [first = '', second = ''] = ids;
    const on = (taskId: string, pos: number, event: PlumblineEvent): ProjectedEvent => ({
      ...{ eventId: '', streamId: `task-${taskId}`, category: 'task', version: pos, pos, schemaVersion: 1 },
      ...{ recordedAt: `2026-01-01T00:00:0${pos}.000000Z` },
      ...event,
    });
    const [, awaited, , verdict, , , lease, human, closed] = palette(2) as [...PlumblineEvent[]];
    const events = [
      on(first, 1, submitted(first)),
      on(second, 2, submitted(second)),
      on(first, 3, awaited as PlumblineEvent),
      on(first, 4, verdict as PlumblineEvent),
      on(second, 5, human as PlumblineEvent),
      on(second, 6, lease as PlumblineEvent),
      on(first, 7, closed as PlumblineEvent),
    ];
    for (const size of [1, 3, 7]) {
      expect(await rowsAfter(events, size, 'kept')).toMatchObject([
        {
          task_id: first,
          phase: 'closed',
          verdict: 'NO-GO',
          outcome: 'no-go',
          waiting_for: null,
          updated_pos: '7',
          closed_at: new Date('2026-01-01T00:00:07Z'),
        },
        {
          task_id: second,
          phase: 'awaiting-ruling',
          verdict: null,
          waiting_for: 'a ruling',
          updated_pos: '6',
          closed_at: null,
          source: 's',
          submission_id: 's',
        },
      ]);
    }
  });

  it('refuses a task that is submitted twice, within a batch and across two', async () => {
    const [first = ''] = ids;
    const twice = history('x', 1).flatMap((event) =>
      [1, 2].map((pos) => ({ ...event, ...submitted(first), streamId: `task-${first}`, pos })),
    );
    for (const size of [1, 2]) await expect(rowsAfter(twice, size, 'twice')).rejects.toThrow('task_pkey');
  });
});
