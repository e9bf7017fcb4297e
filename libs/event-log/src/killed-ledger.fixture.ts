import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { armFailpoints, parseFailpoints } from '@plumbline/failpoint';
import { Artifacts } from './artifacts.js';
import { EventLog } from './event-log.js';
import { createLedgerPool } from './ledger-pool.js';
import type { Projection } from './projection.js';
import { Projector } from './projector.js';

/** A process that does one of each thing a ledger does, and dies where it was told to: `node … <database URL> <failpoints>`. */
const [url = '', failpoints = ''] = process.argv.slice(2);
const killedCommand = '6f6d2c1e-8a1f-5b7a-9f3e-2f4f5f6f7f8f';

const counter: Projection = {
  name: 'killed',
  version: 1,
  ddl: (schema) => `CREATE TABLE ${schema}.seen (pos bigint PRIMARY KEY)`,
  apply: async (client, schema, { pos }) => void (await client.query(`INSERT INTO ${schema}.seen VALUES ($1)`, [pos])),
};

const pool = createLedgerPool({ url });
const log = new EventLog({ pool });
armFailpoints(parseFailpoints(failpoints));
const event = { type: 'thing.happened', schemaVersion: 1, data: {}, meta: {} };
await log.append({
  commandId: killedCommand,
  streams: [{ streamId: 'task-k', category: 'task', events: [event] }],
  steps: { open: [{ taskId: 'k', step: 's' }] },
});
await log.sequence();
const projector = new Projector(log, counter);
await projector.catchUp();
await log.leases.claim({ taskId: 'k', step: 's', holder: 'worker', ttlMs: 1, meta: {} });
while ((await log.leases.expireLeases()).length === 0);
await log.sequence();
await projector.catchUp();
const bytes = Buffer.from('evidence');
const digest = createHash('sha256').update(bytes).digest('hex');
await new Artifacts(pool).put(Readable.from([bytes]), { digest, mediaType: 'text/plain', maxBytes: 1_000 });
await pool.end();
