import type { Pool, PoolClient } from 'pg';
import { chainHash, genesisHash } from './chain.js';
import { toOperationalError } from './errors.js';
import { inTransaction } from './session.js';

const pageSize = 1_000;

/** A place where the log is not what was recorded. The position is that of the first event that cannot be trusted. */
export interface AuditFinding {
  position: number;
  what: string;
}

/** A numbering of the log that began after `afterPosition`, and why the one before ended there. */
export interface AuditedEpoch {
  epoch: string;
  number: number;
  afterPosition: number;
  why: string;
  startedAt: string;
}

/**
 * `events` were verified from position 1 on; `pending` have been recorded and not been numbered yet. `epochs` are all but the first one,
 * which began with the log; the chain goes on unbroken from one into the next.
 */
export interface AuditReport {
  ok: boolean;
  events: number;
  pending: number;
  headPosition: number;
  headHash: string;
  epochs: AuditedEpoch[];
  firstBad?: AuditFinding;
}

/** One position of the log with its event as text; columns of the event are null when it is gone. */
export interface AuditRow {
  pos: string;
  stored_hash: string;
  event_id: string | null;
  stream_id: string;
  category: string;
  version: string;
  type: string;
  schema_version: string;
  data: string;
  meta: string;
  occurred_at: string;
  recorded_at: string;
}

/**
 * Recomputes the whole log from its rows, in constant memory and on one snapshot: positions dense from 1, the hash chain over every
 * column, the head, the versions of every stream dense and in position order, every stream's version, and no event lost on the way
 * from queue to log. It cannot see a rewritten log whose whole chain was recomputed: compare `headHash` with a hash kept elsewhere.
 */
export async function auditLog(pool: Pool): Promise<AuditReport> {
  try {
    return await inTransaction(pool, auditSnapshot, 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  } catch (error) {
    throw toOperationalError(error, 'auditing the event log');
  }
}

async function auditSnapshot(client: PoolClient): Promise<AuditReport> {
  const head = await client.query<{ pos: string; hash: string; epoch: string; number: number; pending: string }>(
    `SELECT pos, encode(chain_hash, 'hex') AS hash, epoch, epoch_number AS number,
       (SELECT count(*) FROM es.pending p JOIN es.event e ON e.ingest_id = p.ingest_id) AS pending FROM es.log_head`,
  );
  const row = head.rows[0];
  const headPosition = Number(row?.pos ?? 0);
  const headHash = row?.hash ?? genesisHash;
  const chain = await auditChain(client, headPosition, headHash);
  const epochs = await epochsOf(client);
  const findings = [chain.finding, await auditStreams(client, headPosition), epochFinding(epochs, row, headPosition)];
  if (row === undefined) findings.push({ position: 1, what: 'the head of the log is missing' });
  const firstBad = findings.reduce(earlier);
  const report = {
    ok: firstBad === undefined,
    events: chain.events,
    pending: Number(row?.pending ?? 0),
    headPosition,
    headHash,
    epochs,
  };
  return firstBad === undefined ? report : { ...report, firstBad };
}

/** The epochs that the log itself tells of, in order. */
async function epochsOf(client: PoolClient): Promise<AuditedEpoch[]> {
  const { rows } = await client.query<{ data: Omit<AuditedEpoch, 'startedAt'>; at: string }>(
    `SELECT data, es.instant(recorded_at) AS at FROM es.event WHERE stream_id = 'log' AND type = 'log.epoch-started' ORDER BY version`,
  );
  return rows.map(({ data: { epoch, number, afterPosition, why }, at }) => ({
    epoch,
    number,
    afterPosition,
    why,
    startedAt: at,
  }));
}

/** An epoch that the head is in and the log does not tell of was put there by somebody who went around the log. */
function epochFinding(
  epochs: readonly AuditedEpoch[],
  head: { epoch: string; number: number } | undefined,
  headPosition: number,
): AuditFinding | undefined {
  const last = epochs.at(-1);
  if (head === undefined) return undefined;
  if (last === undefined ? head.number === 1 : head.number === last.number && head.epoch === last.epoch)
    return undefined;
  const told = last === undefined ? 'none but the first' : `${last.number}, ${last.epoch}`;
  return {
    position: headPosition + 1,
    what: `the head is in epoch ${head.number}, ${head.epoch}; the last that the log tells of is ${told}`,
  };
}

function earlier(a: AuditFinding | undefined, b: AuditFinding | undefined): AuditFinding | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return b.position < a.position ? b : a;
}

/** Walks the log by position and stops at the first event that breaks it. */
async function auditChain(
  client: PoolClient,
  headPosition: number,
  headHash: string,
): Promise<{ events: number; finding: AuditFinding | undefined }> {
  let pos = 0;
  let hash = genesisHash;
  for (;;) {
    const page = await readChainPage(client, pos, pageSize);
    for (const row of page) {
      const what = brokenLink(row, pos + 1, hash);
      if (what !== undefined) return { events: pos, finding: { position: pos + 1, what } };
      if (pos >= headPosition) {
        return {
          events: pos,
          finding: { position: pos + 1, what: `the log goes on after its head at ${headPosition}` },
        };
      }
      pos += 1;
      hash = row.stored_hash;
    }
    if (page.length < pageSize) break;
  }
  if (pos < headPosition) {
    return { events: pos, finding: { position: pos + 1, what: `the log ends before its head at ${headPosition}` } };
  }
  const finding =
    hash === headHash ? undefined : { position: Math.max(pos, 1), what: 'the chain does not end in the head' };
  return { events: pos, finding };
}

