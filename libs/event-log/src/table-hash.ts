import { createHash } from 'node:crypto';
import type { Pool, PoolClient } from 'pg';
import { inTransaction } from './session.js';

const pageSize = 2_000;

/**
 * SHA-256 (hex) of every table of a schema by table name: equal hashes mean equal rows, whatever their physical order.
 * One snapshot, constant memory. Empty when the schema has no tables or does not exist.
 */
export async function tableHash(pool: Pool, schema: string): Promise<Record<string, string>> {
  return inTransaction(
    pool,
    async (client) => {
      // How a row turns into text depends on these settings; a hash must not.
      await client.query(`SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';
        SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'`);
      const tables = await client.query<{ name: string }>(
        `SELECT tablename AS name FROM pg_tables WHERE schemaname = $1 ORDER BY tablename COLLATE "C"`,
        [schema],
      );
      const hashes: Record<string, string> = {};
      for (const { name } of tables.rows) {
        hashes[name] = await hashRows(client, `${client.escapeIdentifier(schema)}.${client.escapeIdentifier(name)}`);
      }
      return hashes;
    },
    'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY',
  );
}

async function hashRows(client: PoolClient, table: string): Promise<string> {
  const hash = createHash('sha256');
  await client.query(
    `DECLARE table_rows NO SCROLL CURSOR FOR SELECT t::text AS line FROM ${table} t ORDER BY t::text COLLATE "C"`,
  );
  for (;;) {
    const page = await client.query<{ line: string }>(`FETCH ${pageSize} FROM table_rows`);
    for (const { line } of page.rows) hash.update(`${Buffer.byteLength(line)}:`).update(line);
    if (page.rows.length < pageSize) break;
  }
  await client.query('CLOSE table_rows');
  return hash.digest('hex');
}
