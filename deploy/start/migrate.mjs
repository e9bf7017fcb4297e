/**
 * Makes the database if it is not there, brings it up to date and gives the ledger's role its password, as the administrator; then ends. A
 * container of its own, so that the one service that is reachable over HTTP never holds the rights to change what was recorded.
 */
import { readFileSync } from 'node:fs';
import { migrate } from '@plumbline/event-log';
import pg from 'pg';

const read = (name) => readFileSync(`/run/secrets/${name}`, 'utf8');

/** The image makes it on its first start, and never again if that start was cut short. */
async function makeDatabase(adminUrl) {
  const [url, name] = [new URL(adminUrl), new URL(adminUrl).pathname.slice(1)];
  url.pathname = '/postgres';
  const client = new pg.Client({ connectionString: url.href, connectionTimeoutMillis: 10_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    const found = await client.query('select 1 from pg_database where datname = $1', [name]);
    if (found.rowCount === 0)
      await client.query(`create database ${pg.escapeIdentifier(name)} encoding 'UTF8' template template0`);
  } finally {
    await client.end().catch(() => {});
  }
}

const own = new URL(read('database-url'));
const adminUrl = read('database-admin-url');
try {
  await makeDatabase(adminUrl);
  const { applied } = await migrate({
    adminUrl,
    ledgerRole: decodeURIComponent(own.username),
    ledgerPassword: decodeURIComponent(own.password),
  });
  process.stdout.write(`${JSON.stringify({ msg: 'the database is up to date', applied })}\n`);
} catch (error) {
  process.stderr.write(`cannot migrate the database: ${error.message}\n`);
  process.exitCode = 1;
}