/** The rows at positions after `afterPos`, in order, at most `limit`. */
export async function readChainPage(client: PoolClient, afterPos: number, limit: number): Promise<AuditRow[]> {
  const { rows } = await client.query<AuditRow>(
    `SELECT l.pos, encode(l.chain_hash, 'hex') AS stored_hash, e.event_id, e.stream_id, e.category, e.version::text, e.type,
       e.schema_version::text, e.data::text, e.meta::text,
       es.instant(e.occurred_at) AS occurred_at, es.instant(e.recorded_at) AS recorded_at
     FROM es.log l LEFT JOIN es.event e ON e.ingest_id = l.ingest_id WHERE l.pos > $1 ORDER BY l.pos LIMIT $2`,
    [afterPos, limit],
  );
  return rows;
}

/** What is wrong with a row that should stand at `expectedPos` after `previousHash`; undefined when nothing is. */
export function brokenLink(row: AuditRow, expectedPos: number, previousHash: string): string | undefined {
  if (Number(row.pos) !== expectedPos) return `no event has this position, the next one is ${row.pos}`;
  if (row.event_id === null) return 'the event of this position is gone';
  const computed = chainHash(previousHash, {
    pos: row.pos,
    eventId: row.event_id,
    streamId: row.stream_id,
    category: row.category,
    version: row.version,
    type: row.type,
    schemaVersion: row.schema_version,
    data: row.data,
    meta: row.meta,
    occurredAt: row.occurred_at,
    recordedAt: row.recorded_at,
  });
  return computed === row.stored_hash ? undefined : 'the event does not match its hash';
}

interface VersionRow {
  stream_id: string;
  stream_version: number | null;
  category_matches: boolean | null;
  version: number;
  pos: string | null;
  queued: boolean;
}

/** Walks the events stream by stream; reports the finding with the lowest position. Unsequenced ones count as after the head. */
async function auditStreams(client: PoolClient, headPosition: number): Promise<AuditFinding | undefined> {
  let finding: AuditFinding | undefined;
  const report = (position: number | null, what: string): void => {
    finding = earlier(finding, { position: position ?? headPosition + 1, what });
  };
  let last: { stream: string; version: number; pos: number | null; declared: number | null } | undefined;
  const finish = (): void => {
    if (last === undefined || last.declared === last.version) return;
    // A row that is ahead says that later events are missing; where they stood is not known any more.
    const position = last.declared !== null && last.declared > last.version ? null : last.pos;
    report(
      position,
      `stream ${last.stream} ends in version ${last.version}, its row says ${last.declared ?? 'nothing'}`,
    );
  };
  for (;;) {
    const page = await versionsAfter(client, last?.stream ?? '', last?.version ?? 0);
    for (const row of page) {
      const pos = row.pos === null ? null : Number(row.pos);
      if (row.stream_id !== last?.stream) {
        finish();
        last = undefined;
      }
      if (row.version !== (last?.version ?? 0) + 1) {
        report(pos, `stream ${row.stream_id} goes from version ${last?.version ?? 0} to ${row.version}`);
      } else if (last !== undefined && pos !== null && (last.pos === null || pos <= last.pos)) {
        report(pos, `version ${row.version} of stream ${row.stream_id} comes before version ${last.version}`);
      }
      if (pos === null && !row.queued)
        report(null, `version ${row.version} of stream ${row.stream_id} is neither numbered nor queued`);
      if (pos !== null && row.queued) report(pos, 'the event is numbered and still queued');
      if (row.category_matches === false)
        report(pos, `the category of stream ${row.stream_id} is not that of its events`);
      last = { stream: row.stream_id, version: row.version, pos, declared: row.stream_version };
    }
    if (page.length < pageSize) break;
  }
  finish();
  const empty = await client.query<{ stream_id: string }>(
    `SELECT s.stream_id FROM es.stream s WHERE NOT EXISTS (SELECT FROM es.event e WHERE e.stream_id = s.stream_id)
      ORDER BY s.stream_id LIMIT 1`,
  );
  if (empty.rows[0] !== undefined) report(null, `stream ${empty.rows[0].stream_id} has a version and no events`);
  return finding;
}

async function versionsAfter(client: PoolClient, streamId: string, version: number): Promise<VersionRow[]> {
  const page = await client.query<VersionRow>(
    `SELECT e.stream_id, e.version, s.version AS stream_version, s.category = e.category AS category_matches, l.pos,
       p.ingest_id IS NOT NULL AS queued
     FROM (SELECT * FROM es.event WHERE (stream_id, version) > ($1, $2) ORDER BY stream_id, version LIMIT ${pageSize}) e
     LEFT JOIN es.stream s ON s.stream_id = e.stream_id LEFT JOIN es.log l ON l.ingest_id = e.ingest_id
     LEFT JOIN es.pending p ON p.ingest_id = e.ingest_id ORDER BY e.stream_id, e.version`,
    [streamId, version],
  );
  return page.rows;
}
