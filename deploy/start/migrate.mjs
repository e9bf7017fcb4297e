/**
 * Brings the database up to date and gives the ledger's role its password, as the administrator; then ends. A container of its own, so that
 * the one service that is reachable over HTTP never holds the rights to change what was recorded.
 */
import { readFileSync } from 'node:fs';
import { migrate } from '@plumbline/event-log';

const read = (name) => readFileSync(`/run/secrets/${name}`, 'utf8');
const own = new URL(read('database-url'));

try {
  const { applied } = await migrate({
    adminUrl: read('database-admin-url'),
    ledgerRole: decodeURIComponent(own.username),
    ledgerPassword: decodeURIComponent(own.password),
  });
  process.stdout.write(`${JSON.stringify({ msg: 'the database is up to date', applied })}\n`);
} catch (error) {
  process.stderr.write(`cannot migrate the database: ${error.message}\n`);
  process.exitCode = 1;
}
