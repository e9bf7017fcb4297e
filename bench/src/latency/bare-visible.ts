import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'pg';
import { Latencies } from '../load/latencies.js';
import { openLoop } from '../load/open-loop.js';
import type { BenchPostgres } from '../servers/bench-postgres.js';
import { verdictReached } from '../workload/verdict-event.js';
import type { Percentiles } from './projected.js';

const connections = 16;
const pollMs = 1;
const data = JSON.stringify(verdictReached.data);

export async function createBareVisible({ admin }: BenchPostgres): Promise<void> {
  await admin.query(
    'CREATE TABLE bare_visible (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int NOT NULL, data json NOT NULL)',
  );
}

/**
 * The baseline of append to projected: the same rows a second by single INSERTs over 16 connections, until a reader that polls the table as
 * often sees them. No numbering, no chain, no read model.
 */
export async function bareVisible(postgres: BenchPostgres, perSecond: number, seconds: number): Promise<Percentiles> {
  const pool = new Pool({ connectionString: postgres.adminUrl, max: connections });
  const dueAt: number[] = [];
  const latencies = new Latencies();
  const failures: unknown[] = [];
  let sent = Infinity;
  const { rows } = await postgres.admin.query<{ id: string }>('SELECT coalesce(max(id), 0) AS id FROM bare_visible');
  const from = Number(rows[0]?.id);
  const reading = (async () => {
    const seen = new Set<number>();
    while (latencies.count < sent && failures.length === 0) {
      // What commits late has a lower id than what was seen: looks back a little, as a careful reader must.
      const { rows: news } = await postgres.admin.query<{ n: number }>({
        name: 'bench-visible',
        text: 'SELECT n FROM bare_visible WHERE id > $1',
        values: [from + Math.max(0, latencies.count - 500)],
      });
      const now = performance.now();
      for (const { n } of news) {
        if (seen.has(n)) continue;
        seen.add(n);
        latencies.record(now - (dueAt[n] as number));
      }
      await delay(pollMs);
    }
  })();
  try {
    sent = await openLoop({ perSecond, seconds }, (n, due) => {
      dueAt[n] = due;
      pool
        .query({ name: 'bench-bare', text: 'INSERT INTO bare_visible (n, data) VALUES ($1, $2)', values: [n, data] })
        .catch((error: unknown) => failures.push(error));
    });
    await reading;
    if (failures.length > 0) throw new Error(`a bare INSERT failed: ${String(failures[0])}`);
  } finally {
    await pool.end();
  }
  return { p50: latencies.percentile(50), p99: latencies.percentile(99) };
}
