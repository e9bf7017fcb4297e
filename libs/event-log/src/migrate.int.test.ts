import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from './migrate.js';
import { startPostgres, type PostgresFixture } from './postgres.fixture.js';

let postgres: PostgresFixture;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());

describe('migrate', () => {
  it('starts', async () => {
    expect(migrate).toBeDefined();
    const db = await postgres.createDatabase();
    expect((await db.ledger.query('select * from es.log_head')).rowCount).toBe(1);
    await db.drop();
  });
});
