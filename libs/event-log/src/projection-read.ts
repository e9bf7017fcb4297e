import type { Pool, PoolClient, QueryResultRow } from 'pg';
import type { ProjectedEvent, Projection } from './projection.js';

/** A page of the log as one projection sees it: everything it takes in (`after`, `reached`]. `reached` is `after` at the end of the log. */
export interface ProjectionPage {
  events: ProjectedEvent[];
  reached: number;
}

/** Most positions one page passes over to find what a projection takes: a bound on how long one statement runs. */
const positionsMax = 50_000;

interface PageRow extends QueryResultRow {
  event_id: string | null;
  stream_id: string;
  category: string;
  version: number;
  type: string;
  schema_version: number;
  data: string | null;
  recorded_at: string;
  pos: string;
}

/**
 * Up to `limit` events that a projection takes, in order. What it does not take is passed over in the database: only the position reached
 * tells of it. A row without an event says how far the statement looked, in the very snapshot it looked in.
 */
export async function readPage(
  client: Pool | PoolClient,
  projection: Projection,
  after: number,
  limit: number,
  upTo: number = after + positionsMax,
): Promise<ProjectionPage> {
  const { types, dataOf } = projection;
  const result = await client.query<PageRow>({
    name: `es-page-${types === undefined ? 'all' : 'some'}-${dataOf === undefined ? 'full' : 'lean'}`,
    text: pageSql(types !== undefined, dataOf !== undefined),
    values: [
      after,
      Math.min(upTo, types === undefined ? after + limit : after + positionsMax),
      limit,
      ...(types === undefined ? [] : [types]),
      ...(dataOf === undefined ? [] : [dataOf]),
    ],
  });
  const looked = Number(result.rows.find((row) => row.event_id === null)?.pos ?? after);
  const events = result.rows.filter((row) => row.event_id !== null).map(toProjectedEvent);
  return { events, reached: events.length === limit ? (events.at(-1)?.pos ?? looked) : looked };
}

function pageSql(someTypes: boolean, someData: boolean): string {
  const data = someData ? `CASE WHEN e.type = ANY ($${someTypes ? 5 : 4}) THEN e.data::text END` : 'e.data::text';
  return `(SELECT e.event_id, e.stream_id, e.category, e.version, e.type, e.schema_version, ${data} AS data,
            es.instant(e.recorded_at) AS recorded_at, l.pos
       FROM es.log l JOIN es.event e ON e.ingest_id = l.ingest_id
      WHERE l.pos > $1 AND l.pos <= $2 ${someTypes ? 'AND e.type = ANY ($4)' : ''} ORDER BY l.pos LIMIT $3)
    UNION ALL
    SELECT NULL, '', '', 0, '', 0, NULL, '', greatest($1, least(h.pos, $2)) FROM es.log_head h`;
}

function toProjectedEvent(row: PageRow): ProjectedEvent {
  return {
    pos: Number(row.pos),
    eventId: row.event_id as string,
    streamId: row.stream_id,
    category: row.category,
    version: row.version,
    type: row.type,
    schemaVersion: row.schema_version,
    data: row.data === null ? undefined : (JSON.parse(row.data) as unknown),
    recordedAt: row.recorded_at,
  };
}
