import { failpoint } from '@plumbline/failpoint';
import type { Pool } from 'pg';
import type { AppendedStream, AppendResult } from './append-batch.js';
import type { BatchExtras, EncodedBatch } from './encode-batch.js';
import { OperationalError } from './errors.js';
import { sendQuery } from './session.js';

type BadOutcome =
  | { outcome: 'appended'; streams: AppendedStream[] }
  | { outcome: 'category-mismatch'; streamId: string; expected: string; actual: string }
  | { outcome: 'command-reused' }
  | Extract<AppendResult, { outcome: 'wrong-expected-version' | 'fenced' }>;

const appendQuery = {
  name: 'es-append',
  text: `SELECT o_base, o_bad FROM es.append($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[], $6::int[], $7::int[],
    $8::int[], $9::int[], $10::uuid[], $11::text[], $12::int[], $13::text[], $14::text[], $15::timestamptz[], $16::jsonb)`,
};

/**
 * Commits a group of batches in one transaction and returns, in order, each batch's result or the error it alone deserves.
 * The batches must not share keys. Throws what the driver throws when the whole transaction failed.
 */
export async function appendGroup(
  pool: Pool,
  group: readonly EncodedBatch[],
): Promise<(AppendResult | OperationalError)[]> {
  const columns = columnsOf(group);
  const [row] = await sendQuery<{ o_base: number[] | null; o_bad: Record<string, BadOutcome> }>(
    pool,
    { ...appendQuery, values: columns },
    () => failpoint('append.sent'),
  );
  failpoint('append.committed');
  if (row === undefined) throw new Error('es.append returned no row');
  const base = row.o_base ?? [];
  let stream = 0;
  return group.map((batch, index) => {
    const first = stream;
    stream += batch.streams.length;
    const bad = row.o_bad[String(index + 1)];
    if (bad !== undefined) return resultOf(batch, bad);
    return {
      outcome: 'appended',
      duplicate: false,
      streams: batch.streams.map(({ streamId, events }, s) => {
        const version = base[first + s] as number;
        return { streamId, firstVersion: version + 1, lastVersion: version + events.length };
      }),
    };
  });
}

function resultOf(batch: EncodedBatch, bad: BadOutcome): AppendResult | OperationalError {
  switch (bad.outcome) {
    case 'appended':
      return { outcome: 'appended', duplicate: true, streams: bad.streams };
    case 'command-reused':
      return { outcome: 'command-reused', commandId: batch.commandId };
    case 'category-mismatch':
      return new OperationalError(
        `stream ${bad.streamId} has category ${bad.actual}, the batch says ${bad.expected}: a stream keeps its category for ever`,
        { retry: 'never' },
      );
    default:
      return bad;
  }
}

function columnsOf(group: readonly EncodedBatch[]): unknown[] {
  const streams = {
    batch: [] as number[],
    id: [] as string[],
    category: [] as string[],
    expected: [] as (number | null)[],
    count: [] as number[],
  };
  const events = {
    stream: [] as number[],
    offset: [] as number[],
    id: [] as string[],
    type: [] as string[],
    schema: [] as number[],
    data: [] as string[],
    meta: [] as string[],
    occurred: [] as (string | null)[],
  };
  group.forEach((batch, b) => {
    for (const stream of batch.streams) {
      streams.batch.push(b + 1);
      streams.id.push(stream.streamId);
      streams.category.push(stream.category);
      streams.expected.push(stream.expected);
      streams.count.push(stream.events.length);
      stream.events.forEach((event, e) => {
        events.stream.push(streams.id.length);
        events.offset.push(e + 1);
        events.id.push(event.id);
        events.type.push(event.type);
        events.schema.push(event.schemaVersion);
        events.data.push(event.data);
        events.meta.push(event.meta);
        events.occurred.push(event.occurredAt);
      });
    }
  });
  return [
    group.map((batch) => batch.commandId),
    group.map((batch) => batch.hash),
    ...Object.values(streams),
    ...Object.values(events),
    extrasOf(group),
  ];
}

function extrasOf(group: readonly EncodedBatch[]): string | null {
  if (group.every((batch) => batch.extras === undefined)) return null;
  const all: { [K in keyof BatchExtras]: object[] } = {
    fences: [],
    closes: [],
    opens: [],
    cancels: [],
    cancelStreams: [],
    sets: [],
  };
  group.forEach((batch, b) => {
    if (batch.extras === undefined) return;
    for (const kind of Object.keys(all) as (keyof BatchExtras)[]) {
      for (const item of batch.extras[kind]) all[kind].push({ b: b + 1, ...item });
    }
  });
  return JSON.stringify(all);
}
