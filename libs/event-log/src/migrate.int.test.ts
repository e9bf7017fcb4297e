import { Client, Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EventLog } from './event-log.js';
import { createLedgerPool } from './ledger-pool.js';
import { migrate } from './migrate.js';
import { startPostgres, type PostgresFixture } from './postgres.fixture.js';
import { batch, recorded } from './test-events.fixture.js';

let postgres: PostgresFixture;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());

async function run(url: string, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows as unknown[];
  } finally {
    await client.end();
  }
}

describe('migrate', () => {
  it('applies everything once, whoever else runs at the same time', async () => {
    const url = postgres.adminUrl(await postgres.createEmptyDatabase());
    const options = { adminUrl: url, ledgerRole: 'migrate_ledger', ledgerPassword: `it's "secret"` };
    const results = await Promise.all([migrate(options), migrate(options), migrate(options)]);
    const applied = results.map((r) => r.applied).sort((a, b) => a.length - b.length);
    expect(applied).toEqual([[], [], expect.arrayContaining(['CreateEventLog1795219200000'])]);
    expect(await migrate(options)).toEqual({ applied: [] });
    expect(await run(url, 'SELECT name FROM es.migration ORDER BY id')).toEqual(
      (applied[2] ?? []).map((name) => ({ name })),
    );
  });

  it('runs on several databases of one cluster at the same time', async () => {
    const urls: string[] = [];
    for (let i = 0; i < 5; i++) urls.push(postgres.adminUrl(await postgres.createEmptyDatabase()));
    const run = (adminUrl: string) => migrate({ adminUrl, ledgerRole: 'cluster_ledger', ledgerPassword: 'x' });
    const results = await Promise.all(urls.map(run));
    expect(results[0]?.applied.length).toBeGreaterThan(0);
    results.forEach((result) => expect(result).toEqual(results[0]));
  });

  it('refuses a database that is newer than the code', async () => {
    const url = postgres.adminUrl(await postgres.createEmptyDatabase());
    await migrate({ adminUrl: url, ledgerRole: 'migrate_ledger' });
    await run(url, `INSERT INTO es.migration (timestamp, name) VALUES (9999999999999, 'FromTheFuture9999999999999')`);
    await expect(migrate({ adminUrl: url, ledgerRole: 'migrate_ledger' })).rejects.toMatchObject({
      name: 'OperationalError',
      retry: 'never',
      message: expect.stringContaining('FromTheFuture9999999999999') as string,
    });
  });

  it('refuses a database that is not encoded in UTF-8', async () => {
    await run(
      postgres.adminUrl(),
      `CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
    );
    await expect(migrate({ adminUrl: postgres.adminUrl('latin'), ledgerRole: 'migrate_ledger' })).rejects.toMatchObject(
      {
        retry: 'never',
      },
    );
    await run(postgres.adminUrl(), 'DROP DATABASE latin');
  });

  it('reports an unreachable server as something to try again later', async () => {
    await expect(migrate({ adminUrl: 'postgres://x@127.0.0.1:1/x', ledgerRole: 'x' })).rejects.toMatchObject({
      retry: 'later',
    });
  });

  it('works for an administrator that is no superuser', async () => {
    const name = await postgres.createEmptyDatabase();
    const suffix = name.replaceAll(/\W/g, '');
    await run(postgres.adminUrl(), `CREATE ROLE admin_${suffix} LOGIN CREATEROLE PASSWORD 'x'`);
    await run(postgres.adminUrl(), `ALTER DATABASE ${name} OWNER TO admin_${suffix}`);
    // The roles exist in this cluster already, made by a superuser: a plain administrator must have been granted them.
    await run(
      postgres.adminUrl(),
      `GRANT plumbline_owner, plumbline_writer, plumbline_ledger TO admin_${suffix} WITH ADMIN OPTION`,
    );
    const url = new URL(postgres.adminUrl(name));
    url.username = `admin_${suffix}`;
    url.password = 'x';
    const ledgerRole = `ledger_${suffix}`;
    expect((await migrate({ adminUrl: url.toString(), ledgerRole, ledgerPassword: 'y' })).applied).toContain(
      'CreateEventLog1795219200000',
    );
    url.username = ledgerRole;
    url.password = 'y';
    const pool: Pool = createLedgerPool({ url: url.toString() });
    recorded(await new EventLog({ pool }).append(batch('s')));
    await pool.end();
    await run(postgres.adminUrl(), `DROP DATABASE ${name} WITH (FORCE)`);
    await run(postgres.adminUrl(), `DROP ROLE ${ledgerRole}`);
    await run(postgres.adminUrl(), `DROP ROLE admin_${suffix}`);
  });
});
