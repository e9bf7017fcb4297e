import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Artifacts } from './artifacts.js';
import { startPostgres, type PostgresFixture, type TestDatabase } from './postgres.fixture.js';

let postgres: PostgresFixture;
let db: TestDatabase;
let artifacts: Artifacts;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres?.stop());
beforeEach(async () => {
  db = await postgres.createDatabase();
  artifacts = new Artifacts(db.ledger);
});
afterEach(() => db.drop());

const mebibyte = 1024 * 1024;
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const put = (bytes: Buffer, more: { digest?: string; maxBytes?: number } = {}) =>
  artifacts.put(Readable.from(slices(bytes), { objectMode: false }), {
    mediaType: 'application/x-test',
    maxBytes: 64 * mebibyte,
    ...more,
  });

function* slices(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 70_000) yield bytes.subarray(at, at + 70_000);
}

async function stored(): Promise<{ artifacts: number; chunks: number; largest: number }> {
  const result = await db.admin.query(
    `SELECT (SELECT count(*)::int FROM es.artifact) AS artifacts, (SELECT count(*)::int FROM es.artifact_chunk) AS chunks,
      (SELECT coalesce(max(octet_length(bytes)), 0) FROM es.artifact_chunk) AS largest`,
  );
  return result.rows[0] as { artifacts: number; chunks: number; largest: number };
}

async function read(digest: string): Promise<Buffer> {
  const found = await artifacts.get(digest);
  if (found.outcome !== 'found') throw new Error(found.outcome);
  return buffer(found.stream);
}

