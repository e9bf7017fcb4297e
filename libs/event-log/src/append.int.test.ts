import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EventLog } from './event-log.js';
import { startPostgres, type PostgresFixture } from './postgres.fixture.js';

let postgres: PostgresFixture;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());

describe('append', () => {
  it('starts', async () => {
    const db = await postgres.createDatabase();
    const log = new EventLog({ pool: db.ledger });
    const e = (n: number) => ({ type: 'a.b', schemaVersion: 1, data: { n }, meta: { x: 1 } });
    const results = await Promise.all(
      Array.from({ length: 120 }, (_, i) =>
        log.append({
          commandId: randomUUID(),
          streams: [{ streamId: `s-${i % 7}`, category: 's', events: [e(i), e(i + 1)] }],
        }),
      ),
    );
    expect(results.every((r) => r.outcome === 'appended')).toBe(true);
    while ((await log.sequence(100)).count > 0);
    expect((await log.head()).pos).toBe(240);
    const t0 = performance.now();
    let n = 0;
    await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        for (let k = 0; k < 50; k++) {
          await log.append({
            commandId: randomUUID(),
            streams: [{ streamId: `t-${i}`, category: 's', events: [e(i)] }],
          });
          n++;
        }
      }),
    );
    const t1 = performance.now();
    while ((await log.sequence()).count > 0);
    const t2 = performance.now();
    console.log((n / (t1 - t0)) * 1000, (n / (t2 - t1)) * 1000);
    await db.drop();
  });
});
