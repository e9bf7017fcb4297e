import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { closedLoop } from '../load/closed-loop.js';
import type { BenchPostgres } from '../servers/bench-postgres.js';
import { verdictReached } from '../workload/verdict-event.js';

/** Which bare INSERT: into a table with a primary key alone (R1), or with the very columns, constraints and indexes of es.event (R2). */
export type BareTable = 'primary-key-only' | 'same-indexes';

const data = JSON.stringify(verdictReached.data);
const meta = JSON.stringify(verdictReached.meta);
const eventsPerStream = 30;

/** Creates both tables. `LIKE … INCLUDING ALL` takes identity, checks and every index of es.event, and no trigger. */
export async function createBareTables({ admin }: BenchPostgres): Promise<void> {
  await admin.query(`
    CREATE SCHEMA bare;
    CREATE TABLE bare.primary_key_only (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, data json NOT NULL, meta json NOT NULL);
    CREATE TABLE bare.same_indexes (LIKE es.event INCLUDING ALL);`);
}

interface Statement {
  name: string;
  text: string;
  values(caller: number, call: number): unknown[];
}

const statements: Readonly<Record<BareTable, Statement>> = {
  'primary-key-only': {
    name: 'bare-r1',
    text: 'INSERT INTO bare.primary_key_only (data, meta) VALUES ($1, $2)',
    values: () => [data, meta],
  },
  'same-indexes': {
    name: 'bare-r2',
    text: `INSERT INTO bare.same_indexes (event_id, stream_id, category, version, type, schema_version, data, meta, occurred_at, recorded_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp(), clock_timestamp())`,
    values: (caller, call) => [
      randomUUID(),
      streamOf(caller, Math.floor(call / eventsPerStream)),
      'task',
      (call % eventsPerStream) + 1,
      verdictReached.type,
      verdictReached.schemaVersion,
      data,
      meta,
    ],
  },
};

const run = randomUUID().slice(0, 8);
const streamOf = (caller: number, stream: number): string => `task-t-${run}-${caller}-${stream}`;

/** Single INSERTs, each its own transaction, over that many connections with one prepared statement each. */
export class BareInserts {
  private readonly calls: number[] = [];

  private constructor(
    private readonly clients: readonly Client[],
    private readonly table: BareTable,
  ) {}

  static async connect(postgres: BenchPostgres, table: BareTable, connections: number): Promise<BareInserts> {
    const clients = Array.from({ length: connections }, () => new Client({ connectionString: postgres.adminUrl }));
    await Promise.all(clients.map((client) => client.connect()));
    return new BareInserts(clients, table);
  }

  /** INSERTs per second over `connections` of the connections. */
  round(connections: number, seconds: number): Promise<number> {
    const { name, text, values } = statements[this.table];
    return closedLoop(connections, seconds, (caller) => {
      const call = this.calls[caller] ?? 0;
      this.calls[caller] = call + 1;
      return (this.clients[caller] as Client).query({ name, text, values: values(caller, call) });
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.end()));
  }
}