describe('put and get', () => {
  it.each([0, 1, 65_536, 3 * mebibyte + 17, 12 * mebibyte])('give back %i bytes', async (size) => {
    const bytes = randomBytes(size);
    const digest = sha256(bytes);
    expect(await put(bytes, { digest })).toEqual({ outcome: 'stored', digest, sizeBytes: size, duplicate: false });
    expect((await read(digest)).equals(bytes)).toBe(true);
    expect((await stored()).largest).toBeLessThanOrEqual(mebibyte);
    expect(await artifacts.stat(digest)).toMatchObject({
      digest,
      mediaType: 'application/x-test',
      sizeBytes: size,
      prunedAt: null,
    });
  });

  it('compresses', async () => {
    const bytes = Buffer.alloc(8 * mebibyte, 'the same line again\n');
    await put(bytes);
    expect((await artifacts.stat(sha256(bytes)))?.storedBytes).toBeLessThan(20_000);
    expect((await read(sha256(bytes))).equals(bytes)).toBe(true);
  });

  it('know nothing of what was never stored', async () => {
    expect(await artifacts.get('0'.repeat(64))).toEqual({ outcome: 'unknown' });
    expect(await artifacts.stat('0'.repeat(64))).toBeUndefined();
    await expect(artifacts.get('../../etc/passwd')).rejects.toMatchObject({ retry: 'never' });
  });

  it('leave nothing of an upload that is cut off', async () => {
    const bytes = randomBytes(20 * mebibyte);
    let sent = 0;
    const cut = Readable.from(
      (function* () {
        for (const slice of slices(bytes)) {
          sent += slice.length;
          if (sent > 15 * mebibyte) throw new Error('socket hang up');
          yield slice;
        }
      })(),
      { objectMode: false },
    );
    await expect(artifacts.put(cut, { mediaType: 'x', maxBytes: 64 * mebibyte })).rejects.toMatchObject({
      name: 'OperationalError',
      retry: 'later',
    });
    const destroyed = new Readable({ read() {} });
    destroyed.push(bytes.subarray(0, 10 * mebibyte));
    setImmediate(() => destroyed.destroy());
    await expect(artifacts.put(destroyed, { mediaType: 'x', maxBytes: 64 * mebibyte })).rejects.toMatchObject({
      retry: 'later',
    });
    expect(await stored()).toEqual({ artifacts: 0, chunks: 0, largest: 0 });
    expect(db.ledger.idleCount).toBe(db.ledger.totalCount);
  });

  it('leave nothing when the connection is killed in mid-upload', async () => {
    const bytes = randomBytes(24 * mebibyte);
    const killing = Readable.from(
      (async function* () {
        let sent = 0;
        for (const slice of slices(bytes)) {
          yield slice;
          sent += slice.length;
          if (sent > 14 * mebibyte) {
            await db.admin.query(
              `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'test_ledger'`,
            );
          }
        }
      })(),
      { objectMode: false },
    );
    await expect(artifacts.put(killing, { mediaType: 'x', maxBytes: 64 * mebibyte })).rejects.toMatchObject({
      retry: 'later',
    });
    expect(await stored()).toEqual({ artifacts: 0, chunks: 0, largest: 0 });
    expect(await put(bytes)).toMatchObject({ outcome: 'stored', duplicate: false });
  });

  it('refuse a wrong digest and too many bytes, and store nothing', async () => {
    const bytes = randomBytes(11 * mebibyte);
    const expected = '1'.repeat(64);
    expect(await put(bytes, { digest: expected })).toEqual({
      outcome: 'digest-mismatch',
      expected,
      actual: sha256(bytes),
    });
    expect(await put(bytes, { maxBytes: bytes.length - 1 })).toEqual({
      outcome: 'too-large',
      maxBytes: bytes.length - 1,
    });
    expect(await stored()).toEqual({ artifacts: 0, chunks: 0, largest: 0 });
    expect((await put(bytes, { maxBytes: bytes.length })).outcome).toBe('stored');
  });

  it('store equal content once, one after the other and at the same time', async () => {
    const bytes = randomBytes(10 * mebibyte);
    const results = await Promise.all(Array.from({ length: 5 }, () => put(bytes)));
    expect(results.filter((r) => r.outcome === 'stored' && !r.duplicate)).toHaveLength(1);
    expect(results.filter((r) => r.outcome === 'stored' && r.duplicate)).toHaveLength(4);
    expect(await put(bytes)).toMatchObject({ duplicate: true });
    expect(await stored()).toMatchObject({ artifacts: 1, chunks: 11 });
    expect((await read(sha256(bytes))).equals(bytes)).toBe(true);
  });

  it('end with an error, never with wrong content, when the stored bytes were damaged', async () => {
    const bytes = randomBytes(2 * mebibyte);
    const digest = sha256(bytes);
    await put(bytes);
    await db.admin.query(
      `UPDATE es.artifact_chunk SET bytes = set_byte(bytes, 500000, get_byte(bytes, 500000) # 1) WHERE seq = 1`,
    );
    await expect(read(digest)).rejects.toThrow();
    await db.admin.query('DELETE FROM es.artifact_chunk WHERE seq = 1');
    await expect(read(digest)).rejects.toMatchObject({ name: 'OperationalError', retry: 'never' });
  });

  it('end with an error when another artifact was put in its place', async () => {
    const [one, two] = [randomBytes(1_000), randomBytes(1_000)];
    await put(one);
    await put(two);
    await db.admin.query(
      `UPDATE es.artifact_chunk SET bytes = (SELECT c.bytes FROM es.artifact_chunk c JOIN es.artifact a USING (content_id) WHERE a.digest = $2)
        WHERE content_id = (SELECT content_id FROM es.artifact WHERE digest = $1)`,
      [sha256(one), sha256(two)],
    );
    await expect(read(sha256(one))).rejects.toMatchObject({ message: expect.stringContaining(sha256(two)) as string });
  });
});

describe('prune', () => {
  it('deletes the content, keeps the knowledge, and lets it be stored again', async () => {
    const bytes = randomBytes(3 * mebibyte);
    const digest = sha256(bytes);
    await put(bytes);
    await put(Buffer.from('kept'));
    const pruned = await artifacts.prune({ digests: [digest, '0'.repeat(64)] });
    expect(pruned.pruned).toEqual([digest]);
    expect(pruned.freedBytes).toBeGreaterThan(3 * mebibyte - 1);
    expect(await artifacts.prune({ digests: [digest] })).toEqual({ pruned: [], freedBytes: 0 });
    expect(await artifacts.get(digest)).toMatchObject({ outcome: 'pruned', sizeBytes: bytes.length });
    expect(await artifacts.stat(digest)).toMatchObject({ storedBytes: 0, sizeBytes: bytes.length });
    expect(await stored()).toMatchObject({ artifacts: 2, chunks: 1 });
    expect(await put(bytes)).toMatchObject({ outcome: 'stored', duplicate: false });
    expect((await read(digest)).equals(bytes)).toBe(true);
  });
});
